"""Vectors from edges of the graph: the bridge between what graphsvc reads and what kge solves.

Takes the edges of some entities of one type, gives a vector for each; never reads them itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from api.overlay import Folded
from graphsvc.folding import FoldEdge
from kge.bundle import ALL, Bundle
from kge.foldin import FoldIn, FoldInEdges


@dataclass(frozen=True)
class Solver:
    """Solves for vectors in one bundle's space, and in those of its facets."""

    bundle: Bundle
    foldin: FoldIn

    def solve(
        self,
        type_: str,
        found: Sequence[Sequence[FoldEdge]],
        *,
        each_counts: bool,
        degrees: Sequence[Mapping[str, int]] | None = None,
    ) -> list[Folded]:
        """One vector per list of edges, all in one solve.

        Edges of relations or to entities that the bundle does not hold are left out; an entity
        without others has its type's prior and 0 edges. `each_counts`: every event is an edge of
        weight 1, as rankers see heads, and no facet is asked for; else an edge has its decayed
        weight. `degrees`: how many edges each entity has of every relation, where that was counted.
        """
        others = [self._rows(edges) for edges in found]
        whole = self._within(ALL, type_, found, others, each_counts=each_counts)
        if each_counts:
            return whole
        facets = {
            name: self._within(name, type_, found, others, each_counts=False)
            for name in self._foldins
            if name != ALL
        }
        together = [
            replace(one, facets={name: column[n] for name, column in facets.items()})
            for n, one in enumerate(whole)
        ]
        if degrees is None:
            return together
        return [self._counted(one, numbers) for one, numbers in zip(together, degrees, strict=True)]

    def _counted(self, one: Folded, numbers: Mapping[str, int], facet: str = ALL) -> Folded:
        """A solution that knows how many edges there are, also in each facet by itself."""
        return replace(
            one,
            degree=sum(numbers.get(r.name, 0) for r in self.bundle.facet(facet).relations),
            facets={name: self._counted(it, numbers, name) for name, it in one.facets.items()},
        )

    @cached_property
    def _foldins(self) -> Mapping[str, FoldIn]:
        bundle = self.bundle
        return {
            name: self.foldin if name == ALL else FoldIn(bundle.alone(name), bundle.fold_in(name))
            for name in bundle.facets
        }

    def _within(
        self,
        facet: str,
        type_: str,
        found: Sequence[Sequence[FoldEdge]],
        others: Sequence[np.ndarray],
        *,
        each_counts: bool,
    ) -> list[Folded]:
        """The vectors that one facet's relations give."""
        relations = self.bundle.facet(facet).relations
        codes = {relation.name: code for code, relation in enumerate(relations)}
        flat = [
            (owner, edge, int(other))
            for owner, edges in enumerate(found)
            for edge, other in zip(edges, others[owner], strict=True)
            if other >= 0 and edge.relation in codes
        ]
        owner = np.array([n for n, *_ in flat], dtype=np.int32)
        times = np.array([e.times if each_counts else 1 for _, e, _ in flat], dtype=np.int64)
        weights = [1.0 if each_counts else edge.weight for _, edge, _ in flat]
        usable = np.repeat(np.arange(len(flat)), times)
        columns = FoldInEdges(
            owner=owner[usable],
            relation=np.array([codes[e.relation] for _, e, _ in flat], dtype=np.int16)[usable],
            other=np.array([other for *_, other in flat], dtype=np.int32)[usable],
            inverse=np.array([edge.inverse for _, edge, _ in flat], dtype=bool)[usable],
            weight=np.array(weights, dtype=np.float32)[usable],
        )
        vectors = self._foldins[facet].solve(type_, len(found), columns)
        counts = np.bincount(owner, minlength=len(found))
        return [Folded(vector, int(count)) for vector, count in zip(vectors, counts, strict=True)]

    def _rows(self, edges: Sequence[FoldEdge]) -> np.ndarray:
        others = np.full(len(edges), -1, dtype=np.int32)
        for type_ in {edge.other.type for edge in edges}:
            places = [n for n, edge in enumerate(edges) if edge.other.type == type_]
            others[places] = self.bundle.rows(type_, [edges[n].other.id for n in places])
        return others
