"""Pictures of link prediction: quality against time, and by how often an entity was seen.

Takes runs, gives PNGs; never measures anything.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from ablation import ARMS, is_arm
from link_cells import Runs
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray
from pictures import finish

#: Points of a mean line: curves of several seeds are not measured at the same moments.
_STEPS = 60


def against_time(file: Path, runs: Sequence[Runs]) -> None:
    """Validation MRR against minutes of training, a line per model: mean, lowest, highest seed."""
    figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
    for run, look in zip(runs, _looks(runs), strict=True):
        minutes, values = together(run)
        axes.plot(minutes, values.mean(axis=0), label=run.label, **look)
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(minutes, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("validation MRR")
    axes.set_ylim(0, 1.05 * axes.dataLim.y1)  # room above the highest, however close they are
    finish(file, figure, axes)


def by_degree(file: Path, runs: Sequence[Runs], splits: Sequence[str]) -> None:
    """MRR by the degree of the ranked entity, a line per model, with the spread of its seeds."""
    figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
    for run, look in zip(runs, _looks(runs), strict=True):
        known = [(place, run.values(split)) for place, split in enumerate(splits)]
        places = [place for place, values in known if values]
        parts = [values for _, values in known if values]
        axes.plot(places, [np.mean(part) for part in parts], marker="o", label=run.label, **look)
        low, high = [min(part) for part in parts], [max(part) for part in parts]
        axes.fill_between(places, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(splits)), [split.partition("=")[2] for split in splits])
    axes.set_xlabel("training triples of the entity that is asked for")
    axes.set_ylabel("test MRR")
    axes.set_ylim(0, 1.05 * axes.dataLim.y1)  # room above the highest, however close they are
    finish(file, figure, axes)


def together(run: Runs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes, and validation MRR of every seed at each of them: between what was measured."""
    curves = [
        np.array([(point["seconds"] / 60, point["mrr"]) for point in cell["curve"]]).T
        for cell in run.cells.values()
    ]
    begin = max(minutes[0] for minutes, _ in curves)
    end = max(begin, min(minutes[-1] for minutes, _ in curves))
    asked = np.geomspace(begin, end, _STEPS) if end > begin else np.array([begin])
    return asked, np.array([np.interp(asked, minutes, mrr) for minutes, mrr in curves])


def _looks(runs: Sequence[Runs]) -> list[dict[str, Any]]:
    """A color per model; rivals are dashed, and a shorter training of the same model is thin."""
    names = sorted({run.model for run in runs})
    arms = sorted(filter(is_arm, names), key=lambda name: ARMS.index(name.partition("+")[0]))
    models = arms + [name for name in names if name not in arms]
    longest = {m: max(run.minutes for run in runs if run.model == m) for m in models}
    pairs = plt.get_cmap("tab20").colors
    colors = pairs[::2] + pairs[1::2]  # the strong ones first
    return [
        {
            "color": colors[models.index(run.model) % len(colors)],
            "linestyle": "-" if is_arm(run.model) else "--",
            "linewidth": 1.8 if run.minutes == longest[run.model] else 0.9,
            "markersize": 4,
        }
        for run in runs
    ]
