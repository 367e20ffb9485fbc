"""AUC against FLOPs, and what each change of ML-DCN's mask does to it.

Takes rows, gives PNGs; never measures anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pictures import finish, plt

from graphsvc.report import Row


def by_flops(file: Path, aucs: Mapping[str, Sequence[tuple[float, Row]]], *, base: float) -> None:
    """Mean AUC on TEST over the seeds with its interval, a line per arm, by FLOPs.

    Dotted: the budgets, which are multiples of `base`.
    """
    if not any(aucs.values()):
        return
    figure, axes = plt.subplots(figsize=(8.4, 4.2), layout="constrained")
    reached = [flops for points in aucs.values() for flops, _ in points]
    times = 1
    while times * base <= 1.3 * max(reached):
        axes.axvline(times * base, linestyle=":", color="gray", linewidth=0.8)
        times *= 2
    for (arm, points), marker in zip(aucs.items(), "osv^DxP*", strict=False):
        flops, rows = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        value = [row.value for row in rows]
        low, high = ([getattr(row, end) for row in rows] for end in ("lo", "hi"))
        [line] = axes.plot(flops, value, marker=marker, markersize=4, label=arm)
        if None not in low and None not in high:
            axes.fill_between(flops, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("FLOPs of matrix products per row, from x_0 to the logit")
    axes.set_ylabel("AUC on TEST")
    finish(file, figure, axes)


def by_change(file: Path, rows: Sequence[Row]) -> None:
    """What each change does to AUC on VALID, with its interval over seeds, the best at the top."""
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: row.value)
    figure, axes = plt.subplots(figsize=(8.4, 1.6 + 0.28 * len(ordered)), layout="constrained")
    places = range(len(ordered))
    for place, row in zip(places, ordered, strict=True):
        if row.lo is not None and row.hi is not None:
            axes.plot((row.lo, row.hi), (place, place), color="gray")
        axes.plot(row.value, place, "o", color="black", markersize=4)
    axes.axvline(0.0, linestyle=":", color="gray")
    axes.set_yticks(list(places), [row.model.partition(" - ")[0] for row in ordered])
    axes.set_xlabel("AUC on VALID, less that of ML-DCN as it was chosen")
    axes.grid(visible=True, axis="x", alpha=0.3)
    figure.savefig(file, dpi=130)
    plt.close(figure)
