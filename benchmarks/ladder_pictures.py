"""The ladder as a picture: how much each way to read the KGE lifts AUC.

Takes rows, gives a PNG; never measures anything.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from graphsvc.report import Row


def lifts(file: Path, rows: Sequence[Row]) -> None:
    """AUC above that of no KGE, a panel per world and task, an arm a line, with its t interval.

    Thin: the bootstrap over users.
    """
    means = [row for row in rows if row.metric == "auc_lift" and "history" not in row.split]
    if not means:
        return
    by_user = {(r.split, r.model): r for r in rows if r.metric == "auc_lift_by_user"}
    panels = list(dict.fromkeys(row.split for row in means))
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(2.6 + 2.6 * len(panels), 3.6),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    arms = list(dict.fromkeys(row.model for row in means))
    for panel, split in zip(axes[0], panels, strict=True):
        for row in (row for row in means if row.split == split):
            place = -arms.index(row.model)
            drawn = by_user[row.split, row.model]
            for one, width in ((drawn, 1.0), (row, 3.0)):
                if one.lo is not None and one.hi is not None:
                    panel.plot([one.lo, one.hi], [place, place], color="C0", linewidth=width)
            panel.plot([row.value], [place], "o", color="C0", markersize=5)
        panel.axvline(0, linestyle=":", color="gray")
        panel.set_title(split, fontsize="small")
        panel.set_xlabel("AUC above no KGE")
        panel.grid(visible=True, axis="x", alpha=0.3)
    axes[0][0].set_yticks([-place for place in range(len(arms))], arms)
    figure.savefig(file, dpi=130)
    plt.close(figure)
