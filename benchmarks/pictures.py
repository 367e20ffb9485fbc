"""Pictures of benchmarks.

Takes series of numbers, gives a PNG; never measures anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter


def curve(file: Path, series: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Events per second against events in the log, a line per database.

    Dotted: a database that was new at that moment.
    """
    if not series:
        return
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
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
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
    plt.close(figure)
