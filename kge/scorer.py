"""What can be ranked: anything that scores a range of entities for some heads.

Takes nothing and holds nothing: the one interface between `kge.evaluate` and all models.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int


@runtime_checkable
class Scorer(Protocol):
    """A model as link prediction sees it. N entities, R relations, 2R sides.

    Side r asks (h, r, ?); side r + R asks (?, r, t) with t in the place of the head. How a model
    answers the second question, by a reciprocal relation or by scoring heads, is its own business.
    """

    @property
    def entity_count(self) -> int:
        """N."""

    @property
    def relation_count(self) -> int:
        """R, the relations that were trained."""

    @property
    def candidate_bytes(self) -> int:
        """What `scores` holds per candidate beside its answer, in bytes."""

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        """Scores of candidates first .. last - 1 for each head: higher is better.

        They need to be comparable within a row alone. The same arguments give the same bits.
        """
