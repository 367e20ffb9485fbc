"""The tail bias of an entity that training never saw: that of trained ones with as many edges.

Takes the bias and the degree of trained rows, gives the bias of any degree; never reads a vector.

A bias says how likely an entity is a tail, whoever asks, and that goes with its edges: one that is
new and has fifty of them is not like the least connected. Our design.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

#: Rows whose mean bias stands for a degree.
_ALIKE = 100


@dataclass(frozen=True)
class ColdBias:
    """The bias by degree of some rows, such as those of one type; of no rows it is 0."""

    #: [u] the degrees that there are, and of how many rows each is
    _degree: NDArray[np.int64]
    _count: NDArray[np.int64]
    #: [u] what their biases add up to
    _total: NDArray[np.float64]
    #: degree -> bias; a server asks for the same few again and again
    _found: dict[int, float] = field(default_factory=dict)

    def of(self, degrees: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The mean bias of the rows whose degree is next to each of these, counted in doublings.

        All rows that are as near as the 100th nearest count; for fewer edges than any of them has,
        those with the fewest alone, since the others lie on one side, and all of them higher.
        """
        distinct, place = np.unique(degrees, return_inverse=True)
        for asked in distinct.tolist():
            if asked not in self._found:
                self._found[asked] = self._mean(asked)
        return np.array([self._found[asked] for asked in distinct.tolist()], np.float32)[place]

    def _mean(self, asked: int) -> float:
        if not len(self._degree):
            return 0.0
        if asked < self._degree[0]:
            return float(self._total[0] / self._count[0])
        apart = np.abs(np.log2((1.0 + self._degree) / (1.0 + asked)))
        order = np.argsort(apart, kind="stable")
        rows = np.cumsum(self._count[order])
        farthest = apart[order[np.searchsorted(rows, min(_ALIKE, rows[-1]))]]
        alike = apart <= farthest
        return float(self._total[alike].sum() / self._count[alike].sum())


def cold_bias(bias: Float[np.ndarray, "n"], degree: Int[np.ndarray, "n"]) -> ColdBias:
    """What the rows say, given the bias and the number of training edges of each."""
    distinct, place, count = np.unique(degree, return_inverse=True, return_counts=True)
    total = np.bincount(place, weights=bias, minlength=len(distinct))
    return ColdBias(distinct.astype(np.int64), count.astype(np.int64), total.astype(np.float64))
