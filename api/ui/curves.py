"""What steps of a job say of themselves in figures, as curves over how far they were.

Takes progress as somebody watches it, gives a chart for each figure; keeps nothing itself.
"""

import math
import re
from collections.abc import Sequence

from nicegui import ui

from api.routes.jobs import StepOut

#: Step and figure -> how far it was, and what it was then.
Curves = dict[str, list[tuple[int, float]]]
#: `loss 2.31`, `loss 1.5e-05`, `round 7`. What stands behind a number is its unit, as in `2 of 3`;
#: and a number ends where a word does, so that no part of a digest is one.
_FIGURE = re.compile(
    r"(?<!\d )\b([^\W\d]\w*) (-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\w|[.,]\d)", re.ASCII
)


def figures(note: str) -> dict[str, float]:
    """Every figure of a note with the word before it; of the same word twice, the last."""
    found = {name: float(number) for name, number in _FIGURE.findall(note)}
    return {name: number for name, number in found.items() if math.isfinite(number)}


def note(curves: Curves, progress: Sequence[StepOut]) -> None:
    """Add what steps say of themselves now to what they said while somebody looked."""
    for step in progress:
        for name, number in figures(step.note).items():
            points = curves.setdefault(f"{step.step}: {name}", [])
            if not points or points[-1][0] != step.done:
                points.append((step.done, number))


def draw(curves: Curves) -> None:
    """What was seen of each figure, once there are two points of it."""
    for name, points in curves.items():
        if len(points) > 1:
            ui.label(name).classes("quiet text-sm")
            ui.echart(
                {
                    "backgroundColor": "transparent",
                    "grid": {"left": 60, "right": 10, "top": 10, "bottom": 25},
                    "xAxis": {"type": "value", "min": "dataMin", "max": "dataMax"},
                    "yAxis": {"type": "value", "scale": True},
                    "tooltip": {"trigger": "axis"},
                    "series": [{"type": "line", "data": [list(point) for point in points]}],
                    "animation": False,
                }
            ).classes("w-full h-40")
