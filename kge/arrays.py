"""Trained arrays, before they are sealed: what training hands over, and what must fit together.

Takes arrays, checks their shapes; never reads or writes a file, never imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.errors import ShapeMismatch, UnknownType

# N entities, T types, R relations, F frame rows, d and k dimensions.


@dataclass(frozen=True, kw_only=True, slots=True)
class FacetArrays:
    """The vectors that one group of relations alone gives: a taste, such as that of purchases.

    Rows are those of the bundle. A row with degree 0 has no edge of the group: its vector says no
    more than its type's prior.
    """

    #: [N, d] float32
    vectors: NDArray[np.float32]
    #: [N] float32
    bias: NDArray[np.float32]
    #: [N] int32, triples of the group that touch the entity
    degree: NDArray[np.int32]
    #: the group, in the bundle's order
    relations: Sequence[RelationInfo]
    #: [2R, k] float32; r = forward, r + R = reciprocal
    translations: NDArray[np.float32]
    #: [2R, k, d] float32, what a head goes through
    projections: NDArray[np.float32]
    #: [2R, k, d] float32, what a tail goes through; None: the same as a head
    tail_projections: NDArray[np.float32] | None = None
    #: [T, d] float32, the vector of an entity of which nothing is known, by type
    priors: NDArray[np.float32]
    #: [2R, d] float32, the mean vector of those who have an edge of a side: its heads, then its
    #: tails; None: unknown, and fold-in leans on the type's prior
    side_priors: NDArray[np.float32] | None = None
    #: the dials that it was trained with; None: unknown
    dials: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleArrays(FacetArrays):
    """What training hands over: the facet of all relations, and any number of others beside it."""

    types: Sequence[TypeRange]
    #: [N] the application's ids
    ids: NDArray[np.object_]
    #: [F] int32, the rows that hold the frame
    frame_rows: NDArray[np.int32]
    #: multiplies -||.||^2; 1 where the projections carry it
    scale: float = 1.0
    #: [N, s] int32, rows of the anchors that each entity leans on, -1 for none, for priors and
    #: of those whose vectors are fold-ins (`kge.settle`); and [N, s] float32, the share of its
    #: vector that each gives. None: nobody leans on anchors
    anchor_rows: NDArray[np.int32] | None = None
    anchor_weights: NDArray[np.float32] | None = None
    facets: Mapping[str, FacetArrays] = field(default_factory=dict)
    #: the frame of the bundle before, where the training kept it; None: a frame of its own
    frame: str | None = None
    #: the digest of the bundle that the training began with
    previous: str | None = None

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def type_range(self, type_name: str) -> TypeRange:
        """The rows of a type. Raises `UnknownType`."""
        return find_type({t.name: t for t in self.types}, type_name)

    def prior(self, type_name: str) -> Float[np.ndarray, "d"]:
        """The vector of an entity of which nothing is known yet."""
        return self.priors[[t.name for t in self.types].index(self.type_range(type_name).name)]


def find_type(types: Mapping[str, TypeRange], type_name: str) -> TypeRange:
    """The rows of a type. Raises `UnknownType`."""
    if type_name not in types:
        raise UnknownType(f"type should be one of {', '.join(types)}, received {type_name!r}")
    return types[type_name]


def check(arrays: BundleArrays) -> None:
    """Raise `ShapeMismatch` unless all arrays fit together."""
    count = len(arrays.ids)
    if arrays.types and arrays.types[-1].stop != count:
        raise ShapeMismatch(
            f"types should cover {count} rows, received an end of {arrays.types[-1].stop}"
        )
    _check_facet("", arrays, count, len(arrays.types))
    _check_anchors(arrays, count)
    for name, facet in arrays.facets.items():
        _check_facet(f"{name}.", facet, count, len(arrays.types))


def _check_anchors(arrays: BundleArrays, count: int) -> None:
    rows, weights = arrays.anchor_rows, arrays.anchor_weights
    if (rows is None) != (weights is None):
        raise ShapeMismatch("anchor_rows and anchor_weights should be there both or neither")
    if rows is None or weights is None:
        return
    if rows.ndim != 2 or len(rows) != count or rows.shape != weights.shape:
        raise ShapeMismatch(
            f"anchor_rows and anchor_weights should have shape ({count}, s), received "
            f"{rows.shape} and {weights.shape}"
        )
    if rows.size and (rows.min() < -1 or rows.max() >= count):
        raise ShapeMismatch(
            f"anchor_rows should be from -1 to {count - 1}, received {rows.min()} to {rows.max()}"
        )


def _check_facet(prefix: str, facet: FacetArrays, count: int, types: int) -> None:
    dim, width = facet.vectors.shape[-1], facet.translations.shape[-1]
    sides = 2 * len(facet.relations)
    expected: dict[str, tuple[int, ...]] = {
        "vectors": (count, dim),
        "bias": (count,),
        "degree": (count,),
        "translations": (sides, width),
        "projections": (sides, width, dim),
        "priors": (types, dim),
    }
    if facet.tail_projections is not None:
        expected["tail_projections"] = (sides, width, dim)
    if facet.side_priors is not None:
        expected["side_priors"] = (sides, dim)
    for name, shape in expected.items():
        received = getattr(facet, name).shape
        if received != shape:
            raise ShapeMismatch(f"{prefix}{name} should have shape {shape}, received {received}")
