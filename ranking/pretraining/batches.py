"""Batches of pairs, and the tails that stand against them.

Takes a graph, gives rows; never sees a vector or a score.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.ranges import ranges
from ranking.pretraining.sketch import CountMin

# Dimensions: B pairs of a batch, C candidates, P pairs of the graph.


class Candidates(NamedTuple):
    """Tails that every pair of a batch is compared with."""

    #: rows of the graph
    rows: Int64[Tensor, "C"]
    #: log of how often each is expected among them
    log_expected: Float32[Tensor, "C"]
    #: What a head is known to go with is no negative of it, the pair's own tail least of all.
    taken: Bool[Tensor, "B C"]


class Batch(NamedTuple):
    """Pairs that are learned from together."""

    #: places in the graph's columns
    edges: Int64[np.ndarray, "B"]
    heads: Int64[Tensor, "B"]
    relations: Int64[Tensor, "B"]
    tails: Int64[Tensor, "B"]
    #: What each counts; 1 together.
    weights: Float32[Tensor, "B"]
    #: Those of the batch itself, then those drawn at random.
    candidates: tuple[Candidates, ...]


class Positives:
    """Which tails each head is known to go with."""

    def __init__(self, graph: FacetGraph) -> None:
        count = graph.entity_count
        known = np.unique(graph.head[graph.pairs] * count + graph.tail[graph.pairs])
        self._tail = known % count
        self._start = np.searchsorted(known // count, np.arange(count + 1))

    def among(
        self, heads: Int64[np.ndarray, "B"], candidates: Int64[np.ndarray, "C"]
    ) -> Bool[np.ndarray, "B C"]:
        """Which candidates each head is known to go with; a sort, not B times C look-ups."""
        order = np.argsort(candidates, kind="stable")
        ranked = candidates[order]
        start = self._start[heads]
        number = self._start[heads + 1] - start
        tail = self._tail[ranges(start, number)]
        first, last = (np.searchsorted(ranked, tail, side) for side in ("left", "right"))
        row = np.repeat(np.repeat(np.arange(len(heads)), number), last - first)
        found = np.zeros((len(heads), len(candidates)), dtype=bool)
        found[row, order[ranges(first, last - first)]] = True
        return found


class Batches:
    """All pairs, once per pass, in a new order each time; the last batch of a pass is smaller."""

    def __init__(self, graph: FacetGraph, config: PretrainingConfig) -> None:
        self._graph, self._config = graph, config
        self._positives = Positives(graph)
        self._random = np.random.default_rng([config.seed, 1])
        self._sketch = CountMin(config.sketch_depth, config.sketch_width, self._random)
        self._kind = graph.type_range(graph.tail_type)
        per_pass = math.ceil(len(graph.pairs) / config.batch)
        self.total = max(1, round(config.epochs * per_pass))

    def __iter__(self) -> Iterator[Batch]:
        left = self.total
        while True:
            order = self._random.permutation(self._graph.pairs)
            for first in range(0, len(order), self._config.batch):
                if left == 0:
                    return
                left -= 1
                yield self._batch(order[first : first + self._config.batch])

    def _batch(self, edges: Int64[np.ndarray, "B"]) -> Batch:
        graph = self._graph
        head, tail, weight = graph.head[edges], graph.tail[edges], graph.weight[edges]
        candidates = (self._of_batch(head, tail), self._at_random(head))
        return Batch(
            edges=edges,
            heads=torch.from_numpy(head),
            relations=torch.from_numpy(graph.relation[edges]),
            tails=torch.from_numpy(tail),
            weights=torch.from_numpy((weight / weight.sum()).astype(np.float32)),
            candidates=candidates,
        )

    def _of_batch(self, head: Int64[np.ndarray, "B"], tail: Int64[np.ndarray, "B"]) -> Candidates:
        """The other pairs' tails: each comes as often as it is popular, which the sketch counts."""
        self._sketch.see(tail)
        share = self._sketch.counts(tail) / self._sketch.total
        expected = np.log(max(len(tail) - 1, 1) * share)
        return Candidates(
            rows=torch.from_numpy(tail),
            log_expected=torch.from_numpy(expected.astype(np.float32)),
            taken=torch.from_numpy(self._positives.among(head, tail)),
        )

    def _at_random(self, head: Int64[np.ndarray, "B"]) -> Candidates:
        """Tails drawn alike, with replacement; where they are few, all of them."""
        kind, wanted = self._kind, self._config.random_negatives
        size = kind.stop - kind.start
        if size <= wanted:
            rows, expected = np.arange(kind.start, kind.stop), 0.0
        else:
            rows = self._random.integers(kind.start, kind.stop, wanted)
            expected = math.log(wanted / size)
        return Candidates(
            rows=torch.from_numpy(rows),
            log_expected=torch.full((len(rows),), expected),
            taken=torch.from_numpy(self._positives.among(head, rows)),
        )
