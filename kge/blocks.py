"""Which edges meet which negatives: blocks of one relation in one direction.

Takes a graph and dials, gives blocks drawn with a seed; never sees a vector or a score.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import TypeRange
from kge.config import TransRAConfig
from kge.ranks import spread
from kge.triples import Graph


class Block(NamedTuple):
    """b edges of one side and the m candidates that all of them share."""

    #: r = forward, r + R = reciprocal
    side: int
    #: int64 [b]
    head: NDArray[np.int64]
    #: int64 [b]
    tail: NDArray[np.int64]
    #: float32 [b]
    weight: NDArray[np.float32]
    #: int64 [m] rows of the tail type
    candidates: NDArray[np.int64]
    #: float32 [m] log of how often each candidate is expected among the m
    log_expected: NDArray[np.float32]

    def collisions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(position in tail, position in candidates) of every pair that is the same entity."""
        order = np.argsort(self.candidates, kind="stable")
        ordered = self.candidates[order]
        first = np.searchsorted(ordered, self.tail, side="left")
        number = np.searchsorted(ordered, self.tail, side="right") - first
        return np.repeat(np.arange(len(self.tail)), number), order[spread(first, number)]


class _Pool(NamedTuple):
    """The candidates of one entity type and how they are drawn."""

    kind: TypeRange
    #: None where the type is scored whole
    cumulative: NDArray[np.float64] | None
    log_expected: NDArray[np.float32]


class BlockSampler:
    """Draws blocks: a side in proportion to its share of positives, then its next edges.

    Each side walks through a shuffled order of its own edges and shuffles again at the end, so
    every edge of a side is seen equally often.
    """

    def __init__(self, graph: Graph, config: TransRAConfig) -> None:
        self._graph = graph
        self._config = config
        self._random = np.random.default_rng([config.seed, 2])
        count = len(graph.relations)
        order = np.argsort(graph.relation, kind="stable")
        bounds = np.searchsorted(graph.relation[order], np.arange(count + 1))
        self._edges = [order[bounds[r] : bounds[r + 1]] for r in range(count)]
        self._cursor = [0] * (2 * count)
        self._order = [self._random.permutation(self._edges[s % count]) for s in range(2 * count)]
        self._pools = {t.name: _pool(graph, t, config) for t in graph.types}
        # Mean block: the last one of a side's edges is smaller.
        counts = [max(1, len(edges)) for edges in self._edges]
        sizes = np.array([n / math.ceil(n / config.block) for n in counts])
        share = shares(graph, config)
        steps = np.tile(share / sizes, 2)
        self._step_share = steps / steps.sum()
        per_block = float((self._step_share * np.tile(sizes, 2)).sum())
        behavior = _behavior(graph)
        seen = share[behavior].sum() if share[behavior].any() else 1.0
        wanted = sum(len(edges) for edges, own in zip(self._edges, behavior, strict=True) if own)
        positives = config.epochs * 2 * (wanted or len(graph.head)) / seen
        self.total = max(1, round(positives / per_block))

    def __iter__(self) -> Iterator[Block]:
        sides = self._random.choice(len(self._step_share), size=self.total, p=self._step_share)
        for side in sides.tolist():
            yield self._block(side)

    def _block(self, side: int) -> Block:
        graph, count = self._graph, len(self._graph.relations)
        edges = self._next_edges(side)
        forward = side < count
        pool = self._pools[graph.tail_type(side).name]
        if pool.cumulative is None:
            candidates = np.arange(pool.kind.start, pool.kind.stop)
        else:
            drawn = self._random.random(self._config.negatives)
            candidates = np.searchsorted(pool.cumulative, drawn, side="right") + pool.kind.start
        return Block(
            side=side,
            head=(graph.head if forward else graph.tail)[edges],
            tail=(graph.tail if forward else graph.head)[edges],
            weight=graph.weight[edges],
            candidates=candidates,
            log_expected=pool.log_expected[candidates - pool.kind.start],
        )

    def _next_edges(self, side: int) -> NDArray[np.int64]:
        start, order = self._cursor[side], self._order[side]
        if start >= len(order):
            order = self._order[side] = self._random.permutation(order)
            start = 0
        self._cursor[side] = start + self._config.block
        return order[start : start + self._config.block]


def shares(graph: Graph, config: TransRAConfig) -> NDArray[np.float64]:
    """[R] share of the positives that each relation gets; sums to 1.

    Within a kind `p_r ~ |E_r|^tempering`; what people do (onsite and offsite) together get
    `behavior_share`, since a graph of a few clicks beside an encyclopedia would otherwise learn
    the encyclopedia. Our design.
    """
    edges = np.bincount(graph.relation, minlength=len(graph.relations)).astype(np.float64)
    tempered = np.where(edges > 0, edges, 0.0) ** config.tempering * (edges > 0)
    behavior = _behavior(graph)
    inside, outside = tempered[behavior].sum(), tempered[~behavior].sum()
    if config.behavior_share is None or not inside or not outside:
        return tempered / tempered.sum()
    part = np.where(behavior, config.behavior_share / inside, (1 - config.behavior_share) / outside)
    return tempered * part


def popularity(graph: Graph, config: TransRAConfig) -> NDArray[np.float64]:
    """[N] how often each entity is the tail of a positive, relative to the mean of its type."""
    edges = np.maximum(np.bincount(graph.relation, minlength=len(graph.relations)), 1)
    per_edge = (shares(graph, config) / edges)[graph.relation]
    size = graph.entity_count
    often = np.bincount(graph.tail, weights=per_edge, minlength=size)
    often += np.bincount(graph.head, weights=per_edge, minlength=size)
    total = np.bincount(graph.type_code, weights=often, minlength=len(graph.types))
    count = np.bincount(graph.type_code, minlength=len(graph.types))
    return often / np.maximum(total / np.maximum(count, 1), 1e-12)[graph.type_code]


def _behavior(graph: Graph) -> NDArray[np.bool_]:
    """[R] which relations are what people do."""
    return np.array([r.source != "structure" for r in graph.relations])


def _pool(graph: Graph, kind: TypeRange, config: TransRAConfig) -> _Pool:
    size = kind.stop - kind.start
    if size <= 2 * config.negatives:
        return _Pool(kind, None, np.zeros(size, dtype=np.float32))
    mass = (graph.degree[kind.start : kind.stop] + 1.0) ** config.negative_power
    probability = mass / mass.sum()
    cumulative = np.cumsum(probability)
    cumulative[-1] = 1.0
    return _Pool(kind, cumulative, np.log(config.negatives * probability).astype(np.float32))
