"""The picture of `benchmarks/fairness.py`: accuracy, gap and certificate by lambda and s.

Takes points, gives a PNG; never measures anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_MARKERS = {"drawn": "o", "threshold": "s"}


def trade(file: Path, grids: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A row of two panels per data set: gap against accuracy, and tau against accuracy.

    A line per s and way to decide; its points are lambdas, larger ones with smaller marks.
    """
    if not grids:
        return
    figure, panels = plt.subplots(
        len(grids), 2, figsize=(8.4, 3.2 * len(grids)), layout="constrained", squeeze=False
    )
    for axes, (data, points) in zip(panels, grids.items(), strict=True):
        for panel, figure_of in zip(axes, ("gap", "tau"), strict=True):
            _lines(panel, points, figure_of)
            panel.set_xlabel("accuracy")
            panel.set_ylabel("gap of opportunity" if figure_of == "gap" else "tau")
            panel.set_title(data, fontsize="small")
            panel.set_ylim(bottom=0)
            panel.grid(visible=True, alpha=0.3)
    lines, names = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _lines(panel: Any, points: Sequence[Mapping[str, Any]], figure_of: str) -> None:
    kinds = sorted({(str(point["how"]), float(point["scale"])) for point in points})
    for number, (how, scale) in enumerate(kinds):
        own = sorted(
            (p for p in points if (p["how"], p["scale"]) == (how, scale)),
            key=lambda p: p["proximity"],
        )
        x, y = [p["accuracy"] for p in own], [p[figure_of] for p in own]
        name, color = f"{how}, s={scale:g}", f"C{number}"
        panel.plot(x, y, color=color, linewidth=1, label=name)
        sizes = [60 / (1 + place) for place in range(len(own))]
        panel.scatter(x, y, s=sizes, color=color, marker=_MARKERS[how])
