"""Link prediction: filtered MRR and Hits@k over all entities, both sides, realistic ranks.

Takes any scorer and triples of dense rows, gives ranks and figures; never trains. Ranks are those
of PyKEEN's `RankBasedEvaluator`. Every (head, relation) that is asked for is scored once for all
its true tails, and never more scores are held than a budget of bytes allows: candidates come in
ranges, of which only the numbers of better and of equal ones stay.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.arrays import BundleArrays
from kge.bundle import Bundle
from kge.errors import BrokenScores, ShapeMismatch
from kge.facet import Facet
from kge.facet_scorer import FacetScorer
from kge.scorer import Scorer

# Dimensions: N entities, n triples, q questions of one side, g distinct heads among them, e known
# triples, b heads of one block, c candidates of one range.

#: Bytes of scores, and of what the scorer holds beside them, at any moment.
MEMORY = 256 << 20
_MOST_HEADS = 512
_FEWEST_HEADS = 16
#: Bytes of a candidate while one row is counted: sorted, or compared.
_COUNTED = 5
#: From so many true tails of a head on, its scores are sorted once instead of read for each.
_SORT_FROM = 24


class LinkPrediction(NamedTuple):
    """Figures over both sides, and the ranks they come from."""

    mrr: float
    #: k -> share of ranks <= k
    hits: dict[int, float]
    #: [n] rank of the true head among all heads, and of the true tail among all tails
    head_rank: NDArray[np.float64]
    tail_rank: NDArray[np.float64]


def scorer_of(embedding: Bundle | Facet | BundleArrays) -> Scorer:
    """The scorer of a trained embedding."""
    return FacetScorer(embedding, scale=embedding.scale)


def link_prediction(
    model: Scorer | Bundle | Facet | BundleArrays,
    triples: Int[np.ndarray, "n 3"],
    known: Sequence[Int[np.ndarray, "_ 3"]],
    *,
    ks: Sequence[int] = (1, 3, 10),
    memory: int = MEMORY,
) -> LinkPrediction:
    """Rank both ends of (head, relation, tail) rows among all entities.

    `known` are the triples to filter by (training, validation, test); the ranked ones are always
    among them. A relation from R on was never trained: nothing speaks for any candidate, so all of
    them are equal. `memory` bounds scores and what the scorer holds per candidate of a range, in
    bytes; ranks, known triples and a few numbers per entity come on top. Raises `ShapeMismatch`
    without triples or for a row that is no entity, `BrokenScores` where a model scores NaN.
    """
    scorer = model if not isinstance(model, Bundle | Facet | BundleArrays) else scorer_of(model)
    if not len(triples):
        raise ShapeMismatch("triples should hold at least one row, received none")
    rows = triples.astype(np.int64)
    every = np.concatenate([*(part.astype(np.int64) for part in known), rows])
    ends = every[:, [0, 2]]
    if ends.min() < 0 or ends.max() >= scorer.entity_count or every[:, 1].min() < 0:
        raise ShapeMismatch(
            f"heads and tails should be rows 0 to {scorer.entity_count - 1}, "
            f"received {ends.min()} to {ends.max()}"
        )
    tail_rank = tail_ranks(scorer, rows, every, memory=memory)
    head_rank = tail_ranks(
        scorer, rows[:, ::-1], every[:, ::-1], shift=scorer.relation_count, memory=memory
    )
    return LinkPrediction(
        *figures(np.concatenate([head_rank, tail_rank]), ks), head_rank, tail_rank
    )


def figures(
    ranks: Float[np.ndarray, "_"], ks: Sequence[int] = (1, 3, 10)
) -> tuple[float, dict[int, float]]:
    """MRR, and the share of ranks <= k for each k."""
    return float((1.0 / ranks).mean()), {k: float((ranks <= k).mean()) for k in ks}


class _Known(NamedTuple):
    """Known tails of one direction, sorted by relation and head; each once."""

    head: Int[np.ndarray, "e"]
    relation: Int[np.ndarray, "e"]
    tail: Int[np.ndarray, "e"]

    def of(self, relation: int) -> "_Known":
        begin, end = np.searchsorted(self.relation, [relation, relation + 1])
        return _Known(*(column[begin:end] for column in self))


class _Asked(NamedTuple):
    """The questions of one side, sorted by head."""

    heads: Int[np.ndarray, "g"]
    #: questions starts[i] .. starts[i + 1] - 1 are of head i
    starts: Int[np.ndarray, "g1"]
    tail: Int[np.ndarray, "q"]
    #: known tails of each head: known[begin[i] : end[i]], ascending
    known: Int[np.ndarray, "e"]
    begin: Int[np.ndarray, "g"]
    end: Int[np.ndarray, "g"]


def of_one_relation(
    head: Int[np.ndarray, "n"], tail: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n 3"]:
    """Triples for `tail_ranks` where there is one relation alone: its column is 0."""
    return np.stack([head, np.zeros_like(head), tail], axis=1)


def tail_ranks(
    scorer: Scorer,
    rows: Int[np.ndarray, "n 3"],
    every: Int[np.ndarray, "e 3"],
    *,
    shift: int = 0,
    memory: int = MEMORY,
) -> Float[np.ndarray, "n"]:
    """Rank of the last column given the first two; side = relation + `shift`.

    `every`: the triples to filter by, the ranked ones among them. Raises `BrokenScores`.
    """
    known = _sorted(every)
    ranks = np.empty(len(rows))
    for relation in np.unique(rows[:, 1]).tolist():
        place = np.flatnonzero(rows[:, 1] == relation)
        place = place[np.argsort(rows[place, 0], kind="stable")]
        heads, starts = np.unique(rows[place, 0], return_index=True)
        mine = known.of(relation)
        asked = _Asked(
            heads,
            np.append(starts, len(place)),
            rows[place, 2],
            mine.tail,
            np.searchsorted(mine.head, heads, side="left"),
            np.searchsorted(mine.head, heads, side="right"),
        )
        if relation < scorer.relation_count:
            above, equal = _Counting(scorer, relation + shift, asked, memory).run()
        else:
            above = np.zeros(len(place), np.int64)
            rest = scorer.entity_count - (asked.end - asked.begin) + 1
            equal = np.repeat(rest, np.diff(asked.starts))
        ranks[place] = above + (equal + 1) / 2
    return ranks


def _sorted(every: Int[np.ndarray, "e 3"]) -> _Known:
    every = every[np.lexsort((every[:, 2], every[:, 0], every[:, 1]))]
    new = np.ones(len(every), dtype=bool)
    new[1:] = (every[1:] != every[:-1]).any(axis=1)
    return _Known(*every[new].T)


class _Counting:
    """How many candidates beat, and how many equal, each true tail of one side.

    Both are counted over all candidates, then over the known ones, and the difference stays. The
    true tail is itself known, so it is out of both and then counts as equal to itself.
    """

    def __init__(self, scorer: Scorer, side: int, asked: _Asked, memory: int) -> None:
        self.scorer, self.side, self.asked = scorer, side, asked
        count, own = scorer.entity_count, scorer.candidate_bytes + _COUNTED
        self.width = max(1, min(count, memory // (own + 4 * _FEWEST_HEADS)))
        self.heads = max(1, min(_MOST_HEADS, (memory - own * self.width) // (4 * self.width)))
        self.ranges = [
            (first, min(first + self.width, count)) for first in range(0, count, self.width)
        ]
        self.above = np.zeros(len(asked.tail), np.int64)
        self.equal = np.ones(len(asked.tail), np.int64)

    def run(self) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "q"]]:
        own = np.zeros(len(self.asked.tail))
        if len(self.ranges) > 1:
            # The own score has to be known before the first range is counted.
            for scores, block, first in self._scored(only_own=True):
                self._read_own(own, scores, block, first)
        for scores, block, first in self._scored(only_own=False):
            if np.isnan(scores.min()):
                raise BrokenScores
            if len(self.ranges) == 1:
                self._read_own(own, scores, block, first)
            self._count(own, scores, block, first)
        return self.above, self.equal

    def _scored(self, *, only_own: bool) -> Iterator[tuple[Float[np.ndarray, "b c"], range, int]]:
        """Scores of a block of heads against a range of candidates; that range's start.

        The same blocks both times, since a product of another shape may differ in its last bit.
        Ranges are outside, so that a scorer makes the points of a range once.
        """
        asked = self.asked
        for first, last in self.ranges:
            for start in range(0, len(asked.heads), self.heads):
                block = range(start, min(start + self.heads, len(asked.heads)))
                if only_own:
                    tail = asked.tail[asked.starts[block.start] : asked.starts[block.stop]]
                    if not ((tail >= first) & (tail < last)).any():
                        continue
                heads = asked.heads[block.start : block.stop]
                yield self.scorer.scores(self.side, heads, first, last), block, first

    def _read_own(
        self, own: NDArray[np.float64], scores: NDArray[np.floating], block: range, first: int
    ) -> None:
        starts = self.asked.starts
        questions = np.arange(starts[block.start], starts[block.stop])
        rows = np.repeat(np.arange(len(block)), np.diff(starts[block.start : block.stop + 1]))
        column = self.asked.tail[questions] - first
        inside = (column >= 0) & (column < scores.shape[1])
        own[questions[inside]] = scores[rows[inside], column[inside]]

    def _count(
        self, own: NDArray[np.float64], scores: NDArray[np.floating], block: range, first: int
    ) -> None:
        asked, above, equal = self.asked, self.above, self.equal
        last = first + scores.shape[1]
        values = own.astype(scores.dtype)
        for n, row in zip(block, scores, strict=True):
            known = asked.known[asked.begin[n] : asked.end[n]]
            low, high = np.searchsorted(known, [first, last])
            taken = row[known[low:high] - first]
            start, stop = asked.starts[n], asked.starts[n + 1]
            if stop - start >= _SORT_FROM:
                part = slice(start, stop)
                better, same = _sorted_counts(row, values[part])
                out_better, out_same = _sorted_counts(taken, values[part])
                above[part] += better - out_better
                equal[part] += same - out_same
                continue
            for question in range(start, stop):
                value = values[question]
                above[question] += np.count_nonzero(row > value) - np.count_nonzero(taken > value)
                equal[question] += np.count_nonzero(row == value) - np.count_nonzero(taken == value)


def _sorted_counts(
    row: Float[np.ndarray, "c"], values: Float[np.ndarray, "q"]
) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "q"]]:
    """How many of a row are above each value, and how many equal it."""
    ordered = np.sort(row)
    right = np.searchsorted(ordered, values, side="right")
    return len(row) - right, right - np.searchsorted(ordered, values, side="left")
