"""Sampled neighborhoods: which edges a graph network reads for some entities.

Takes a graph, gives layers of local edges; numpy only, never sees a vector.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from kge.ranks import spread
from kge.triples import Graph

# Dimensions: v targets, u sources of a layer (targets first), e edges.


class Layer(NamedTuple):
    """Edges from sources to targets by local number; sources begin with the targets."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    #: side of each edge, 0 to 2R - 1
    side: NDArray[np.int64]
    targets: int


class Neighbors:
    """In-edges of every entity, those of reciprocal sides included."""

    def __init__(self, graph: Graph) -> None:
        number = len(graph.head)
        target = np.concatenate([graph.tail, graph.head])
        order = np.argsort(target, kind="stable")
        relations = len(graph.relations)
        self._source = np.concatenate([graph.head, graph.tail])[order]
        self._side = np.concatenate([graph.relation, graph.relation + relations])[order]
        self._edge = (order % number).astype(np.int64)
        self._start = np.searchsorted(target[order], np.arange(graph.entity_count + 1))

    def layers(
        self,
        targets: Int[np.ndarray, "v"],
        fanouts: Sequence[int],
        hidden: Bool[np.ndarray, "E"],
        random: np.random.Generator,
    ) -> tuple[Int[np.ndarray, "u"], list[Layer]]:
        """Sources of the outermost layer and the layers, outermost first.

        An entity with more than `fanout` in-edges is read through that many draws with
        replacement. `hidden` edges are not read: what is to be predicted must not be seen.
        """
        layers: list[Layer] = []
        rows = targets
        for fanout in reversed(fanouts):
            start, degree = self._start[rows], self._start[rows + 1] - self._start[rows]
            number = np.minimum(degree, fanout)
            target = np.repeat(np.arange(len(rows)), number)
            drawn = (random.random(len(target)) * degree[target]).astype(np.int64) + start[target]
            place = np.where(degree[target] > fanout, drawn, spread(start, number))
            seen = ~hidden[self._edge[place]]
            rows, layer = self._layer(rows, place[seen], target[seen])
            layers.append(layer)
        return rows, layers[::-1]

    def whole(self, first: int, last: int) -> tuple[Int[np.ndarray, "u"], Layer]:
        """All in-edges of the entities first .. last - 1."""
        rows = np.arange(first, last)
        start, number = self._start[rows], self._start[rows + 1] - self._start[rows]
        return self._layer(rows, spread(start, number), np.repeat(np.arange(len(rows)), number))

    def cut(self, count: int, edges: int) -> list[tuple[int, int]]:
        """Ranges of entities with about so many in-edges each."""
        bounds, first = [], 0
        while first < count:
            reach = np.searchsorted(self._start, self._start[first] + edges, side="right") - 1
            last = min(count, max(first + 1, int(reach)))
            bounds.append((first, last))
            first = last
        return bounds

    def _layer(
        self, rows: NDArray[np.int64], place: NDArray[np.int64], target: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Layer]:
        source = self._source[place]
        new = np.setdiff1d(source, rows)
        sources = np.concatenate([rows, new])
        order = np.argsort(sources, kind="stable")
        local = order[np.searchsorted(sources[order], source)]
        return sources, Layer(local, target, self._side[place], len(rows))
