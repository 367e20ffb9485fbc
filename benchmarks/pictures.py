"""Pictures of benchmarks.

Takes series of numbers, gives a PNG; never measures anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from graphsvc.report import Row

#: Dots and lines of models: where one covers another, both are seen.
_LOOKS: tuple[Mapping[str, Any], ...] = (
    {"marker": "o", "markersize": 9, "fillstyle": "none", "linestyle": "-"},
    {"marker": "s", "markersize": 5, "fillstyle": "none", "linestyle": (0, (5, 5))},
    {"marker": ".", "markersize": 5, "linestyle": (0, (1, 4))},
    {"marker": "o", "markersize": 4, "linestyle": "-"},
)


def _look(number: int) -> dict[str, Any]:
    return dict(_LOOKS[number % len(_LOOKS)])


def curve(file: Path, series: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Events per second against events in the log, a line per database.

    Dotted: a database that was new at that moment.
    """
    if not series:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for (name, steps), marker in zip(series.items(), "os^", strict=False):
        events = [step["events"] / 1e6 for step in steps]
        [line] = axes.plot(
            events,
            [step["per_second"] for step in steps],
            marker=marker,
            markersize=4,
            label=name,
        )
        new = [step["new_per_second"] for step in steps]
        axes.plot(events, new, ":", color=line.get_color(), label=f"{name}, new at that moment")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("events in the log, millions")
    axes.set_ylabel("events per second over REST")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    finish(file, figure, axes)


def by_edges(file: Path, rows: Sequence[Row]) -> None:
    """A figure against the number of edges given, a line per model, with its interval."""
    means = [row for row in rows if row.seed == "all" and row.split.startswith("edges=")]
    if not means:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for number, model in enumerate(dict.fromkeys(row.model for row in means)):
        own = sorted(
            (int(row.split.partition("=")[2]), row.value, *_ends(row))
            for row in means
            if row.model == model
        )
        edges, value, low, high = zip(*own, strict=True)
        [line] = axes.plot(edges, value, label=model, **_look(number))
        _band(axes, line, edges, low, high)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("edges given")
    axes.set_ylabel(means[0].metric)
    finish(file, figure, axes)


def by_refresh(file: Path, rows: Sequence[Row]) -> None:
    """A figure refresh by refresh, with its interval: a line per way, a panel per ranker."""
    # (way, ranker) -> (refresh, value, low, high)
    told: dict[tuple[str, str], list[tuple[int, float, float, float]]] = {}
    for row in rows:
        if row.seed == "all" and row.split.startswith("refresh="):
            way, _, ranker = row.model.partition(" / ")
            number = int(row.split.removeprefix("refresh=").partition("/")[0])
            told.setdefault((way, ranker), []).append((number, row.value, *_ends(row)))
    if not told:
        return
    rankers = list(dict.fromkeys(ranker for _, ranker in told))
    ways = list(dict.fromkeys(way for way, _ in told))
    figure, [panels] = plt.subplots(
        1, len(rankers), figsize=(8.4, 3.6), layout="constrained", sharey=True, squeeze=False
    )
    for (way, ranker), points in told.items():
        axes = panels[rankers.index(ranker)]
        numbers, values, low, high = zip(*sorted(points), strict=True)
        label = way if axes is panels[0] else None
        place = ways.index(way)
        look = _look(place) | {"color": f"C{place}", "label": label}
        [line] = axes.plot(numbers, values, **look)
        _band(axes, line, numbers, low, high)
    for axes, ranker in zip(panels, rankers, strict=True):
        axes.set_title(ranker, fontsize="medium")
        axes.set_xlabel("refreshes")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel(rows[0].metric)
    finish(file, figure, panels[-1])


def trade(file: Path, series: Mapping[str, Sequence[Mapping[str, float]]], target: float) -> None:
    """Recall against milliseconds per query as an index searches harder, a line per source.

    Ringed: the effort that the build chose.
    """
    if not series:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for (name, steps), marker in zip(series.items(), "os^", strict=False):
        times, recalls = ([step[key] for step in steps] for key in ("ms", "recall"))
        [line] = axes.plot(times, recalls, marker=marker, markersize=4, label=name)
        chosen = [step for step in steps if step["chosen"]]
        axes.plot(
            [step["ms"] for step in chosen],
            [step["recall"] for step in chosen],
            "o",
            markersize=11,
            fillstyle="none",
            color=line.get_color(),
        )
    axes.axhline(target, linestyle=":", color="gray", label="least recall")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("milliseconds per query, FAISS alone, one thread")
    axes.set_ylabel("recall@10")
    finish(file, figure, axes)


def growth(file: Path, series: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> None:
    """What something costs against a size, both in logarithms, a panel per size.

    Dotted: as if it were linear from the first measurement on.
    """
    drawn = {axis: sorted(points) for axis, points in series.items() if points}
    if not drawn:
        return
    figure, panels = plt.subplots(
        1, len(drawn), figsize=(3.6 * len(drawn), 3.6), layout="constrained", squeeze=False
    )
    for axes, (axis, points) in zip(panels[0], drawn.items(), strict=True):
        sizes, costs = zip(*points, strict=True)
        axes.loglog(sizes, costs, "o", markersize=4)
        axes.loglog(
            (sizes[0], sizes[-1]),
            (costs[0], costs[0] * sizes[-1] / sizes[0]),
            ":",
            color="gray",
            label="linear",
        )
        axes.set_xlabel(axis)
        axes.set_ylabel(unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def learning(
    file: Path, moments: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]]
) -> None:
    """Validation MRR against minutes of training: mean of a model's runs, and their range."""
    if not runs:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for (name, curves), marker in zip(runs.items(), "os^vD", strict=False):
        every = np.array(curves)  # NaN where one was not looked at yet: there is no mean then
        mean, low, high = every.mean(axis=0), every.min(axis=0), every.max(axis=0)
        [line] = axes.plot(moments, mean, marker=marker, markersize=4, label=name)
        _band(axes, line, moments, low, high)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("validation MRR")
    finish(file, figure, axes)


def by_world(file: Path, rows: Sequence[Row], *, neutral: float = 0.0) -> None:
    """A figure by what it is of, side by side for each world, with its interval.

    Worlds of one task (`.../ctr`) share a plot and its scale. `neutral`: where nothing is known.
    """
    means = [row for row in rows if row.seed == "all" and row.value == row.value]
    if not means:
        return
    splits = list(dict.fromkeys(row.split for row in means))
    models = list(dict.fromkeys(row.model for row in means))
    tasks = list(dict.fromkeys(_task(split) for split in splits))
    sizes = {"figsize": (2.2 + 6.2 * len(tasks) ** 0.7, 3.6), "layout": "constrained"}
    figure, axes = plt.subplots(ncols=len(tasks), squeeze=False, **sizes)
    for task, plot in zip(tasks, axes[0], strict=True):
        worlds = [split for split in splits if _task(split) == task]
        for number, model in enumerate(models):
            own = [row for row in means if row.model == model and row.split in worlds]
            aside = 0.12 * (number - (len(models) - 1) / 2)
            places = [worlds.index(row.split) + aside for row in own]
            ends = [
                (row.value - low, high - row.value) for row in own for low, high in [_ends(row)]
            ]
            bars = np.transpose(ends) if ends else None
            values = [row.value for row in own]
            # One legend tells of all plots.
            label = model if plot is axes[0, 0] else None
            plot.errorbar(places, values, yerr=bars, fmt="o", markersize=4, label=label)
        plot.axhline(neutral, color="gray", linewidth=1, linestyle=":")
        plot.set_xticks(range(len(worlds)), [world.replace("/", "\n") for world in worlds])
        plot.set_ylabel(means[0].metric)
        plot.grid(visible=True, alpha=0.3)
    finish(file, figure, axes[0, 0])


def _task(split: str) -> str:
    """What is asked, of a split that says so behind its world."""
    return split.rpartition("/")[2] if "/" in split else ""


def _ends(row: Row) -> tuple[float, float]:
    """The interval of a figure; the figure itself where it has none."""
    low, high = (row.value if end is None else end for end in (row.lo, row.hi))
    return low, high


def _band(axes: Any, line: Any, x: Sequence[float], low: Any, high: Any) -> None:
    """What lies within an interval: shaded along a line, a bar at a single point."""
    if len(x) == 1:
        axes.vlines(x, low, high, color=line.get_color(), linewidth=1)
    else:
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def finish(file: Path, figure: Any, axes: Any) -> None:
    """What every picture of one plot ends with: the legend is beside it, over no line."""
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(file, dpi=130)
    plt.close(figure)
