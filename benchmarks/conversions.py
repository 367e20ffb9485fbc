"""Clicks as examples of conversions: what a ranker of conversion rates learns from.

Takes the examples of a click ranker and what is known of conversions, gives examples; never fits
anything. The same ranker learns both, each by itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.errors import NotEnoughRows
from ranking.examples import Examples

#: Not a row: nobody could see whether there was a conversion, or not yet.
UNKNOWN = -1


class Deeds(NamedTuple):
    """Who did something about what, and when, as columns; in no order."""

    who: NDArray[np.int64]
    what: NDArray[np.int64]
    time: NDArray[np.int64]


def converted(shown: Deeds, bought: Deeds, window: int) -> NDArray[np.bool_]:
    """Which impressions a conversion belongs to; `what` is what an ad leads to.

    Last touch, as answers are joined: a conversion belongs to the latest impression before it, or
    of its second, of what leads there, if that is at most `window` seconds ago.
    """
    found = np.zeros(len(shown.who), dtype=np.bool_)
    if not len(shown.who) or not len(bought.who):
        return found
    who, what, time = (np.concatenate(columns) for columns in zip(shown, bought, strict=True))
    _, person = np.unique(who, return_inverse=True)
    start, span = int(time.min()), int(time.max() - time.min()) + 1
    code = (person.astype(np.int64) * (int(what.max()) + 1) + what) * span + (time - start)
    touches, deeds = code[: len(found)], code[len(found) :]
    order = np.argsort(touches, kind="stable")
    place = np.searchsorted(touches[order], deeds, side="right") - 1
    touch = order[np.maximum(place, 0)]
    same = (place >= 0) & (touches[touch] // span == deeds // span)
    within = deeds - touches[touch] <= window
    found[touch[same & within]] = True
    return found


def converting(examples: Examples, labels: Mapping[Span, NDArray[np.int8]]) -> Examples:
    """The clicked rows alone, labelled by what became of them; `UNKNOWN` ones are left out.

    Raises `NotEnoughRows` where a span has not both labels.
    """
    rows = {}
    for span, own in examples.rows.items():
        chosen = np.flatnonzero((own.labels == 1) & (labels[span] != UNKNOWN))
        label = labels[span][chosen].astype(np.int8)
        if len(np.unique(label)) < 2:
            raise NotEnoughRows(
                f"the {span.name} span should hold clicks with and without conversion, received "
                f"{len(label)} clicks with {int(label.sum())} conversions"
            )
        columns: tuple[Any, ...] = own
        rows[span] = type(own)(*(column.take(chosen) for column in columns))._replace(labels=label)
    return examples._replace(rows=rows)
