"""Fold-in: a vector for an entity that training never saw, from its edges alone.

Takes a bundle and edges, gives vectors by one small solve each; never trains, never imports torch
or PyKEEN, since serving folds in new entities while it answers.

With all else fixed, the vector that minimizes the positive-edge energy of a new entity x is the
solution of a ridge problem. For an edge (x, r, t) the energy is `||M_r x + r - M_r t||^2` and, as
every edge was trained in both directions, `||M_r' t + r' - M_r' x||^2` with the reciprocal r':

    (sum w_e G_e + lambda I) x = sum w_e (C_e t_e + c_e) + lambda x_prior
    G_e = C_e = M_r^T M_r + M_r'^T M_r'    c_e = -M_r^T r + M_r'^T r'   (inbound: signs swap)
    lambda = prior_edges * mean_e(w_e trace(G_e) / d)

so lambda counts in edges. Where the bundle knows the mean vector of those who have an edge of a
side (its `side_priors`), x_prior is the mean of these over the edges; else it is the type's. Where
tails go through matrices T of their own, an outbound edge has `G = M_r^T M_r + T_r'^T T_r'`,
`C = M_r^T T_r + T_r'^T M_r'`, `c = -M_r^T r + T_r'^T r'`. Our design; bias and negatives lie
outside of it.
"""

from collections.abc import Iterator, Mapping
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

# Single-letter dimensions: n new entities, e edges, s sides (2R: relation and direction), d vector,
# p pairs of a new entity and a side.

#: New entities per batched solve: as many d x d matrices as stay in a processor's cache at d = 64.
_CHUNK = 64

#: One product over all used sides costs less than gathering G per pair up to this many times as
#: many multiplications, since a product runs from the cache.
_DENSE = 8

#: Edges, or entities, times numbers of a vector that are solved for at once, each of them several
#: times over in double precision.
NUMBERS = 1 << 20

#: Up to how many rows a run is short, and up to how many runs are few.
_SHORT, _FEW = 16, 64


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
        sides = 2 * len(self.bundle.relations)
        # A side names relation and direction, so that an edge's G and c depend on it alone.
        side = edges.relation.astype(np.int64) + np.where(edges.inverse, sides // 2, 0)
        code = edges.owner * np.int64(sides) + side
        order = np.argsort(code, kind="stable")
        code, counts_n = code[order], np.bincount(edges.owner, minlength=count)
        found_nd = np.empty((count, self.bundle.dim), np.float32)
        for start, stop, own in _parts(counts_n, self.bundle.dim):
            rows = order[own]
            owner, side = np.divmod(code[own], sides)
            first = _starts(code[own])
            weight = edges.weight[rows].astype(np.float64)
            sums_pd = self.bundle.vectors[edges.other[rows]] * weight[:, None]
            owner, side = owner[first] - start, side[first]
            pairs = _Pairs(owner, side, _sums(weight, first), _sums(sums_pd, first))
            found_nd[start:stop] = self._solve(type_name, pairs, counts_n[start:stop])
        return found_nd

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
        owner, place = np.nonzero(weights_ns)
        pairs = _Pairs(owner, sides[place], weights_ns[owner, place], sums_nsd[owner, place])
        return self._solve(type_name, pairs, counts_n)

    def _solve(
        self, type_name: str, pairs: "_Pairs", counts_n: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n d"]:
        prior_d = self.bundle.prior(type_name).astype(np.float64)
        found_nd = np.tile(prior_d, (len(counts_n), 1))
        trace_p = pairs.weight * self._solids.trace[pairs.side]
        told = trace_p > 0
        pairs = _Pairs(pairs.owner[told], pairs.side[told], pairs.weight[told], pairs.sums[told])
        if len(pairs.owner):
            first = _starts(pairs.owner)
            owners = pairs.owner[first]
            ridge_n = _sums(trace_p[told], first) / counts_n[owners]
            ridge_n *= self.config.prior_edges
            right_nd = _sums(self._right(pairs), first)
            right_nd += ridge_n[:, None] * self._priors(prior_d, pairs, first)
            found_nd[owners] = self._quotient(pairs, first, ridge_n, right_nd)
        return self._clip(found_nd, type_name).astype(np.float32)

    def _priors(
        self, prior_d: NDArray[np.float64], pairs: "_Pairs", first: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Where an entity is expected from the kinds of its edges alone, [n, d] or [d]."""
        leaning = self.bundle.side_priors
        if leaning is None:
            return prior_d
        means_pd = leaning[pairs.side] * pairs.weight[:, None]
        return _sums(means_pd, first) / _sums(pairs.weight, first)[:, None]

    def _right(self, pairs: "_Pairs") -> NDArray[np.float64]:
        """`C t + w c` of each pair, one product per side."""
        right_pd = pairs.weight[:, None] * self._solids.shift[pairs.side]
        order = np.argsort(pairs.side, kind="stable")
        for rows in np.split(order, _starts(pairs.side[order])[1:]):
            right_pd[rows] += pairs.sums[rows] @ self._solids.cross[pairs.side[rows[0]]].T
        return right_pd

    def _quotient(
        self,
        pairs: "_Pairs",
        first: NDArray[np.int64],
        ridge_n: NDArray[np.float64],
        right_nd: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        if (pairs.side == pairs.side[0]).all():  # all systems share their eigenvectors
            values_d, basis_dd = self._spectrum(int(pairs.side[0]))
            scale_nd = pairs.weight[:, None] * values_d + ridge_n[:, None]
            return np.asarray(((right_nd @ basis_dd) / scale_nd) @ basis_dd.T)
        found_nd = np.empty_like(right_nd)
        ends = np.append(first, len(pairs.owner))
        for start in range(0, len(first), _CHUNK):
            rows = slice(start, min(start + _CHUNK, len(first)))
            own = slice(ends[rows.start], ends[rows.stop])
            left = self._left(pairs.side[own], pairs.weight[own], first[rows] - own.start)
            # The diagonals, as a view.
            left.reshape(len(left), -1)[:, :: self.bundle.dim + 1] += ridge_n[rows, None]
            found_nd[rows] = np.linalg.solve(left, right_nd[rows, :, None])[:, :, 0]
        return found_nd

    def _spectrum(self, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues and eigenvectors of a side's G, found once: one solve takes less."""
        if side not in self._spectra:
            self._spectra[side] = np.linalg.eigh(self._solids.gram[side])
        return self._spectra[side]

    def _left(
        self, side: NDArray[np.int64], weight: NDArray[np.float64], first: NDArray[np.int64]
    ) -> Float[np.ndarray, "n d d"]:
        """`sum w G` of each entity."""
        gram = self._solids.gram
        used, place = np.unique(side, return_inverse=True)
        if len(used) * len(first) <= _DENSE * len(side):
            weights_ns = np.zeros((len(first), len(used)))
            owner = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(side))))
            weights_ns[owner, place] = weight
            flat = weights_ns @ gram[used].reshape(len(used), -1)
        else:  # of so many sides most would be multiplied by 0
            flat = _sums(gram[side].reshape(len(side), -1) * weight[:, None], first)
        return flat.reshape(len(first), *gram.shape[1:])

    def _clip(self, x_nd: NDArray[np.float64], type_name: str) -> NDArray[np.float64]:
        longest = self._longest[type_name]
        if longest is None:
            return x_nd
        norm_n = np.linalg.norm(x_nd, axis=1, keepdims=True)
        bound = self.config.max_norm_ratio * longest
        return x_nd * np.minimum(1.0, bound / np.maximum(norm_n, 1e-12))

    @cached_property
    def _longest(self) -> dict[str, float | None]:
        """The longest vector of each type, its prior included; None where it has no rows.

        Found once: it reads every vector, and a server folds in one entity at a time.
        """
        types = self.bundle.types
        named = types.values() if isinstance(types, Mapping) else types
        found: dict[str, float | None] = {}
        for name, start, stop in named:
            lengths = np.linalg.norm(self.bundle.vectors[start:stop], axis=1)
            prior = float(np.linalg.norm(self.bundle.prior(name)))
            found[name] = max(float(lengths.max()), prior) if stop > start else None
        return found

    @cached_property
    def _spectra(self) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return {}

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
        trace = np.trace(gram, axis1=1, axis2=2) / self.bundle.dim
        return _Solids(gram, cross, pulled - np.einsum("rkd,rk->rd", heads, shift), trace)


class _Solids(NamedTuple):
    """What an edge of each side adds to a solve; a side + R is the entity as the tail."""

    #: G, [2R, d, d]
    gram: NDArray[np.float64]
    #: C, [2R, d, d]
    cross: NDArray[np.float64]
    #: c, [2R, d]
    shift: NDArray[np.float64]
    #: trace(G) / d, [2R]
    trace: NDArray[np.float64]


class _Pairs(NamedTuple):
    """What the edges of a new entity and a side add up to, p of them, in order of the owner."""

    owner: NDArray[np.int64]
    side: NDArray[np.int64]
    #: sum of w
    weight: NDArray[np.float64]
    #: sum of w t, [p, d]
    sums: NDArray[np.float64]


def _parts(counts_n: Int[np.ndarray, "n"], dim: int) -> Iterator[tuple[int, int, slice]]:
    """Ranges of entities, and where their edges lie; whoever has very many is one alone."""
    ends, most, start = np.append(0, np.cumsum(counts_n)), max(1, NUMBERS // dim), 0
    while start < len(counts_n):
        fits = int(np.searchsorted(ends, ends[start] + most, side="right")) - 1
        stop = min(max(fits, start + 1), start + most, len(counts_n))
        yield start, stop, slice(int(ends[start]), int(ends[stop]))
        start = stop


def _starts(sorted_: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    if not len(sorted_):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], sorted_[1:] != sorted_[:-1]]))


def _sums(values: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums over runs of rows, given where each begins."""
    if not len(first):
        return values[:0]
    if values.ndim == 1 or len(first) <= _FEW:
        return np.asarray(np.add.reduceat(values, first, axis=0))
    length = np.diff(np.append(first, len(values)))
    longest = int(length.max())
    if longest > _SHORT:
        return np.asarray(np.add.reduceat(values, first, axis=0))
    # The second rows of all runs, then the third ones: `reduceat` is slow at many runs of few rows.
    sums = values[first]
    for place in range(1, longest):
        runs = np.flatnonzero(length > place)
        sums[runs] += values[first[runs] + place]
    return sums


def _products(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return left.transpose(0, 2, 1) @ right


def foldin_as_of(
    bundle: Bundle | BundleArrays,
    foldin: FoldIn,
    relation: int,
    history: History,
    queries: Queries,
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
