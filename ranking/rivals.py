"""The counting rivals that a ranker has to beat, with the information that the ranker has.

Takes labelled rows, gives their scores; never sees a count from a row's own second or later.
Smoothing strengths are chosen on VALID from `SMOOTHING_GRID`, scores are Platt-scaled on CALIBRATE,
where rankers are calibrated too.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from graphsvc.snapshot import Span
from ranking.calibration import fit_platt
from ranking.examples import Examples, LabelledRows
from ranking.metrics import auc
from ranking.states import EntityStates

#: Pseudo exposures at TRAIN's base rate that are tried; one trial each, user x item for the mean.
SMOOTHING_GRID = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


class Rival(NamedTuple):
    """A fitted rival: calibrated probabilities of the TEST rows, and the chosen smoothing."""

    name: str
    probabilities: Float64[np.ndarray, "n"]
    #: side -> pseudo exposures
    smoothing: dict[str, float]
    #: Settings that were compared on VALID.
    trials: int


def fit_rivals(examples: Examples) -> tuple[Rival, ...]:
    """constant, item_ctr, user_item_mean.

    item_ctr       = (c_i + s p) / (n_i + s)
    user_item_mean = (c_u + s_u p) / (n_u + s_u) + (c_i + s_i p) / (n_i + s_i)

    with n exposures and c outcomes strictly before the row, p the share of ones in TRAIN.
    """
    valid, test = examples.rows[Span.VALID], examples.rows[Span.TEST]
    last = examples.rows[Span.CALIBRATE]
    base, share = _share(examples.rows[Span.TRAIN]), _share(last)
    item = _best(valid, [(_item_ctr(valid, base, s), (s,)) for s in SMOOTHING_GRID])
    both = _best(
        valid,
        [
            (_user_item_mean(valid, base, pair), pair)
            for pair in product(SMOOTHING_GRID, SMOOTHING_GRID)
        ],
    )
    item_scores = (_item_ctr(last, base, item[0]), _item_ctr(test, base, item[0]))
    both_scores = (_user_item_mean(last, base, both), _user_item_mean(test, base, both))
    return (
        Rival("constant", np.full(len(test.labels), share), {}, 1),
        Rival("item_ctr", _calibrated(last, item_scores), {"item": item[0]}, len(SMOOTHING_GRID)),
        Rival(
            "user_item_mean",
            _calibrated(last, both_scores),
            {"user": both[0], "item": both[1]},
            len(SMOOTHING_GRID) ** 2,
        ),
    )


def smoothed_rate(
    states: EntityStates, base_rate: float, smoothing: float
) -> Float64[np.ndarray, "n"]:
    """(outcomes + s p) / (exposures + s)."""
    return (states.outcomes + smoothing * base_rate) / (states.exposures + smoothing)


def _item_ctr(rows: LabelledRows, base: float, smoothing: float) -> Float64[np.ndarray, "n"]:
    return smoothed_rate(rows.tails, base, smoothing)


def _user_item_mean(
    rows: LabelledRows, base: float, smoothing: tuple[float, ...]
) -> Float64[np.ndarray, "n"]:
    user, item = smoothing
    return smoothed_rate(rows.heads, base, user) + smoothed_rate(rows.tails, base, item)


def _best(
    valid: LabelledRows,
    candidates: list[tuple[Float64[np.ndarray, "n"], tuple[float, ...]]],
) -> tuple[float, ...]:
    """The setting with the highest VALID AUC; the first of equals."""
    return max(candidates, key=lambda candidate: auc(candidate[0], valid.labels))[1]


def _calibrated(
    rows: LabelledRows, scores: tuple[Float64[np.ndarray, "v"], Float64[np.ndarray, "t"]]
) -> Float64[np.ndarray, "t"]:
    return fit_platt(scores[0], rows.labels, rows.weight).probabilities(scores[1])


def _share(rows: LabelledRows) -> float:
    """Of ones, each row counted as often as it stands for."""
    return float(np.average(rows.labels == 1, weights=rows.weight))
