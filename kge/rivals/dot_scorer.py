"""Models that score by a dot product, as link prediction sees them.

Takes vectors, gives scores; numpy only, never trains.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class DotScorer:
    """`(e_h * scale_s + shift_s) . e_t + b_t` for each of the 2R sides."""

    #: [N, d]
    vectors: NDArray[np.floating]
    #: [2R, d]
    scale: NDArray[np.floating]
    #: [2R, d]
    shift: NDArray[np.floating]
    #: [N]
    bias: NDArray[np.floating]

    @property
    def entity_count(self) -> int:
        return len(self.vectors)

    @property
    def relation_count(self) -> int:
        return len(self.scale) // 2

    @property
    def candidate_bytes(self) -> int:
        return 0

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        query_bd = self.vectors[heads] * self.scale[side] + self.shift[side]
        scores_bc = query_bd @ self.vectors[first:last].T
        scores_bc += self.bias[first:last]
        return scores_bc
