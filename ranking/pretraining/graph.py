"""The edges that facets learn from: those of the span GRAPH, and no other.

Takes a snapshot or columns, gives a `FacetGraph`; never trains. Rows are those of the snapshot, so
a type is a contiguous range of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, Snapshot, TypeRange
from ranking.errors import FacetUnavailable


@dataclass(frozen=True, kw_only=True)
class FacetGraph:
    """Triples as columns, sorted by relation. N entities, E triples, R relations."""

    #: int64 [E]
    head: NDArray[np.int64]
    relation: NDArray[np.int64]
    tail: NDArray[np.int64]
    #: [E]
    weight: NDArray[np.float32]
    types: Sequence[TypeRange]
    relations: Sequence[RelationInfo]
    #: object [N], the application's ids
    ids: NDArray[np.object_]
    #: Who is shown something, and what: the two sides that get tables.
    head_type: str
    tail_type: str

    @property
    def entity_count(self) -> int:
        return len(self.ids)

    def type_range(self, name: str) -> TypeRange:
        """The rows of a type. Raises `FacetUnavailable`."""
        for kind in self.types:
            if kind.name == name:
                return kind
        known = ", ".join(kind.name for kind in self.types)
        raise FacetUnavailable(f"type should be one of {known}, received {name!r}")

    @cached_property
    def degree(self) -> Int64[np.ndarray, "N"]:
        """Triples that touch each entity; a self-loop counts twice."""
        ends = np.concatenate([self.head, self.tail])
        return np.bincount(ends, minlength=self.entity_count)

    @property
    def joining(self) -> list[int]:
        """Relations by which heads meet tails: those of what people do."""
        return [
            code
            for code, relation in enumerate(self.relations)
            if (relation.head, relation.tail) == (self.head_type, self.tail_type)
            and relation.source != "structure"
        ]

    @cached_property
    def pairs(self) -> Int64[np.ndarray, "P"]:
        """Places of the triples from heads to tails: the positives of a facet.

        Raises `FacetUnavailable` where there is none.
        """
        found = np.flatnonzero(np.isin(self.relation, self.joining))
        if not len(found):
            raise FacetUnavailable(
                f"the graph should hold an edge from {self.head_type} to {self.tail_type} to learn "
                f"from, received {len(self.head)} edges without any"
            )
        return found

    def paired(self) -> Bool[np.ndarray, "N"]:
        """Which entities are an end of some pair."""
        found = np.zeros(self.entity_count, dtype=bool)
        found[self.head[self.pairs]] = True
        found[self.tail[self.pairs]] = True
        return found


def graph_of_snapshot(snapshot: Snapshot) -> FacetGraph:
    """All edges of a snapshot, which are of its span GRAPH, over all of its entities."""
    triples, info = snapshot.triples(), snapshot.interaction
    return FacetGraph(
        head=triples.head.astype(np.int64),
        relation=triples.relation.astype(np.int64),
        tail=triples.tail.astype(np.int64),
        weight=triples.weight.astype(np.float32),
        types=sorted(snapshot.types.values(), key=lambda kind: kind.start),
        relations=snapshot.relations,
        ids=snapshot.ids,
        head_type=info.head,
        tail_type=info.tail,
    )
