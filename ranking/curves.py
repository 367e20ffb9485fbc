"""The pictures of a ranker: how its training went, and whether its probabilities hold.

Takes numbers, gives a PNG's bytes; never trains and never writes a file. The same numbers give the
same bytes, so a ranker that holds the pictures keeps its digest.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

_COLORS = ("tab:blue", "tab:orange")


def training_picture(trace: Sequence[Mapping[str, Any]]) -> bytes:
    """Losses of TRAIN and VALID by epoch on the left, AUC of each head on VALID on the right."""
    figure, canvas = _figure((9.0, 3.4))
    losses, aucs = figure.subplots(1, 2)
    epochs = [told["epoch"] for told in trace]
    losses.plot(epochs, [told["train_loss"] for told in trace], "o-", ms=3, label="train")
    losses.plot(epochs, [told["valid_loss"] for told in trace], "o-", ms=3, label="valid")
    losses.set_ylabel("log loss, nats")
    for head, color in zip(trace[0]["by_head"] if trace else (), _COLORS, strict=False):
        measured = [told["by_head"][head]["auc"] for told in trace]
        aucs.plot(epochs, measured, "o-", ms=3, color=color, label=head)
    aucs.set_ylabel("AUC on valid")
    for axes in (losses, aucs):
        axes.set_xlabel("epoch")
        axes.grid(visible=True, alpha=0.3)
        if trace:
            axes.axvline(trace[-1]["best_epoch"], color="tab:gray", ls=":", label="kept")
            axes.legend()
    return _png(canvas)


def calibration_picture(found: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Share of ones against mean probability by tenths of the rows, of every head.

    `found`: head -> what `reliability` gave. On the dotted line probabilities are what happens.
    """
    figure, canvas = _figure((3.6 * max(len(found), 1), 3.6))
    for number, (head, told) in enumerate(found.items(), start=1):
        axes = figure.add_subplot(1, len(found), number)
        predicted = [part["predicted"] for part in told["tenths"]]
        observed = [part["observed"] for part in told["tenths"]]
        most = max([*predicted, *observed, 1e-6]) * 1.05
        axes.plot([0, most], [0, most], ":", color="tab:gray")
        axes.plot(predicted, observed, "o-", ms=4, color=_COLORS[(number - 1) % len(_COLORS)])
        axes.set_title(f"{head}, ECE {told['ece']:.4f}")
        axes.set_xlabel("predicted, mean of a tenth")
        axes.set_ylabel("observed share")
        axes.grid(visible=True, alpha=0.3)
    return _png(canvas)


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    # Takes half a second to import, and serving imports the doors beside this module.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def _png(canvas: Any) -> bytes:
    held = io.BytesIO()
    canvas.print_png(held, metadata={"Software": None})
    return held.getvalue()
