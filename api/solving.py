"""Vectors from edges of the graph: the bridge between what graphsvc reads and what kge solves.

Takes the edges, or the outcomes, of some entities of one type, gives a vector for each; never reads
them itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np

from api.overlay import Folded
from graphsvc.folding import NO_OUTCOMES, FoldEdge, Outcomes
from kge.bundle import ALL, Bundle
from kge.foldin import NUMBERS, FoldIn, FoldInEdges


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
        degrees: Sequence[Mapping[str, int]] | None = None,
    ) -> list[Folded]:
        """One vector per list of edges, all in one solve, and in that of each facet.

        Edges of relations or to entities that the bundle does not hold are left out; an entity
        without others has its type's prior and 0 edges. `degrees`: how many edges each entity has
        of every relation, where that was counted.
        """
        others = [self._rows(edges) for edges in found]
        whole = self._within(ALL, type_, found, others)
        facets = {
            name: self._within(name, type_, found, others) for name in self._foldins if name != ALL
        }
        together = [
            replace(one, facets={name: column[n] for name, column in facets.items()})
            for n, one in enumerate(whole)
        ]
        if degrees is None:
            return together
        return [self._counted(one, numbers) for one, numbers in zip(together, degrees, strict=True)]

    def solve_outcomes(self, type_: str, relation: str, found: Sequence[Outcomes]) -> list[Folded]:
        """One vector per head from its outcomes, each event as an edge of weight 1, all at once.

        So rankers saw heads in training (`foldin_as_of`); no facet is asked for. What the bundle
        does not hold is left out. All heads at once, as far as their edges' vectors are few.
        """
        bundle, count = self.bundle, len(found)
        code = self._codes.get(relation)
        if code is None:
            found, code = [NO_OUTCOMES] * count, 0
        ids = list(chain.from_iterable(one.ids for one in found))
        if count > 1 and len(ids) * bundle.dim > NUMBERS:
            halves = (found[: count // 2], found[count // 2 :])
            return [one for half in halves for one in self.solve_outcomes(type_, relation, half)]
        others = bundle.rows(bundle.relations[code].tail, ids)
        known = others >= 0
        times = np.fromiter(chain.from_iterable(one.times for one in found), float, len(ids))[known]
        owner = np.repeat(np.arange(count), [len(one.ids) for one in found])[known]
        edges = np.bincount(owner, minlength=count)
        sums = np.zeros((count, 1, bundle.dim))
        some = edges > 0
        if some.any():
            first = (np.cumsum(edges) - edges)[some]
            led_to = bundle.vectors[others[known]] * times[:, None]
            sums[some, 0] = np.add.reduceat(led_to, first, axis=0)
        number = np.bincount(owner, times, minlength=count)
        told = (number[:, None], sums, number)
        vectors = self.foldin.solve_sums(type_, np.array([code]), told)
        return [Folded(vector, int(n)) for vector, n in zip(vectors, edges, strict=True)]

    @cached_property
    def _codes(self) -> Mapping[str, int]:
        return {relation.name: code for code, relation in enumerate(self.bundle.relations)}

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
        columns = FoldInEdges(
            owner=owner,
            relation=np.array([codes[edge.relation] for _, edge, _ in flat], dtype=np.int16),
            other=np.array([other for *_, other in flat], dtype=np.int32),
            inverse=np.array([edge.inverse for _, edge, _ in flat], dtype=bool),
            weight=np.array([edge.weight for _, edge, _ in flat], dtype=np.float32),
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
