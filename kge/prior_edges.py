"""How much an entity's prior weighs where it is folded in: chosen on held-out outcomes.

Takes what was trained and a snapshot, gives a number; never reads a later span than valid.

A query is a first outcome of the span valid whose tail the graph holds, asked as a server would be:
a head that the graph holds has the vector that fold-in gives to its training edges, any other one
that of its outcomes strictly before. All entities of the tail's type are candidates but those of
the head's other outcomes up to the end of valid. The value of the best filtered MRR is taken,
where it is ahead of the default by more than two standard errors of the paired difference: one of
eight is often ahead by one, and people's vectors would move for nothing. Our design.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from graphsvc.snapshot import Snapshot
from kge.arrays import BundleArrays
from kge.bundle import acting
from kge.config import FoldInConfig, TransRAConfig
from kge.dials import Dials
from kge.evaluate import of_one_relation, tail_ranks
from kge.foldin import FoldIn, History, Queries, foldin_as_of
from kge.policy import is_of_facts
from kge.ranks import distance_scores, spread
from kge.settle import edges_of
from kge.train import Trained
from kge.triples import Graph
from kge.validation import MEMORY, Outcomes, outcomes_of

#: What is tried (edges), and on how many queries at most.
VALUES = (0.03, 0.125, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MOST = 1000
_DEFAULT = FoldInConfig().prior_edges

# Dimensions: q queries, e outcomes that are known, b heads, c candidates.


class Choice(NamedTuple):
    """The value that was taken, and the filtered MRR of each that was tried."""

    value: float
    found: dict[float, float]

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        told = ", ".join(f"{value:g} {mrr:.4f}" for value, mrr in self.found.items())
        ahead = max(self.found, key=self.found.__getitem__) == self.value
        why = "the best" if ahead else "the default, than which none has a clearly better"
        return f"{why} filtered MRR of held-out outcomes: {told}"


def choose_prior_edges(
    trained: Trained, snapshot: Snapshot, values: Sequence[float] = VALUES, most: int = MOST
) -> Choice | None:
    """The value that ranks best; None where fold-in has no say, or nobody can be asked.

    `most`: so many queries are asked, the same each time.
    """
    graph, info = trained.graph, snapshot.interaction
    if not trained.config.settle or info.head not in acting(graph.relations):
        return None
    asked = _Asked.of(snapshot, graph, most)
    if asked is None:
        return None
    as_learned = replace(trained, config=replace(trained.config, settle=False)).arrays()
    reciprocal = {}
    for value in dict.fromkeys([_DEFAULT, *values]):
        heads = asked.heads(as_learned, graph, FoldIn(as_learned, FoldInConfig(prior_edges=value)))
        scorer = _Outcome(as_learned, asked, heads)
        ranks = tail_ranks(scorer, asked.queries, asked.known, memory=MEMORY)
        reciprocal[value] = 1.0 / ranks
    found = {value: float(reciprocal[value].mean()) for value in sorted(reciprocal)}
    best = max(found, key=found.__getitem__)
    lead = reciprocal[best] - reciprocal[_DEFAULT]
    error = float(lead.std()) / len(lead) ** 0.5
    return Choice(best if lead.mean() > 2 * error else _DEFAULT, found)


def dials_of(group: Graph, dials: Dials, whole: TransRAConfig) -> Dials:
    """With what a facet trains, once all relations have.

    What was chosen there holds for all who act; of facts a rule is followed (`kge/policy.py`).
    """
    return dials if is_of_facts(group) else replace(dials, prior_edges=whole.prior_edges)


class _Asked(NamedTuple):
    """Queries as rows of a graph; tails are counted from the first of their type."""

    relation: int
    head_type: str
    #: the first row of the tail's type, and the one behind its last
    start: int
    stop: int
    outcomes: Outcomes
    #: int64 [q] which outcome each query is
    place: NDArray[np.int64]

    @classmethod
    def of(cls, snapshot: Snapshot, graph: Graph, most: int) -> "_Asked | None":
        info = snapshot.interaction
        names = [relation.name for relation in graph.relations]
        kind = next((t for t in graph.types if t.name == info.tail), None)
        if info.outcome not in names or kind is None:
            return None
        told = outcomes_of(snapshot, graph)
        held = (told.tail >= kind.start) & (told.tail < kind.stop)
        place = np.flatnonzero(told.valid & held)
        if not len(place):
            return None
        place = np.sort(np.random.default_rng(0).permutation(place)[:most])
        return cls(names.index(info.outcome), info.head, kind.start, kind.stop, told, place)

    @property
    def queries(self) -> Int[np.ndarray, "q 3"]:
        """Each query is a head of its own, since it has a time of its own."""
        return of_one_relation(
            np.arange(len(self.place)), self.outcomes.tail[self.place] - self.start
        )

    @property
    def known(self) -> Int[np.ndarray, "e 3"]:
        """Of each query all outcomes of its head; those are sorted by head."""
        told, key = self.outcomes, self.outcomes.key[self.place]
        first = np.searchsorted(told.key, key, side="left")
        number = np.searchsorted(told.key, key, side="right") - first
        tail = told.tail[spread(first, number)]
        query = np.repeat(np.arange(len(key)), number)
        held = (tail >= self.start) & (tail < self.stop)
        return of_one_relation(query[held], tail[held] - self.start)

    def heads(self, arrays: BundleArrays, graph: Graph, foldin: FoldIn) -> Float[np.ndarray, "q d"]:
        """The vectors of all heads."""
        told, row = self.outcomes, self.outcomes.head[self.place]
        made = np.empty((len(row), arrays.dim), np.float32)
        rows, which = np.unique(row[row >= 0], return_inverse=True)
        made[row >= 0] = foldin.solve(self.head_type, len(rows), edges_of(graph, rows))[which]
        new = self.place[row < 0]
        # Their own past alone: it becomes a vector for each outcome.
        past = np.isin(told.key, told.key[new])
        made[row < 0], _ = foldin_as_of(
            arrays,
            foldin,
            self.relation,
            History(told.key[past], told.tail[past].astype(np.int32), told.time[past]),
            Queries(told.key[new], told.time[new]),
        )
        return made


class _Outcome:
    """The scores of one relation's tails, as `kge.scorer.Scorer` wants them."""

    relation_count = 1

    def __init__(self, arrays: BundleArrays, asked: _Asked, heads: NDArray[np.float32]) -> None:
        r, tails = asked.relation, slice(asked.start, asked.stop)
        own = arrays.tail_projections
        matrix = (arrays.projections if own is None else own)[r]
        self._query = heads @ arrays.projections[r].T + arrays.translations[r]
        self._points, self._bias = arrays.vectors[tails] @ matrix.T, arrays.bias[tails]
        self._scale = arrays.scale
        self.entity_count, self.candidate_bytes = len(self._points), 4 * (len(matrix) + 1)

    def scores(
        self,
        side: int,  # noqa: ARG002  (the outcome alone is asked for)
        heads: Int[np.ndarray, "b"],
        first: int,
        last: int,
    ) -> Float[np.ndarray, "b c"]:
        points, bias = self._points[first:last], self._bias[first:last]
        return distance_scores(self._query[heads], points, bias, self._scale)
