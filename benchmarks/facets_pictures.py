"""Facets as pictures: what each arm adds, after one epoch and after two, and to whom.

Takes rows, gives PNGs; never measures anything.
"""

from collections.abc import Sequence
from pathlib import Path

from facets_arms import ARMS
from facets_rows import BASE, FIRST, SECOND
from pictures import plt

from graphsvc.report import Row

#: AUC that is known no better than that says nothing.
_WIDEST = 0.2


def lifts(file: Path, rows: Sequence[Row]) -> None:
    """AUC above that of no ID tables, a panel per world, an arm a line, with its t interval.

    Filled: after the first epoch; hollow: after the second.
    """
    means = [row for row in rows if row.metric == "auc_lift" and row.seed == "all"]
    worlds = list(dict.fromkeys(row.split.partition("/")[0] for row in means))
    arms = [arm for arm in ARMS if any(row.model == f"{arm} - {BASE}" for row in means)]
    if not worlds:
        return
    figure, panels = plt.subplots(
        1,
        len(worlds),
        figsize=(3.0 + 2.4 * len(worlds), 1.4 + 0.24 * len(arms)),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for panel, world in zip(panels[0], worlds, strict=True):
        for epoch, fill, shift in ((FIRST, "full", 0.12), (SECOND, "none", -0.12)):
            for row in means:
                if row.split != f"{world}/{epoch}":
                    continue
                place = shift - arms.index(row.model.removesuffix(f" - {BASE}"))
                if row.lo is not None and row.hi is not None:
                    panel.plot([row.lo, row.hi], [place, place], color="C0", linewidth=1.5)
                panel.plot([row.value], [place], "o", color="C0", markersize=4, fillstyle=fill)
        panel.axvline(0, linestyle=":", color="gray")
        panel.set_title(world, fontsize="small")
        panel.set_xlabel("AUC above no ID tables")
        panel.grid(visible=True, axis="x", alpha=0.3)
    panels[0][0].set_yticks([-place for place in range(len(arms))], arms, fontsize="x-small")
    for fill, label in (("full", "after one pass"), ("none", "after two")):
        panels[0][0].plot([], [], "o", color="C0", markersize=4, fillstyle=fill, label=label)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="x-small")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def by_frequency(file: Path, rows: Sequence[Row], arms: Sequence[str]) -> None:
    """The same lift after one epoch by how often a user, and an item, was seen; first world.

    Without those of whom there are so few that their AUC itself is not known.
    """
    means = [
        row
        for row in rows
        if row.metric == "auc_lift" and row.seed == "all" and f"/{FIRST}/" in row.split
    ]
    if not means:
        return
    world = means[0].split.partition("/")[0]
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.8), layout="constrained", sharey=True)
    for panel, side in zip(panels, ("head", "tail"), strict=True):
        start = f"{world}/{FIRST}/{side}="
        names = [
            row.split
            for row in rows
            if row.metric == "auc" and row.model == BASE and row.split.startswith(start)
            if row.seed == "all" and row.lo is not None and row.hi is not None
            if row.hi - row.lo <= _WIDEST
        ]
        for arm, marker in zip(arms, "os^vDP*X", strict=False):
            told = {row.split: row for row in means if row.model == f"{arm} - {BASE}"}
            own = [(place, told[name]) for place, name in enumerate(names) if name in told]
            if own:
                panel.plot(
                    [place for place, _ in own],
                    [row.value for _, row in own],
                    marker=marker,
                    markersize=4,
                    label=arm if side == "head" else None,
                )
        panel.axhline(0, linestyle=":", color="gray")
        panel.set_xticks(range(len(names)), [name.removeprefix(start) for name in names])
        panel.set_xlabel(f"exposures of the {'user' if side == 'head' else 'item'} before")
        panel.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("AUC above no ID tables")
    figure.suptitle(world, fontsize="small")
    figure.legend(loc="outside right upper", frameon=False, fontsize="x-small")
    figure.savefig(file, dpi=130)
    plt.close(figure)
