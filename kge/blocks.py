"""Which edges are learned when: blocks of one side, several of which make a batch.

Takes a graph and dials, gives batches; never sees a vector or a score. Everything random depends on
the seed and on how far the training is, so a training that goes on from a checkpoint sees what it
would have seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kge.config import TransRAConfig
from kge.negatives import Candidates, Pools
from kge.queries import group
from kge.ranks import spread
from kge.triples import Graph

# Dimensions: b queries and p positive pairs of one block, m candidates of a batch.

_ORDER, _ROUND, _DRAW = range(3)


class Block(NamedTuple):
    """Queries of one side with their true tails."""

    #: r = forward, r + R = reciprocal
    side: int
    #: int64 [b]
    head: NDArray[np.int64]
    #: int64 [p] which of the queries a pair belongs to
    row: NDArray[np.int64]
    #: int64 [p]
    tail: NDArray[np.int64]
    #: float32 [p]
    weight: NDArray[np.float32]
    #: int64 (query, tail) of everything that is no negative: these pairs, and further tails of a
    #: head that has too many for one block
    known: tuple[NDArray[np.int64], NDArray[np.int64]]
    #: bool [b] which heads are negatives of their own queries, drawn or not
    tempted: NDArray[np.bool_]
    #: which of the batch's candidates they meet
    pool: int


class Batch(NamedTuple):
    """What moves the parameters once."""

    blocks: Sequence[Block]
    #: by pool
    candidates: Mapping[int, Candidates]


class BlockSampler:
    """Batches, round after round: a round sees every edge as often as `shares` says.

    Each side walks through a shuffled order of its own units and shuffles again at the end, so
    every edge of a side is seen equally often.
    """

    def __init__(self, graph: Graph, config: TransRAConfig) -> None:
        self._config = config
        self._queries = group(graph, config.block)
        self.pools = Pools(graph, config)
        count = len(graph.relations)
        edges = np.array([self._queries.edges_of(side) for side in range(2 * count)])
        self._blocks = np.maximum(1, -(-edges // config.block))
        self._size = edges / self._blocks
        share = np.tile(shares(graph, config), 2) / 2
        behavior = np.tile(_behavior(graph), 2) & (share > 0)
        whole = behavior if behavior.any() else share > 0
        # Passes over a side's edges in a round: one, on average, over what people do.
        passes = share / np.maximum(edges, 1) * (edges[whole].sum() / share[whole].sum())
        self._visits = passes * self._blocks
        self._cuts: dict[int, list[NDArray[np.int64]]] = {}
        self._pass = [0] * (2 * count)
        self._cursor = [0] * (2 * count)
        self._round, self._batch = 0, 0
        per_round = self._visits @ self._size / config.batch
        self.total = max(1, round(config.epochs * max(1.0, per_round)))

    def state(self) -> dict[str, Any]:
        """Where the walk is, as plain numbers."""
        return {
            "round": self._round,
            "batch": self._batch,
            "pass": list(self._pass),
            "cursor": list(self._cursor),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was."""
        self._round, self._batch = state["round"], state["batch"]
        self._pass, self._cursor = list(state["pass"]), list(state["cursor"])
        self._cuts.clear()

    def __iter__(self) -> Iterator[Batch]:
        """Batches without end."""
        while True:
            batches = self._plan_round()
            while self._batch < len(batches):
                random = self._random(_DRAW, self._round, self._batch)
                blocks = [self._next_block(side) for side in batches[self._batch]]
                candidates = {
                    pool: self.pools.draw(pool, random)
                    for pool in dict.fromkeys(block.pool for block in blocks)
                }
                self._batch += 1
                yield Batch(blocks, candidates)
            self._round, self._batch = self._round + 1, 0

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._config.seed, 2, *purpose])

    def _plan_round(self) -> list[list[int]]:
        """The sides of every batch of this round."""
        random = self._random(_ROUND, self._round)
        number = np.floor(self._visits + random.random(len(self._visits))).astype(np.int64)
        sides = random.permutation(np.repeat(np.arange(len(number)), number))
        if not len(sides):  # every side is rarer than one visit in a round
            sides = np.array([int(np.argmax(self._visits))])
        # A block goes where its middle falls.
        middle = np.cumsum(self._size[sides]) - self._size[sides] / 2
        batch = (middle // self._config.batch).astype(np.int64)
        bounds = np.flatnonzero(np.diff(batch)) + 1
        return [part.tolist() for part in np.split(sides, bounds)]

    def _next_block(self, side: int) -> Block:
        cuts = self._cut(side)
        units = cuts[self._cursor[side]]
        self._cursor[side] += 1
        if self._cursor[side] == len(cuts):
            self._pass[side] += 1
            self._cursor[side] = 0
            del self._cuts[side]
        return self._block(side, units)

    def _cut(self, side: int) -> list[NDArray[np.int64]]:
        """A side's units in the order of this pass, cut into blocks of about equal size."""
        if side not in self._cuts:
            queries, random = self._queries, self._random(_ORDER, side, self._pass[side])
            first, last = queries.side_first[side : side + 2]
            order = first + random.permutation(last - first)
            done = np.cumsum(queries.last[order] - queries.first[order])
            middle = done - (queries.last[order] - queries.first[order]) / 2
            place = (middle / max(self._size[side], 1.0)).astype(np.int64)
            self._cuts[side] = np.split(order, np.flatnonzero(np.diff(place)) + 1)
        return self._cuts[side]

    def _block(self, side: int, units: NDArray[np.int64]) -> Block:
        queries = self._queries
        first, number = queries.first[units], queries.last[units] - queries.first[units]
        edge = spread(first, number)
        row = np.repeat(np.arange(len(units)), number)
        tail = queries.tail[edge].astype(np.int64)
        known = (row, tail)
        whole = queries.query_last[units] - queries.query_first[units]
        if (whole > number).any():
            every = spread(queries.query_first[units], whole)
            known = (
                np.repeat(np.arange(len(units)), whole),
                queries.tail[every].astype(np.int64),
            )
        head, pool = queries.head[units].astype(np.int64), self.pools.of_side[side]
        tempted = self.pools.tempted(pool, head)
        tempted[known[0][known[1] == head[known[0]]]] = False  # who is a tail of his own
        return Block(
            side=side,
            head=head,
            row=row,
            tail=tail,
            weight=queries.weight[edge],
            known=known,
            tempted=tempted,
            pool=pool,
        )


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
    if not config.behavior_share or not inside or not outside:
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
