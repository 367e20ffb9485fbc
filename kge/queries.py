"""Edges grouped into queries: all tails that one head has under one side.

Takes a graph, gives columns; never draws anything. A query is scored against its candidates once,
however many tails it has, so a graph of popular heads costs its queries and not its edges.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kge.triples import Graph

# Dimensions: E triples, S sides, u units, e edges of all sides.


@dataclass(frozen=True)
class Queries:
    """Units of work, sorted by side: a head and some of its tails under that side.

    A head with more tails than a block holds makes several units; each knows the range of the whole
    query too, since no other tail of the query may serve as its negative.
    """

    #: int32 [u]
    head: NDArray[np.int32]
    #: int64 [u] the unit's own edges, `first` up to `last`
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    #: int64 [u] all edges of its query
    query_first: NDArray[np.int64]
    query_last: NDArray[np.int64]
    #: int64 [S + 1] where each side's units begin
    side_first: NDArray[np.int64]
    #: int32 [e], float32 [e]
    tail: NDArray[np.int32]
    weight: NDArray[np.float32]

    def edges_of(self, side: int) -> int:
        """How many edges a side has."""
        units = slice(self.side_first[side], self.side_first[side + 1])
        return int((self.last[units] - self.first[units]).sum())


def group(graph: Graph, most: int) -> Queries:
    """Both directions of every triple as units of at most `most` edges."""
    count, size = len(graph.relations), graph.entity_count
    code = np.concatenate(
        [
            graph.relation * size + graph.head,
            (graph.relation + count) * size + graph.tail,
        ]
    )
    order = np.argsort(code, kind="stable")
    code = code[order]
    tail = np.concatenate([graph.tail, graph.head])[order].astype(np.int32)
    weight = np.concatenate([graph.weight, graph.weight])[order]
    begins = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    ends = np.append(begins[1:], len(code))
    pieces = -(-(ends - begins) // most)
    query = np.repeat(np.arange(len(begins)), pieces)
    piece = np.arange(len(query)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = begins[query] + piece * most
    side, head = np.divmod(code[begins[query]], size)
    return Queries(
        head=head.astype(np.int32),
        first=first,
        last=np.minimum(first + most, ends[query]),
        query_first=begins[query],
        query_last=ends[query],
        side_first=np.searchsorted(side, np.arange(2 * count + 1)),
        tail=tail,
        weight=weight,
    )
