"""How well a training finds held-out edges on its way: filtered MRR of a sample of the span valid.

Takes a snapshot and a training of its graph, gives a number now and then; never changes a training
or what it draws, and never reads a later span.

A query is a first outcome of the span valid whose head and tail the graph holds. All entities of
the tail's type are candidates, those with which the head has another outcome up to the end of valid
are left out, and the tail's realistic rank is taken. Heads have the vectors that are being learned:
nobody is folded in or settled, so a look costs little, and its figure is not that of the report.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from graphsvc.snapshot import Snapshot, Span
from kge.evaluate import tail_ranks
from kge.members import alone
from kge.model import Parts, parts
from kge.ranks import distance_scores
from kge.relations import Relations
from kge.train import Training
from kge.triples import Graph

# Dimensions: q queries, e outcomes that are known, b heads, c candidates.

#: Queries at most, and looks per training.
MOST = 500
LOOKS = 8
#: Bytes of scores and points at a time: what is looked at has to fit beside a training.
MEMORY = 16 << 20


@dataclass(frozen=True)
class Sample:
    """Held-out outcomes as rows of a graph; tails are counted from the first of their type."""

    #: position of the outcome among the graph's relations
    relation: int
    #: the first row of the tail's type, and its number of rows
    start: int
    count: int
    #: [q] and [e]; the second column is 0 throughout, for `kge.evaluate.tail_ranks`
    queries: Int[np.ndarray, "q 3"]
    known: Int[np.ndarray, "e 3"]

    def mrr(self, training: Training) -> float:
        """Filtered MRR by what is learned up to now."""
        ranks = tail_ranks(_Learned(self, training), self.queries, self.known, memory=MEMORY)
        return float((1.0 / ranks).mean())


def sample_of(snapshot: Snapshot, graph: Graph, most: int = MOST) -> Sample | None:
    """The same at most `most` queries each time; None where the graph can answer none."""
    info = snapshot.interaction
    names = [relation.name for relation in graph.relations]
    kind = next((t for t in graph.types if t.name == info.tail), None)
    if info.outcome not in names or kind is None:
        return None
    told = outcomes_of(snapshot, graph)
    head, tail, valid = told.head, told.tail, told.valid
    inside = (head >= 0) & (tail >= kind.start) & (tail < kind.stop)
    triples = np.stack([head, np.zeros_like(head), tail - kind.start], axis=1)[inside]
    queries = triples[valid[inside]]
    if not len(queries):
        return None
    drawn = np.sort(np.random.default_rng(0).permutation(len(queries))[:most])
    queries = queries[drawn]
    known = triples[np.isin(triples[:, 0], queries[:, 0])]
    return Sample(names.index(info.outcome), kind.start, kind.stop - kind.start, queries, known)


def due(step: int, total: int) -> bool:
    """Whether to look after this step of so many: `LOOKS` times, the last one at the end."""
    return step * LOOKS // total > (step - 1) * LOOKS // total


class Outcomes(NamedTuple):
    """First outcomes of each pair up to the end of valid, by head; rows: -1 outside the graph."""

    #: int64 [e] the head among the snapshot's entities, ascending
    key: NDArray[np.int64]
    #: int64 [e] rows of the graph
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    #: int64 [e]
    time: NDArray[np.int64]
    #: bool [e] whether it is in the span valid
    valid: NDArray[np.bool_]


def outcomes_of(snapshot: Snapshot, graph: Graph) -> Outcomes:
    """What people did up to the end of valid, each pair once."""
    acts = snapshot.interactions()
    kept = (acts.event == 1) & (acts.span <= Span.VALID)
    head, tail = acts.head[kept].astype(np.int64), acts.tail[kept].astype(np.int64)
    time, span = acts.time[kept], acts.span[kept]
    order = np.lexsort((time, tail, head))
    pair = np.stack([head, tail])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (pair[:, 1:] != pair[:, :-1]).any(axis=0)
    row = np.full(snapshot.entity_count, -1, np.int64)
    row[graph.snapshot_rows] = np.arange(graph.entity_count)
    own = order[first]
    return Outcomes(head[own], row[head[own]], row[tail[own]], time[own], span[own] == Span.VALID)


class _Learned:
    """What was learned up to now scores the candidates, as `kge.scorer.Scorer` wants it."""

    def __init__(self, sample: Sample, training: Training) -> None:
        trained = training.trained()
        self._members, config = [], alone(trained.config)
        for model in trained.models:
            relations = Relations(parts(model), config, len(training.graph.relations))
            with torch.no_grad():
                maps = relations.open(relations.side(sample.relation)[0]).maps
            self._members.append((parts(model), maps))
        self._start, self.entity_count = sample.start, sample.count
        self.relation_count = 1
        self.candidate_bytes = 4 * (2 * config.dim + 2 * config.relation_dim + 1)

    def scores(
        self,
        side: int,  # noqa: ARG002  (the outcome alone is asked for)
        heads: Int[np.ndarray, "b"],
        first: int,
        last: int,
    ) -> Float[np.ndarray, "b c"]:
        rows = torch.arange(self._start + first, self._start + last)
        total = np.zeros((len(heads), len(rows)), np.float32)
        for part, maps in self._members:
            with torch.no_grad():
                query = _through(part, maps.head, torch.from_numpy(heads)) + maps.shift
                points = _through(part, maps.tail, rows)
                own = torch.zeros(len(rows)) if part.bias is None else part.bias.values[rows]
            total += distance_scores(query.numpy(), points.numpy(), own.numpy(), 1.0)
        return total


def _through(
    part: Parts, matrix: torch.Tensor | None, rows: torch.Tensor
) -> Float[torch.Tensor, "n k"]:
    composed = part.vectors.rows(rows, part.vectors.own[rows])
    return composed if matrix is None else composed @ matrix.T
