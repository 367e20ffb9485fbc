"""Whether probabilities are what happens: by tenths of the rows, and by group.

Takes probabilities of labelled rows, gives figures that are stored with a ranker; never fits or
chooses anything by them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.bundle import Beside
from ranking.columns import by_name
from ranking.curves import calibration_picture, training_picture
from ranking.examples import Examples, LabelledRows, of_head
from ranking.metrics import TENTHS, ece, tenth_of
from ranking.spec import text_of
from ranking.states import EntityStates
from ranking.trained import TrainedRanker

#: Values of an attribute that are told apart, the most frequent ones.
_MOST_VALUES = 10
#: Groups by known outcomes of the head before the row: name, least, most.
HISTORY = (("0", 0, 0), ("1-4", 1, 4), ("5+", 5, np.iinfo(np.int64).max))


class Tenth(NamedTuple):
    """Some rows that are next to one another by probability; rows count as often as they stand."""

    rows: float
    #: Mean probability, and share of ones.
    predicted: float
    observed: float


def tenths(
    probabilities: Float64[np.ndarray, "n"],
    labels: Int8[np.ndarray, "n"],
    weights: NDArray[Any],
) -> list[Tenth]:
    """The parts of `tenth_of`; empty ones are left out."""
    counts, part = weights.astype(np.float64), tenth_of(probabilities, weights)
    rows = np.bincount(part, counts, minlength=TENTHS)
    predicted = np.bincount(part, counts * probabilities, minlength=TENTHS)
    observed = np.bincount(part, counts * (labels == 1), minlength=TENTHS)
    return [
        Tenth(float(n), float(p / n), float(o / n))
        for n, p, o in zip(rows, predicted, observed, strict=True)
        if n > 0
    ]


def reliability(
    examples: Examples, rows: LabelledRows, probabilities: Float64[np.ndarray, "n"]
) -> dict[str, Any]:
    """ECE, its tenths, and the same of every group of rows, as JSON.

    Groups: by known outcomes of the head before the row, and by the values of categories of heads
    and tails; the most frequent ones.
    """
    parts = tenths(probabilities, rows.labels, rows.weight)
    groups = []
    for name, chosen in _groups(examples, rows):
        if not chosen.any():
            continue
        predicted, labels = probabilities[chosen], rows.labels[chosen]
        weight = rows.weight[chosen].astype(np.float64)
        groups.append(
            {
                "group": name,
                "rows": float(weight.sum()),
                "predicted": float(np.average(predicted, weights=weight)),
                "observed": float(np.average(labels == 1, weights=weight)),
                "ece": ece(predicted, labels, weight),
            }
        )
    return {
        "ece": ece(probabilities, rows.labels, rows.weight),
        "tenths": [part._asdict() for part in parts],
        "groups": groups,
    }


def _groups(examples: Examples, rows: LabelledRows) -> Iterator[tuple[str, Bool[np.ndarray, "n"]]]:
    known = rows.heads.outcomes
    for name, least, most in HISTORY:
        yield f"history={name}", (known >= least) & (known <= most)
    yield from _by_category(examples.head_type, rows.heads, examples.head_kinds)
    yield from _by_category(examples.tail_type, rows.tails, examples.tail_kinds)


def _by_category(
    type_: str, states: EntityStates, kinds: Mapping[str, str]
) -> Iterator[tuple[str, Bool[np.ndarray, "n"]]]:
    for name in sorted(name for name, kind in kinds.items() if kind == "category"):
        if name not in states.attributes:
            continue
        for value, own in by_name(states.attributes[name], _label, _MOST_VALUES):
            yield f"{type_}.{name}={value}", own


def _label(value: Any) -> str | None:
    return None if value is None else text_of(value)


def judged(trained: TrainedRanker, examples: Examples) -> Beside:
    """What a ranker is sealed with: how well its probabilities hold on TEST, and its pictures."""
    found = {}
    for head in trained.config.heads.names:
        part = of_head(examples, head)
        rows = part.rows[Span.TEST]
        scored = trained.scored(rows.heads, rows.tails, rows.exposures)
        found[head] = reliability(part, rows, scored.probabilities[head])
    pictures = {
        "curve.png": training_picture(trained.trace),
        "calibration.png": calibration_picture(found),
    }
    return Beside(found, pictures)
