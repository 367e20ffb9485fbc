"""Fold-in: a vector for an entity that training never saw, from its edges alone.

Takes a bundle and edges, gives vectors by one small solve each; never trains, never imports torch
or PyKEEN, since serving folds in new entities while it answers.

With all else fixed, the vector that minimizes the positive-edge energy of a new entity x is the
solution of a ridge problem. For an edge (x, r, t) the energy is `||M_r x + r - M_r t||^2` and, as
every edge was trained in both directions, `||M_r' t + r' - M_r' x||^2` with the reciprocal r':

    (sum w_e G_e + lambda I) x = sum w_e (C_e t_e + c_e) + lambda x_prior
    G_e = C_e = M_r^T M_r + M_r'^T M_r'    c_e = -M_r^T r + M_r'^T r'   (inbound: signs swap)
    lambda = prior_edges * mean_e(w_e trace(G_e) / d)

so lambda counts in edges. Where tails go through matrices T of their own, an outbound edge has
`G = M_r^T M_r + T_r'^T T_r'`, `C = M_r^T T_r + T_r'^T M_r'`, `c = -M_r^T r + T_r'^T r'`.
Our design; bias and negatives lie outside of it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.arrays import BundleArrays
from kge.bundle import Bundle
from kge.config import FoldInConfig
from kge.errors import ShapeMismatch

# Single-letter dimensions: n new entities, e edges, s sides (2R: relation and direction), d vector.

#: New entities per batched solve: bounds memory at this many d x d matrices.
_CHUNK = 512


class FoldInEdges(NamedTuple):
    """Edges of new entities as columns."""

    #: int32 [e], 0 .. count-1: the new entity
    owner: NDArray[np.int32]
    #: int16 [e], forward index of the relation
    relation: NDArray[np.int16]
    #: int32 [e], bundle row at the other end
    other: NDArray[np.int32]
    #: bool [e], True where the new entity is the tail
    inverse: NDArray[np.bool_]
    #: float32 [e], edge weight
    weight: NDArray[np.float32]


#: Nothing to fold in: gives the prior.
NO_EDGES = FoldInEdges(
    owner=np.empty(0, np.int32),
    relation=np.empty(0, np.int16),
    other=np.empty(0, np.int32),
    inverse=np.empty(0, np.bool_),
    weight=np.empty(0, np.float32),
)


class History(NamedTuple):
    """What heads did and when, as columns; `tail` is a bundle row, -1 where unknown."""

    key: NDArray[np.int64]
    tail: NDArray[np.int32]
    time: NDArray[np.int64]


class Queries(NamedTuple):
    """Which head at which time, as columns."""

    key: NDArray[np.int64]
    time: NDArray[np.int64]


@dataclass(frozen=True)
class FoldIn:
    """Fold-in over one bundle; everything that does not depend on the edges is computed once."""

    bundle: Bundle | BundleArrays
    config: FoldInConfig

    def solve(self, type_name: str, count: int, edges: FoldInEdges) -> Float[np.ndarray, "n d"]:
        """Vectors of `count` new entities of a type; one without edges gets the type's prior.

        Raises `UnknownType`, and `ShapeMismatch` for columns of different lengths or an owner
        outside 0 .. count-1.
        """
        _check_edges(edges, count)
        sides = len(self.bundle.relations)
        # A side names relation and direction, so that an edge's G and c depend on it alone.
        side = edges.relation.astype(np.int64) + np.where(edges.inverse, sides, 0)
        used, place = np.unique(side, return_inverse=True)
        weights_ns = np.zeros((count, len(used)))
        sums_nsd = np.zeros((count, len(used), self.bundle.dim))
        np.add.at(weights_ns, (edges.owner, place), edges.weight)
        weighted = self.bundle.vectors[edges.other] * edges.weight[:, None].astype(np.float64)
        np.add.at(sums_nsd, (edges.owner, place), weighted)
        counts_n = np.bincount(edges.owner, minlength=count)
        return self.solve_sums(type_name, used, (weights_ns, sums_nsd, counts_n))

    def solve_sums(
        self,
        type_name: str,
        sides: Int[np.ndarray, "s"],
        sums: tuple[Float[np.ndarray, "n s"], Float[np.ndarray, "n s d"], Int[np.ndarray, "n"]],
    ) -> Float[np.ndarray, "n d"]:
        """`solve` from what edges add up to per side: sum of w, sum of w t, and edge count.

        A side is a relation's forward index, plus R where the new entity is the tail.
        """
        weights_ns, sums_nsd, counts_n = sums
        prior_d = self.bundle.prior(type_name).astype(np.float64)
        gram_sdd, cross_sdd = self._solids.gram[sides], self._solids.cross[sides]
        right_nd = np.einsum("nsd,sed->ne", sums_nsd, cross_sdd)
        right_nd += weights_ns @ self._solids.shift[sides]
        trace_n = weights_ns @ np.trace(gram_sdd, axis1=1, axis2=2) / self.bundle.dim
        ridge_n = self.config.prior_edges * trace_n / np.maximum(counts_n, 1)
        right_nd += ridge_n[:, None] * prior_d
        found_nd = np.tile(prior_d, (len(weights_ns), 1))
        known = np.flatnonzero(ridge_n > 0)
        if len(sides) == 1:  # one side: all systems share their eigenvectors
            values_d, basis_dd = np.linalg.eigh(gram_sdd[0])
            scale_nd = weights_ns[known] * values_d + ridge_n[known, None]
            found_nd[known] = ((right_nd[known] @ basis_dd) / scale_nd) @ basis_dd.T
        else:
            for start in range(0, len(known), _CHUNK):
                part = known[start : start + _CHUNK]
                left = np.einsum("ns,sde->nde", weights_ns[part], gram_sdd)
                left += ridge_n[part, None, None] * np.eye(self.bundle.dim)
                found_nd[part] = np.linalg.solve(left, right_nd[part, :, None])[:, :, 0]
        return self._clip(found_nd, type_name).astype(np.float32)

    def _clip(self, x_nd: NDArray[np.float64], type_name: str) -> NDArray[np.float64]:
        start, stop = self.bundle.type_range(type_name)[1:]
        if start == stop:
            return x_nd
        longest = np.linalg.norm(self.bundle.vectors[start:stop], axis=1).max()
        norm_n = np.linalg.norm(x_nd, axis=1, keepdims=True)
        bound = self.config.max_norm_ratio * max(
            float(longest), float(np.linalg.norm(self.bundle.prior(type_name)))
        )
        return x_nd * np.minimum(1.0, bound / np.maximum(norm_n, 1e-12))

    @cached_property
    def _solids(self) -> "_Solids":
        heads = self.bundle.projections.astype(np.float64)
        own = self.bundle.tail_projections
        shared = own is None or own is self.bundle.projections
        tails = heads if own is None or shared else own.astype(np.float64)
        count = len(heads) // 2
        shift = self.bundle.translations.astype(np.float64)
        # What the new entity goes through as the head of side s, and as the tail of its opposite.
        other = np.roll(tails, -count, axis=0)
        gram = _products(heads, heads) + _products(other, other)
        cross = gram
        if not shared:
            cross = _products(heads, tails) + _products(other, np.roll(heads, -count, axis=0))
        pulled = np.einsum("rkd,rk->rd", other, np.roll(shift, -count, axis=0))
        return _Solids(gram, cross, pulled - np.einsum("rkd,rk->rd", heads, shift))


class _Solids(NamedTuple):
    """What an edge of each side adds to a solve; a side + R is the entity as the tail."""

    #: G, [2R, d, d]
    gram: NDArray[np.float64]
    #: C, [2R, d, d]
    cross: NDArray[np.float64]
    #: c, [2R, d]
    shift: NDArray[np.float64]


def _products(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return left.transpose(0, 2, 1) @ right


def foldin_as_of(
    bundle: Bundle, foldin: FoldIn, relation: int, history: History, queries: Queries
) -> tuple[Float[np.ndarray, "q d"], Int[np.ndarray, "q"]]:
    """The vector of each query's head from what it did strictly before the query's time.

    Gives float32 vectors and the int32 number of earlier acts (those with an unknown tail count in
    the number, not in the vector). Equal (key, prefix) states are solved once.
    """
    head_type = bundle.relations[relation].head
    if not len(queries.key):
        return np.empty((0, bundle.dim), np.float32), np.empty(0, np.int32)
    order = np.lexsort((history.time, history.key))
    key, tail, time = history.key[order], history.tail[order], history.time[order]
    times = np.unique(time)
    width = len(times) + 1
    keys = np.unique(np.concatenate([key, queries.key]))
    # (key, time) as one sorted number; left of the query's time = strictly earlier.
    events = np.searchsorted(keys, key) * width + np.searchsorted(times, time)
    query_key = np.searchsorted(keys, queries.key)
    first = np.searchsorted(events, query_key * width, side="left")
    last = np.searchsorted(
        events, query_key * width + np.searchsorted(times, queries.time), side="left"
    )
    states, place = np.unique(np.stack([first, last], 1), axis=0, return_inverse=True)
    usable = tail >= 0
    counts = np.concatenate([[0], np.cumsum(usable)])
    vectors = np.where(usable[:, None], bundle.vectors[np.where(usable, tail, 0)], 0.0)
    running = np.concatenate(
        [np.zeros((1, bundle.dim)), np.cumsum(vectors, axis=0, dtype=np.float64)]
    )
    number = counts[states[:, 1]] - counts[states[:, 0]]
    sums = running[states[:, 1]] - running[states[:, 0]]
    solved = foldin.solve_sums(
        head_type,
        np.array([relation]),
        (number[:, None].astype(np.float64), sums[:, None, :], number),
    )
    return solved[place.reshape(-1)], (last - first).astype(np.int32)


def _check_edges(edges: FoldInEdges, count: int) -> None:
    lengths = {name: len(column) for name, column in edges._asdict().items()}
    if len(set(lengths.values())) != 1:
        raise ShapeMismatch(f"edge columns should have one length, received {lengths}")
    if not len(edges.owner):
        return
    lowest, highest = int(edges.owner.min()), int(edges.owner.max())
    if lowest < 0 or highest >= count:
        raise ShapeMismatch(
            f"owner should be from 0 to {count - 1}, received {lowest} to {highest}"
        )
