"""Which entities stand against the true tails, and how often each is expected to be drawn.

Takes a graph and dials, gives candidates; never sees a vector or a score.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kge.config import TransRAConfig
from kge.triples import Graph

# Dimensions: m candidates.


class Candidates(NamedTuple):
    """Distinct entities that a whole batch shares as negatives."""

    #: int64 [m], ascending
    rows: NDArray[np.int64]
    #: float32 [m] log of the chance that each is among them; 0 where all are
    log_expected: NDArray[np.float32]
    #: whether they are every entity from the first row to the last
    contiguous: bool


class Pools:
    """The candidates of every side: its tail type, what it was seen with, or every entity.

    `early`: whether as many are drawn as early in a training, which whoever asks has to say.
    """

    def __init__(self, graph: Graph, config: TransRAConfig) -> None:
        self.early = False
        self._late: list[_Pool] = []
        self._early: list[_Pool] = []
        self.of_side: list[int] = []
        known: dict[object, int] = {}
        fewer = min(config.early_negatives, config.negatives)
        for side in range(2 * len(graph.relations)):
            key, rows = _members(graph, side, config)
            if key not in known:
                known[key] = len(self._late)
                self._late.append(_pool(rows, graph, config, config.negatives))
                if config.early_share:
                    self._early.append(_pool(rows, graph, config, fewer))
            self.of_side.append(known[key])

    def draw(self, pool: int, random: Generator) -> Candidates:
        """The candidates of one batch."""
        return self._now[pool].draw(random)

    def tempted(self, pool: int, heads: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which heads a query has to meet beside what is drawn: those that the pool has.

        An entity is the most tempting wrong answer to its own query, above all while matrices are
        near the identity they start from; chance alone would show it too rarely. Our design.
        """
        of = self._now[pool]
        if not of.drawn:
            return np.zeros(len(heads), dtype=bool)
        place = np.searchsorted(of.rows, heads).clip(max=len(of.rows) - 1)
        return of.rows[place] == heads

    def most(self) -> int:
        """The most candidates that a batch can have of one pool."""
        return max(pool.drawn or len(pool.rows) for pool in self._late)

    @property
    def _now(self) -> list["_Pool"]:
        return self._early if self.early else self._late


class _Pool(NamedTuple):
    rows: NDArray[np.int64]
    #: how many are drawn with replacement; 0: all are taken
    drawn: int
    cumulative: NDArray[np.float64]
    log_expected: NDArray[np.float32]

    def draw(self, random: Generator) -> Candidates:
        if not self.drawn:
            whole = len(self.rows) == self.rows[-1] - self.rows[0] + 1
            return Candidates(self.rows, self.log_expected, whole)
        # Sorted draws find their places faster, and come out in order.
        drawn = np.sort(random.random(self.drawn))
        place = np.searchsorted(self.cumulative, drawn, side="right")
        place = place[np.diff(place, prepend=-1) > 0]
        return Candidates(self.rows[place], self.log_expected[place], contiguous=False)


def _members(graph: Graph, side: int, config: TransRAConfig) -> tuple[object, NDArray[np.int64]]:
    """A name for the pool of a side, and its entities in ascending order."""
    if config.candidates == "any":
        return "any", np.arange(graph.entity_count)
    if config.candidates == "range":
        relation = side % len(graph.relations)
        ends = graph.tail if side < len(graph.relations) else graph.head
        seen = np.unique(ends[graph.relation == relation])
        if len(seen) > 1:
            return side, seen.astype(np.int64)
    kind = graph.tail_type(side)
    return kind.name, np.arange(kind.start, kind.stop)


def _pool(rows: NDArray[np.int64], graph: Graph, config: TransRAConfig, negatives: int) -> _Pool:
    """Small pools are taken whole; of others `negatives` are drawn, repetitions counting once.

    An entity of probability q is among the distinct ones with chance `1 - (1 - q)^m`, so that
    `sum_j e^s_j / chance_j` over them estimates the sum over all without bias (Horvitz and
    Thompson, 1952).
    """
    if len(rows) <= 2 * negatives:
        return _Pool(rows, 0, np.empty(0), np.zeros(len(rows), dtype=np.float32))
    mass = (graph.degree[rows] + 1.0) ** config.negative_power
    probability = mass / mass.sum()
    cumulative = np.cumsum(probability)
    cumulative[-1] = 1.0
    chance = -np.expm1(negatives * np.log1p(-probability))
    return _Pool(rows, negatives, cumulative, np.log(chance).astype(np.float32))
