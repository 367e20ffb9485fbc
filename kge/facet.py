"""A facet: one group of relations of a sealed bundle, and the vectors that it alone gives.

Takes a file of a bundle, gives its arrays and scores by them; never imports torch or PyKEEN.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo
from kge.config import ALL
from kge.errors import UnknownRelation
from kge.pieces import load_arrays
from kge.ranks import distance_scores

__all__ = ["ALL", "Facet"]


@dataclass(frozen=True)
class Facet:
    """One group of relations and the vectors it gives. Arrays are read when first asked for."""

    name: str
    relations: tuple[RelationInfo, ...]
    scale: float
    _file: Path

    @property
    def vectors(self) -> NDArray[np.float32]:
        return self.arrays["vectors"]

    @property
    def bias(self) -> NDArray[np.float32]:
        return self.arrays["bias"]

    @property
    def degree(self) -> NDArray[np.int32]:
        return self.arrays["degree"]

    @property
    def translations(self) -> NDArray[np.float32]:
        return self.arrays["translations"]

    @property
    def projections(self) -> NDArray[np.float32]:
        return self.arrays["projections"]

    @property
    def tail_projections(self) -> NDArray[np.float32]:
        return self.arrays.get("tail_projections", self.arrays["projections"])

    @property
    def side_priors(self) -> NDArray[np.float32] | None:
        return self.arrays.get("side_priors")

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return load_arrays(self._file)

    def relation_index(self, name: str) -> int:
        """The forward index of a relation by name. Raises `UnknownRelation`."""
        for index, relation in enumerate(self.relations):
            if relation.name == name:
                return index
        raise UnknownRelation(
            f"relation should be one of {', '.join(r.name for r in self.relations)}, "
            f"received {name!r}"
        )

    def project(self, relation: int, vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """`M_r e + r` for each row: where a head looks for its tails."""
        return vectors @ self.projections[relation].T + self.translations[relation]

    def score_vectors(
        self,
        relation: int,
        head_vectors: Float[np.ndarray, "b d"],
        tail_vectors: Float[np.ndarray, "m d"],
        tail_bias: Float[np.ndarray, "m"],
    ) -> Float[np.ndarray, "b m"]:
        """`scale * -||M_r h + r - M_r t||^2 + b_t` of every head against every tail."""
        points = tail_vectors @ self.tail_projections[relation].T
        return distance_scores(self.project(relation, head_vectors), points, tail_bias, self.scale)
