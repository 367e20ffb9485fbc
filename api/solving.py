"""Vectors from edges of the graph: the bridge between what graphsvc reads and what kge solves.

Takes the edges of some entities of one type, gives a vector for each; never reads them itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.overlay import Folded
from graphsvc.folding import FoldEdge
from kge.bundle import Bundle
from kge.foldin import FoldIn, FoldInEdges


@dataclass(frozen=True, slots=True)
class Solver:
    """Solves for vectors in one bundle's space."""

    bundle: Bundle
    foldin: FoldIn

    def solve(
        self, type_: str, found: Sequence[Sequence[FoldEdge]], *, each_counts: bool
    ) -> list[Folded]:
        """One vector per list of edges, all in one solve.

        Edges of relations or to entities that the bundle does not hold are left out; an entity
        without others has its type's prior and 0 edges. `each_counts`: every event is an edge of
        weight 1; else an edge has its decayed weight.
        """
        codes = {relation.name: code for code, relation in enumerate(self.bundle.relations)}
        flat = [
            (owner, edge)
            for owner, edges in enumerate(found)
            for edge in edges
            if edge.relation in codes
        ]
        others = self._rows([edge for _, edge in flat])
        owner = np.array([n for n, _ in flat], dtype=np.int32)
        times = np.array([edge.count if each_counts else 1 for _, edge in flat], dtype=np.int64)
        weights = [1.0 if each_counts else edge.weight for _, edge in flat]
        known = others >= 0
        usable = np.repeat(np.flatnonzero(known), times[known])
        columns = FoldInEdges(
            owner=owner[usable],
            relation=np.array([codes[edge.relation] for _, edge in flat], dtype=np.int16)[usable],
            other=others[usable],
            inverse=np.array([edge.inverse for _, edge in flat], dtype=bool)[usable],
            weight=np.array(weights, dtype=np.float32)[usable],
        )
        vectors = self.foldin.solve(type_, len(found), columns)
        counts = np.bincount(owner[known], minlength=len(found))
        return [Folded(vector, int(count)) for vector, count in zip(vectors, counts, strict=True)]

    def _rows(self, edges: Sequence[FoldEdge]) -> np.ndarray:
        others = np.full(len(edges), -1, dtype=np.int32)
        for type_ in {edge.other.type for edge in edges}:
            places = [n for n, edge in enumerate(edges) if edge.other.type == type_]
            others[places] = self.bundle.rows(type_, [edges[n].other.id for n in places])
        return others
