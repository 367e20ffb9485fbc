"""The counting rivals that a ranker has to beat, with the information that the ranker has.

Takes labelled rows, gives their scores. Clicks are counted strictly before each row's second;
conversions in TRAIN, whose labels rankers have as well. Smoothing strengths are chosen on VALID
from `SMOOTHING_GRID`, scores are Platt-scaled on CALIBRATE, where rankers are calibrated too.
"""

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from graphsvc.snapshot import Span
from ranking.calibration import fit_platt
from ranking.columns import distinct
from ranking.examples import Examples, LabelledRows
from ranking.metrics import weighted_auc
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


#: By what a head is about: the names of its rivals that count.
COUNTING = {
    "ctr": ("item_ctr", "user_item_mean"),
    "cvr": ("item_cvr", "user_item_mean"),
}


def fit_rivals(examples: Examples, head: str = "ctr") -> tuple[Rival, ...]:
    """constant, item_ctr (of the head cvr item_cvr), user_item_mean.

    item_ctr       = (c_i + s p) / (n_i + s)
    user_item_mean = (c_u + s_u p) / (n_u + s_u) + (c_i + s_i p) / (n_i + s_i)

    with n exposures and c outcomes strictly before the row, p the share of ones in TRAIN. Of cvr n
    and c are clicks and conversions of TRAIN, since later ones may not be over. `examples`: those
    `of_head`.
    """
    if head == "cvr":
        examples = _counted_in_train(examples)
    item_rate, mean = COUNTING[head]
    valid, test = examples.rows[Span.VALID], examples.rows[Span.TEST]
    last = examples.rows[Span.CALIBRATE]
    base, share = _share(examples.rows[Span.TRAIN]), _share(last)
    item = _best(valid, [(_item_rate(valid, base, s), (s,)) for s in SMOOTHING_GRID])
    both = _best(
        valid,
        [
            (_user_item_mean(valid, base, pair), pair)
            for pair in product(SMOOTHING_GRID, SMOOTHING_GRID)
        ],
    )
    item_scores = (_item_rate(last, base, item[0]), _item_rate(test, base, item[0]))
    both_scores = (_user_item_mean(last, base, both), _user_item_mean(test, base, both))
    return (
        Rival("constant", np.full(len(test.labels), share), {}, 1),
        Rival(item_rate, _calibrated(last, item_scores), {"item": item[0]}, len(SMOOTHING_GRID)),
        Rival(
            mean,
            _calibrated(last, both_scores),
            {"user": both[0], "item": both[1]},
            len(SMOOTHING_GRID) ** 2,
        ),
    )


def _counted_in_train(examples: Examples) -> Examples:
    """The same rows with counts of TRAIN: rows of a head or a tail, and ones among them."""
    train = examples.rows[Span.TRAIN]
    ones = train.labels == 1
    rows = {
        span: part._replace(
            heads=_counted(part.heads, train.heads, ones),
            tails=_counted(part.tails, train.tails, ones),
        )
        for span, part in examples.rows.items()
    }
    return examples._replace(rows=rows)


def _counted(
    states: EntityStates, learned: EntityStates, ones: Bool[np.ndarray, "n"]
) -> EntityStates:
    known = distinct(learned.ids)
    number = {id_: code for code, id_ in enumerate(known.values.tolist())}
    asked = distinct(states.ids)
    place = np.array([number.get(id_, -1) for id_ in asked.values.tolist()], dtype=np.int64)
    # The last slot is of who is not in TRAIN.
    rows = np.bincount(known.codes, minlength=len(number) + 1)
    conversions = np.bincount(known.codes[ones], minlength=len(number) + 1)
    codes = place[asked.codes]
    return replace(states, exposures=rows[codes], outcomes=conversions[codes])


def smoothed_rate(
    states: EntityStates, base_rate: float, smoothing: float
) -> Float64[np.ndarray, "n"]:
    """(outcomes + s p) / (exposures + s)."""
    return (states.outcomes + smoothing * base_rate) / (states.exposures + smoothing)


def _item_rate(rows: LabelledRows, base: float, smoothing: float) -> Float64[np.ndarray, "n"]:
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
    weight = valid.weight[None].astype(np.float64)
    return max(candidates, key=lambda one: weighted_auc(one[0], valid.labels, weight)[0])[1]


def _calibrated(
    rows: LabelledRows, scores: tuple[Float64[np.ndarray, "v"], Float64[np.ndarray, "t"]]
) -> Float64[np.ndarray, "t"]:
    return fit_platt(scores[0], rows.labels, rows.weight).probabilities(scores[1])


def _share(rows: LabelledRows) -> float:
    """Of ones, each row counted as often as it stands for."""
    return float(np.average(rows.labels == 1, weights=rows.weight))
