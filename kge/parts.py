"""One part of an index: the vectors of one type in one facet, and the search over them.

Takes vectors of the bundle, gives places and exact distances; never decides what a filter means. A
plan depends on the set of rows that may be found and on nothing else, so that equal filters give
equal answers however they were worded; distances are those of the bundle's own vectors in any plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from graphsvc.snapshot import TypeRange
from kge.kinds import KindName
from kge.searchers import DEPTHS, comes_short, effort_for, flat, found_by, top

# Dimensions: q queries, n entities of the type, d vector, k found.

#: How rows were found: by comparing all that may be, or through the index.
PlanName = Literal["exact", "approximate"]

#: So many more are compared than asked for: sums of another order may swap those that are equal.
_SPARE = 4
_BLOCK = 1 << 16
#: An exact part is sifted where a larger share passes.
_SIFTED_FROM = 0.1


class Found(NamedTuple):
    """Cosine distances (0 to 2) and bundle rows, nearest first; infinite and -1 for none.

    exact: for which queries all that may be found was compared. recalls: for each query, the share
    of the k really nearest that such a search found when the index was built; 1 where it is exact.
    """

    distances: Float[np.ndarray, "q k"]
    rows: Int[np.ndarray, "q k"]
    exact: Bool[np.ndarray, "q"]
    recalls: Float[np.ndarray, "q"]

    @property
    def plan(self) -> PlanName:
        """What holds for all of the queries."""
        return "exact" if bool(self.exact.all()) else "approximate"

    @property
    def recall(self) -> float:
        """The least of the queries' recalls; 1 for no query."""
        return float(self.recalls.min(initial=1.0))


class Approach(NamedTuple):
    """A search through the index: how hard it is, and the recall to expect of it."""

    effort: int
    recall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What the manifest says of a part."""

    facet: str
    type: str
    kind: KindName
    effort: int
    reason: str
    rows: int
    bytes_per_vector: float
    #: (share of the rows that a filter lets pass, recall at each of `DEPTHS`), widest first; of the
    #: filters that were measured the worst one counts
    recall: tuple[tuple[float, ...], ...]
    #: (kind, recall@10 that it reached) of other kinds that were built
    tried: tuple[tuple[str, float], ...]

    def plan(self, share: float, k: int, *, least: float) -> Approach | None:
        """A search for k that is as hard as a measured one; None where an exact one is due.

        For a k between two depths that were measured it is as hard as for the deeper one, and the
        lesser recall of the two is told.
        """
        narrower = [row for row in self.recall if row[0] <= share]
        wider = [row for row in self.recall if row[0] > share]
        # Between two widths that were measured the worse one counts; below the last one, nothing.
        if not narrower:
            return None
        both = [narrower[0], *wider[-1:]]
        if min(row[1] for row in both) < least:
            return None
        above = next((n for n, depth in enumerate(DEPTHS) if k <= depth), len(DEPTHS) - 1)
        below = above if above == 0 or k >= DEPTHS[above] else above - 1
        effort = effort_for(self.kind, self.effort, max(k, DEPTHS[above]), share)
        return Approach(effort, min(row[1 + n] for row in both for n in (below, above)))


@dataclass(frozen=True)
class Part:
    """A part of an index, opened. What FAISS holds is read or made at the first search."""

    recipe: Recipe
    kind: TypeRange
    #: [N, d] vectors of the facet, those of all types
    vectors: NDArray[np.float32]
    #: [n] rows of the type that FAISS holds; None: all of them
    listed: NDArray[np.bool_] | None
    #: places within the type that the facet knows, and that were out of answers at the build: they
    #: are compared one by one where a search may find them again
    left_out: NDArray[np.int64]
    #: places within the type that are nobody's any more: no search finds them
    erased: NDArray[np.int64]
    file: Path | None
    filter_rows: int
    least_recall: float

    def search(
        self,
        queries: Float[np.ndarray, "q d"],
        k: int,
        allowed: Bool[np.ndarray, "n"] | None = None,
        *,
        spare: int = 0,
    ) -> Found:
        """The k nearest that are allowed, by the plan that their number asks for.

        And the `spare` next ones, of which neither plan nor recall says anything. Where the index
        comes short, since what is allowed lies elsewhere, all of it is compared. To allow all is to
        say nothing.
        """
        allowed = self._living(allowed)
        may = None if allowed is None else allowed[self._places] if self._gaps else allowed
        back = self.left_out[:0] if allowed is None else self.left_out[allowed[self.left_out]]
        count = len(self._places) if may is None else int(np.count_nonzero(may))
        may = None if count == len(self._places) else may
        plan, most = None, k + spare
        enough = may is None or count > self.filter_rows
        exactly = self.recipe.kind == "exact"
        if self._searcher is not None and not exactly and enough:
            share = count / len(self._places)
            plan = self.recipe.plan(share, k, least=self.least_recall)
        units = directions(queries)
        exact = np.ones(len(units), np.bool_)
        wide = most + _SPARE
        if plan is not None:
            kind, effort = self.recipe.kind, plan.effort
            found = found_by(kind, self._searcher, units, wide, effort=effort, allowed=may)
            exact = comes_short(found, most, may)
            found = self._named(found)
            found[exact] = -1
            if exact.any():
                compared = self._compare(units[exact], wide, self._among(may))
                found[exact, : compared.shape[1]] = compared
        elif exactly and may is None:
            found = self._named(found_by("exact", self._searcher, units, wide, effort=0))
        elif exactly and may is not None and count > _SIFTED_FROM * len(self._places):
            found = self._sifted(units, wide, may, count)
        else:
            found = self._compare(units, wide, self._among(may))
        if len(back):
            found = np.concatenate([found, self._compare(units, wide, back)], axis=1)
        distances, rows = self._measured(units, found, most)
        recalls = np.where(exact, 1.0, 1.0 if plan is None else plan.recall)
        return Found(distances, rows, exact, recalls)

    def places_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """What FAISS counts of some bundle rows, as far as it holds them, in rising order."""
        return np.flatnonzero(np.isin(self._places + self.kind.start, rows))

    def _living(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """What may be found, without those who were erased."""
        if not len(self.erased):
            return allowed
        if allowed is None:
            living = np.ones(self.kind.stop - self.kind.start, np.bool_)
            living[self.left_out] = False
        else:
            living = allowed.copy()
        living[self.erased] = False
        return living

    def _sifted(
        self, units: NDArray[np.float32], k: int, may: NDArray[np.bool_], count: int
    ) -> NDArray[np.int64]:
        """The k nearest that may be found: those of all that are nearest, as far as they may be.

        Vectors that lie side by side are compared several times as quickly as some of them are
        gathered, so more of all are found than should be needed: if what passes lay at random, k of
        it less four deviations of their number. Where it is less, since what may be found lies
        elsewhere, it is compared by itself.
        """
        among = min(ceil((k + 4.0 * k**0.5 + 16.0) * len(may) / count), len(may))
        nearest = found_by("exact", self._searcher, units, among, effort=0)
        passing = may[nearest]
        order = np.argsort(~passing, axis=1, kind="stable")[:, :k]
        found = self._named(np.take_along_axis(nearest, order, axis=1))
        short = np.count_nonzero(passing, axis=1) < min(k, count)
        found[~np.take_along_axis(passing, order, axis=1)] = -1
        if short.any():
            compared = self._compare(units[short], k, self._among(may))
            found[short, : compared.shape[1]] = compared
        return found

    @cached_property
    def _gaps(self) -> bool:
        return self.listed is not None and not bool(self.listed.all())

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """What FAISS counts from 0, as places within the type."""
        count = self.kind.stop - self.kind.start
        return np.flatnonzero(self.listed) if self.listed is not None else np.arange(count)

    @cached_property
    def _own(self) -> NDArray[np.float32]:
        return self.vectors[self.kind.start : self.kind.stop]

    @cached_property
    def _shrink(self) -> NDArray[np.float32]:
        """1 / length of every vector of the type."""
        return _shrink(self._own)[:, 0]

    @cached_property
    def _searcher(self) -> Any:
        if self.recipe.kind == "scan":
            return None
        if self.recipe.kind == "exact":
            return flat(directions(self._own[self._places] if self._gaps else self._own))
        return faiss.read_index(str(self.file))

    def _named(self, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """What FAISS counts, as places within the type; -1 stays."""
        if not self._gaps:
            return found
        if not len(self._places):
            return found[:, :0]
        return np.where(found >= 0, self._places[np.maximum(found, 0)], -1)

    def _among(self, may: NDArray[np.bool_] | None) -> NDArray[np.int64] | None:
        """Places of what may be found; None: the whole type, as it lies."""
        if may is not None:
            return self._places[may]
        return self._places if self._gaps else None

    def _compare(
        self, units: NDArray[np.float32], k: int, among: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Places of the k nearest by comparing all of some places; None: of the whole type."""
        best = np.empty((len(units), 0), np.float32)
        found = np.empty((len(units), 0), np.int64)
        for some, places in self._blocks(among):
            cosines = units @ self._own[places].T
            cosines *= self._shrink[places]
            best, found = top(
                np.concatenate([best, cosines], axis=1),
                np.concatenate([found, np.broadcast_to(some, cosines.shape)], axis=1),
                k,
            )
        return found

    def _blocks(
        self, among: NDArray[np.int64] | None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64] | slice]]:
        """Places, and how their vectors are read: as a slice where all of them are."""
        places = self._places if among is None else among
        for start in range(0, len(places), _BLOCK):
            part = places[start : start + _BLOCK]
            yield part, slice(start, start + len(part)) if among is None else part

    def _measured(
        self, units: NDArray[np.float32], found: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distances by the bundle's own vectors, and bundle rows."""
        there = found >= 0
        places = np.where(there, found, 0)
        cosines = np.einsum("qkd,qd->qk", self._own[places], units) * self._shrink[places]
        cosines = np.where(there, cosines, -np.inf)
        cosines, rows = top(cosines, np.where(there, places + self.kind.start, -1), k)
        # A type that holds fewer than k leaves the rest empty.
        missing = k - rows.shape[1]
        if missing > 0:
            cosines = np.pad(cosines, ((0, 0), (0, missing)), constant_values=-np.inf)
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        return (1.0 - cosines).astype(np.float32), rows


def directions(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Each vector at length 1; a zero vector stays zero, at distance 1 from everything."""
    return np.ascontiguousarray(vectors * _shrink(vectors), dtype=np.float32)


def _shrink(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (1.0 / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
