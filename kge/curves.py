"""The picture of a training: loss, and how well held-out edges are found, against steps.

Takes numbers, gives a PNG's bytes; never trains and never writes a file. The same numbers give the
same bytes, so a bundle that holds the picture keeps its digest.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """Where a training was after `step` steps; `mrr` is None where it was not measured."""

    step: int
    loss: float
    mrr: float | None = None


def picture(points: Sequence[Point]) -> bytes:
    """Loss on the left axis and validation MRR on the right one."""
    # Takes half a second to import, and serving imports the doors beside this module.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    losses = figure.add_subplot()
    losses.plot([p.step for p in points], [p.loss for p in points], color="tab:blue")
    losses.set_xlabel("steps")
    losses.set_ylabel("training loss, nats", color="tab:blue")
    losses.grid(visible=True, alpha=0.3)
    measured = [(p.step, p.mrr) for p in points if p.mrr is not None]
    if measured:
        found = losses.twinx()
        found.plot(*zip(*measured, strict=True), "o-", color="tab:orange", ms=3)
        found.set_ylabel("validation MRR", color="tab:orange")
        found.set_ylim(bottom=0)
    held = io.BytesIO()
    canvas.print_png(held, metadata={"Software": None})
    return held.getvalue()
