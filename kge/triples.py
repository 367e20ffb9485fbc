"""The graph as training sees it: dense rows, and PyKEEN's triples factory made from them.

Takes a snapshot, gives a `Graph`; never trains and never writes. A dense row is an entity with at
least one triple; dense rows keep the snapshot's order, so a type stays a contiguous range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pykeen.triples import CoreTriplesFactory

from graphsvc.snapshot import RelationInfo, Snapshot, Triples, TypeRange
from kge.errors import TooFewTriples


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Triples over dense rows. N entities, E triples, R relations.

    A *side* is a relation in one direction: side r is forward, side r + R reciprocal (the roles of
    head and tail swapped). PyKEEN interleaves them: its relation 2r is side r, 2r + 1 is r + R.
    """

    head: NDArray[np.int64]
    relation: NDArray[np.int64]
    tail: NDArray[np.int64]
    weight: NDArray[np.float32]
    types: Sequence[TypeRange]
    relations: Sequence[RelationInfo]
    #: [N] the application's ids
    ids: NDArray[np.object_]
    #: [N] snapshot row of each dense row
    snapshot_rows: NDArray[np.int32]

    @property
    def entity_count(self) -> int:
        return len(self.ids)

    @cached_property
    def degree(self) -> NDArray[np.int32]:
        """[N] triples that touch each entity; a self-loop counts twice."""
        ends = np.concatenate([self.head, self.tail])
        return np.bincount(ends, minlength=self.entity_count).astype(np.int32)

    @cached_property
    def type_code(self) -> NDArray[np.int64]:
        """[N] position of each entity's type in `types`."""
        return np.repeat(np.arange(len(self.types)), [t.stop - t.start for t in self.types])

    def tail_type(self, side: int) -> TypeRange:
        """The type in which a side's tails lie."""
        relation = self.relations[side % len(self.relations)]
        name = relation.tail if side < len(self.relations) else relation.head
        return next(t for t in self.types if t.name == name)

    def head_type_code(self, side: int) -> int:
        """Position in `types` of the type in which a side's heads lie."""
        relation = self.relations[side % len(self.relations)]
        name = relation.head if side < len(self.relations) else relation.tail
        return [t.name for t in self.types].index(name)

    def factory(self, *, reciprocal: bool = True) -> CoreTriplesFactory:
        """The same triples for PyKEEN; by default with its inverse relations beside them."""
        mapped = np.stack([self.head, self.relation, self.tail], axis=1)
        return CoreTriplesFactory(
            mapped_triples=mapped,
            num_entities=self.entity_count,
            num_relations=len(self.relations),
            create_inverse_triples=reciprocal,
        )


def graph_of_snapshot(snapshot: Snapshot, *, without: str = "") -> Graph:
    """The training graph of a snapshot. Raises `TooFewTriples` where it holds no edge.

    `without`: a type whose relations keep their place and have no edge, so that nobody of it is in
    the graph.
    """
    triples = snapshot.triples()
    if without:
        kept = np.array([without not in (one.head, one.tail) for one in snapshot.relations])
        own = kept[triples.relation]
        triples = Triples(*(column[own] for column in triples))
        if not len(triples.head):
            raise TooFewTriples(
                f"the graph should hold edges that touch no {without}, received none: item_only "
                "wants relations between items"
            )
    if not len(triples.head):
        raise TooFewTriples
    present = np.zeros(snapshot.entity_count, dtype=bool)
    present[triples.head] = True
    present[triples.tail] = True
    rows = np.flatnonzero(present)
    before = np.concatenate([[0], np.cumsum(present)])
    return Graph(
        head=before[triples.head].astype(np.int64),
        relation=triples.relation.astype(np.int64),
        tail=before[triples.tail].astype(np.int64),
        weight=triples.weight,
        types=[
            TypeRange(t.name, int(before[t.start]), int(before[t.stop]))
            for t in sorted(snapshot.types.values(), key=lambda t: t.start)
        ],
        relations=snapshot.relations,
        ids=snapshot.ids[rows],
        snapshot_rows=rows.astype(np.int32),
    )


def graph_of_factory(factory: CoreTriplesFactory) -> Graph:
    """The training graph of any PyKEEN data set: one type `entity`, relations by number."""
    mapped = factory.mapped_triples.numpy()
    count = factory.num_entities
    name = "entity"
    return Graph(
        head=mapped[:, 0],
        relation=mapped[:, 1],
        tail=mapped[:, 2],
        weight=np.ones(len(mapped), dtype=np.float32),
        types=[TypeRange(name, 0, count)],
        relations=[
            RelationInfo(name=f"r{n}", head=name, tail=name, source="structure")
            for n in range(factory.real_num_relations)
        ],
        ids=np.array([str(n) for n in range(count)], dtype=object),
        snapshot_rows=np.arange(count, dtype=np.int32),
    )
