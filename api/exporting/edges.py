"""The edges of a snapshot, relation by relation, with rows counted within their type.

Takes a snapshot, gives columns; never writes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, Snapshot, TypeRange


class RelationEdges(NamedTuple):
    """The edges of one relation, sorted by head and tail; row 0 is the first of its type."""

    relation: RelationInfo
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    weight: NDArray[np.float32]
    time: NDArray[np.int64]


def edges_by_relation(snapshot: Snapshot) -> Iterator[RelationEdges]:
    """Every relation in the snapshot's order, those without an edge too."""
    triples = snapshot.triples()
    codes = np.arange(len(snapshot.relations) + 1)
    bounds = np.searchsorted(triples.relation, codes)
    for code, relation in enumerate(snapshot.relations):
        part = slice(bounds[code], bounds[code + 1])
        yield RelationEdges(
            relation,
            triples.head[part].astype(np.int64) - snapshot.types[relation.head].start,
            triples.tail[part].astype(np.int64) - snapshot.types[relation.tail].start,
            triples.weight[part],
            triples.time[part],
        )


def retired_of(snapshot: Snapshot, kind: TypeRange) -> NDArray[np.bool_]:
    """Whether each entity of a type was out of answers."""
    mask = np.zeros(snapshot.entity_count, dtype=bool)
    mask[snapshot.retired()] = True
    return mask[kind.start : kind.stop]
