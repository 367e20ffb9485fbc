"""Sampled neighborhoods: which edges a graph network reads for some entities.

Takes a `HeteroData`, gives layers of local edges; numpy only, never sees a vector.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64
from torch_geometric.data import HeteroData

from ranking.pretraining.ranges import ranges

# Dimensions: N entities, E edges of the graph, v targets, u sources of a layer (targets first),
# e edges of a layer.


class Layer(NamedTuple):
    """Edges from sources to targets by local number; sources begin with the targets."""

    source: Int64[np.ndarray, "e"]
    target: Int64[np.ndarray, "e"]
    #: relation r from head to tail is side r; from tail to head it is side r + R
    side: Int64[np.ndarray, "e"]
    #: what an edge counts
    factor: Float32[np.ndarray, "e"]
    targets: int


class Neighbors:
    """In-edges of every entity of all types, in both directions of every relation.

    An edge of weight w between u and v counts w / sqrt(d_u d_v), with d the sum of the weights at
    an end: He et al. 2020 (LightGCN, arXiv 2002.02126), equation 3, with weights.
    """

    def __init__(self, data: HeteroData) -> None:
        counts = [int(data[name].num_nodes) for name in data.node_types]
        start = dict(zip(data.node_types, np.cumsum([0, *counts]).tolist(), strict=False))
        self.count, self.relations = sum(counts), len(data.edge_types)
        columns: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        for code, (head_type, name, tail_type) in enumerate(data.edge_types):
            edges = data[head_type, name, tail_type]
            ends = edges.edge_index.numpy()
            columns.append(
                (
                    ends[0] + start[head_type],
                    ends[1] + start[tail_type],
                    edges.edge_weight.numpy().astype(np.float64),
                    np.full(ends.shape[1], code),
                )
            )
        head, tail, weight, code_of = (
            np.concatenate(parts) for parts in zip(*columns, strict=True)
        )
        size = np.bincount(head, weight, self.count) + np.bincount(tail, weight, self.count)
        factor = (weight / np.sqrt(size[head] * size[tail])).astype(np.float32)
        target = np.concatenate([tail, head])
        order = np.argsort(target, kind="stable")
        self._source = np.concatenate([head, tail])[order]
        self._side = np.concatenate([code_of, code_of + self.relations])[order]
        self._factor = np.concatenate([factor, factor])[order]
        self._edge = order % len(head)
        self._start = np.searchsorted(target[order], np.arange(self.count + 1))

    def layers(
        self,
        targets: Int64[np.ndarray, "v"],
        fanouts: Sequence[int],
        hidden: Bool[np.ndarray, "E"],
        random: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, "u"], list[Layer]]:
        """Sources of the outermost layer and the layers, outermost first.

        An entity with more than `fanout` in-edges is read through that many draws with
        replacement, which stand for all of them. `hidden` edges are not read: what is to be
        predicted must not be seen.
        """
        layers: list[Layer] = []
        rows = targets
        for fanout in reversed(fanouts):
            start, degree = self._start[rows], self._start[rows + 1] - self._start[rows]
            number = np.minimum(degree, fanout)
            target = np.repeat(np.arange(len(rows)), number)
            drawn = (random.random(len(target)) * degree[target]).astype(np.int64) + start[target]
            place = np.where(degree[target] > fanout, drawn, ranges(start, number))
            stands_for = (degree[target] / number[target]).astype(np.float32)
            seen = ~hidden[self._edge[place]]
            rows, layer = self._layer(rows, place[seen], target[seen])
            layers.append(layer._replace(factor=layer.factor * stands_for[seen]))
        return rows, layers[::-1]

    def whole(self, first: int, last: int) -> tuple[Int64[np.ndarray, "u"], Layer]:
        """All in-edges of the entities first .. last - 1."""
        rows = np.arange(first, last)
        start, number = self._start[rows], self._start[rows + 1] - self._start[rows]
        return self._layer(rows, ranges(start, number), np.repeat(np.arange(len(rows)), number))

    def cut(self, edges: int) -> Iterator[tuple[int, int]]:
        """Ranges of entities with about so many in-edges each."""
        first = 0
        while first < self.count:
            reach = np.searchsorted(self._start, self._start[first] + edges, side="right") - 1
            last = min(self.count, max(first + 1, int(reach)))
            yield first, last
            first = last

    def _layer(
        self,
        rows: Int64[np.ndarray, "v"],
        place: Int64[np.ndarray, "e"],
        target: Int64[np.ndarray, "e"],
    ) -> tuple[Int64[np.ndarray, "u"], Layer]:
        source = self._source[place]
        sources = np.concatenate([rows, np.setdiff1d(source, rows)])
        order = np.argsort(sources, kind="stable")
        local = order[np.searchsorted(sources[order], source)]
        layer = Layer(local, target, self._side[place], self._factor[place], len(rows))
        return sources, layer
