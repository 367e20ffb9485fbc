"""What a ranker says of some pairs, and the order that follows from it.

Takes logits and probabilities by head, gives the probabilities that an order goes by; never asks a
model.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

#: The order by the chance that an exposure ends in a conversion: that of a click, times the chance
#: of a conversion given the click.
CTCVR = "ctcvr"


def heads_of(order: str, names: Sequence[str]) -> tuple[str, ...]:
    """The heads that an order goes by, of those of a ranker."""
    return tuple(names) if order == CTCVR else (order,)


class Scored(NamedTuple):
    """What a ranker says of n pairs, by head."""

    #: In the order of the heads, before calibration.
    logits: Float64[np.ndarray, "n h"]
    probabilities: Mapping[str, Float64[np.ndarray, "n"]]

    def by(self, order: str) -> Float64[np.ndarray, "n"]:
        """The probabilities that an order goes by: of a head, or `ctcvr`."""
        if order == CTCVR:
            return self.probabilities["ctr"] * self.probabilities["cvr"]
        return self.probabilities[order]

    def best_first(self, order: str) -> Int64[np.ndarray, "n"]:
        """The pairs, likeliest first.

        Of equally likely ones, which a calibration may make, those with the higher logits come
        first, then they are in their own order.
        """
        names = list(self.probabilities)
        wanted = [names.index(name) for name in heads_of(order, names)]
        logits = self.logits[:, wanted].sum(axis=1)
        return np.lexsort((-logits, -self.by(order)))
