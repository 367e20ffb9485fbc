"""Held-out outcomes: does a bundle rank what people did later above what they did not do?

Takes a bundle and its snapshot, gives report rows; never trains, never imports torch.

Every outcome of a span (user -> film, say) whose pair was not seen before is one query: all
entities of the tail type are candidates, those with which the head has another known outcome are
taken out, and the tail's realistic rank is taken. As served: a head that the bundle does not hold
gets a fold-in vector from its outcomes strictly before the query's time, and a tail that it does
not hold, since it has no edge, keeps its place with its type's prior and the bias of its degree, 0.

    mrr = mean 1 / rank      hits@10 = share of ranks <= 10      recall@50 = share of ranks <= 50

Recall@50 is thus over held-out edges. Intervals are 95 % bootstrap intervals clustered by head;
those of a difference are paired. Scores, points, what is folded in and what is drawn keep to a
budget of bytes, however many candidates and queries there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from graphsvc.report import Row
from graphsvc.snapshot import Interactions, Snapshot, Span
from kge.bundle import Bundle
from kge.evaluate import MEMORY, of_one_relation, tail_ranks
from kge.foldin import FoldIn, History, Queries, foldin_as_of
from kge.ranks import buckets, distance_scores, spread

METRICS = ("mrr", "hits@10", "recall@50")
#: What every bundle is measured beside.
_RIVALS = ("click_count", "random")
#: Slices of a global split: name -> (fewest, most) known outcomes before the query's time.
HISTORY = {"0": (0, 0), "1-4": (1, 4), "5+": (5, np.iinfo(np.int32).max)}
RESAMPLES = 1000

# Dimensions: q queries, m candidates (all entities of the tail type), o outcomes, u heads, s states
# (a head, and where it is folded in, a head at a time), b states of one block, c candidates of one
# range.

#: Bytes of an outcome while it is filtered by, and of a number of a vector while it is folded in.
_FILTERED, _FOLDED = 112, 24


@dataclass(frozen=True, kw_only=True)
class _Task:
    """The queries of one span and all that is known about their heads."""

    #: [o] first outcome of every (head, tail) pair, sorted by head then time: snapshot rows
    head: NDArray[np.int64]
    #: counted from the first candidate
    tail: NDArray[np.int64]
    time: NDArray[np.int64]
    #: [q] positions of the queries in the three columns above
    query: NDArray[np.int64]
    #: [m] how often each candidate was chosen in the span that the graph saw
    count: NDArray[np.int64]

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """[q] position of the first outcome of each query's head."""
        return np.searchsorted(self.head, self.head[self.query], side="left")

    @cached_property
    def number(self) -> NDArray[np.int64]:
        """[q] outcomes of each query's head."""
        return np.searchsorted(self.head, self.head[self.query], side="right") - self.first

    @property
    def history(self) -> NDArray[np.int64]:
        """[q] outcomes of each query's head strictly before the query's time."""
        new = np.ones(len(self.head), dtype=bool)
        new[1:] = (self.head[1:] != self.head[:-1]) | (self.time[1:] != self.time[:-1])
        begin = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
        return begin[self.query] - self.first


def evaluate(
    bundle: Bundle,
    snapshot: Snapshot,
    *,
    seed: int,
    span: Span = Span.TEST,
    memory: int = MEMORY,
) -> list[Row]:
    """Rows of the models `transra`, `click_count`, `random` and of `transra - click_count`.

    `seed` draws the bootstrap samples. Under the protocol `global_time` the rows are repeated by
    history length. Choose dials with `span=Span.VALID`. No queries, no rows. `memory` bounds what
    grows with candidates times queries, in bytes; a few numbers per entity and outcome come on top.
    Raises `BrokenScores` where the bundle scores NaN.
    """
    task = _task(snapshot, span)
    if not len(task.query):
        return []
    slices = {}
    if snapshot.split["protocol"] == "global_time":
        history = task.history
        for label, (fewest, most) in HISTORY.items():
            slices[f"history={label}"] = (history >= fewest) & (history <= most)
    name = f"{snapshot.split['protocol']}/{span.name.lower()}"
    served = _Served(bundle, snapshot)
    ranks = {"transra": served.ranks(task, memory)} | _rivals(task)
    return _sliced(name, task, ranks, slices, _Draws(seed, memory))


def compare(
    bundles: Mapping[str, Bundle], snapshot: Snapshot, *, seed: int, span: Span = Span.TEST
) -> list[Row]:
    """`evaluate` of several bundles of one graph, by name, on the same queries.

    Differences are those from `click_count` and, behind the first bundle, from the first one. The
    rows are repeated by how many training edges the tail has (`degree=`).
    """
    task = _task(snapshot, span)
    if not len(task.query):
        return []
    ranks: dict[str, NDArray[np.float64]] = {}
    slices: dict[str, NDArray[np.bool_]] = {}
    for name, bundle in bundles.items():
        served = _Served(bundle, snapshot)
        slices = slices or dict(buckets(served.degree[task.tail[task.query]]))
        ranks[name] = served.ranks(task, MEMORY)
    name = f"{snapshot.split['protocol']}/{span.name.lower()}"
    return _sliced(name, task, ranks | _rivals(task), slices, _Draws(seed, MEMORY))


def _sliced(
    name: str,
    task: _Task,
    ranks: Mapping[str, NDArray[np.float64]],
    slices: Mapping[str, NDArray[np.bool_]],
    draws: "_Draws",
) -> list[Row]:
    """Rows over all queries, then over each slice that has one."""
    whole = {name: np.ones(len(task.query), dtype=bool)}
    rows = []
    for split, inside in (
        whole | {f"{name}/{label}": own for label, own in slices.items()}
    ).items():
        if inside.any():
            part = {model: values[inside] for model, values in ranks.items()}
            rows += _rows(part, task.head[task.query][inside], split, draws)
    return rows


def _task(snapshot: Snapshot, span: Span) -> _Task:
    acts = snapshot.interactions()
    kind = snapshot.types[snapshot.interaction.tail]
    acts = Interactions(*(column[acts.event == 1] for column in acts))
    tail = acts.tail.astype(np.int64) - kind.start
    count = np.bincount(tail[acts.span == Span.GRAPH], minlength=kind.stop - kind.start)
    order = np.lexsort((acts.time, acts.tail, acts.head))
    pair = np.stack([acts.head, acts.tail])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (pair[:, 1:] != pair[:, :-1]).any(axis=0)
    order = order[first]
    order = order[np.lexsort((acts.time[order], acts.head[order]))]
    return _Task(
        head=acts.head[order].astype(np.int64),
        tail=tail[order],
        time=acts.time[order],
        query=np.flatnonzero(acts.span[order] == span),
        count=count,
    )


class _Served:
    """What a server scores the candidates by: their rows in a bundle, and what stands for others.

    Points of one range of candidates are kept for the heads that come next.
    """

    def __init__(self, bundle: Bundle, snapshot: Snapshot) -> None:
        info = snapshot.interaction
        self._bundle, self._snapshot, self._info = bundle, snapshot, info
        self._foldin, self._relation = (
            FoldIn(bundle, bundle.fold_in()),
            bundle.relation_index(info.outcome),
        )
        #: int32 [m] rows of the bundle, -1 where it holds no such candidate
        self._tails = bundle.rows(info.tail, snapshot.ids[slice(*snapshot.types[info.tail][1:])])
        self._held: tuple[tuple[int, int], NDArray[np.float32], NDArray[np.float32]] | None = None
        matrix = bundle.tail_projections[self._relation]
        self._cold = (
            (bundle.prior(info.tail) @ matrix.T)[None],
            bundle.cold_bias(info.tail, np.zeros(1, np.int64)),
        )

    @property
    def degree(self) -> NDArray[np.int32]:
        """[m] training edges of each candidate."""
        return np.where(self._tails >= 0, self._bundle.degree[self._tails], np.int32(0))

    @property
    def entity_count(self) -> int:
        return len(self._tails)

    @property
    def candidate_bytes(self) -> int:
        """Vector, point, bias and what `distance_scores` makes of them, and who is unknown."""
        width, dim = self._bundle.projections.shape[1:]
        return 4 * (dim + width + 4) + 8

    def ranks(self, task: _Task, memory: int) -> Float[np.ndarray, "q"]:
        """Realistic filtered rank of every query. Raises `BrokenScores`."""
        head, time = task.head[task.query], task.time[task.query]
        heads, place = np.unique(head, return_inverse=True)
        known = self._bundle.rows(self._info.head, self._snapshot.ids[heads])[place]
        new = np.ones(len(head), dtype=bool)
        new[1:] = (head[1:] != head[:-1]) | ((known[1:] < 0) & (time[1:] != time[:-1]))
        state, starts = np.cumsum(new) - 1, np.flatnonzero(new)
        ranks, dim = np.empty(len(head)), self._bundle.dim
        each = _FILTERED + np.where(known[starts] < 0, _FOLDED * dim, 0)
        beside = memory // 4
        for begin, end in _cut(task.number[starts] * each + 3 * _FOLDED * dim, beside):
            own = starts[begin:end]
            part = slice(own[0], starts[end] if end < len(starts) else len(head))
            number = task.number[own]
            tails = task.tail[spread(task.first[own], number)]
            ranks[part] = tail_ranks(
                _Asking(self, self._heads(task, known, own)),
                of_one_relation(state[part] - begin, task.tail[task.query[part]]),
                of_one_relation(np.repeat(np.arange(end - begin), number), tails),
                memory=memory - beside,
            )
        return ranks

    def scores(
        self, heads: Float[np.ndarray, "b d"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        """Of every candidate of a range: higher is better; unknown ones are equal, to the bit."""
        if self._held is None or self._held[0] != (first, last):
            self._held = None
            rows, matrix = self._tails[first:last], self._bundle.tail_projections[self._relation]
            points = self._bundle.vectors[rows] @ matrix.T
            self._held = ((first, last), points, self._bundle.bias[rows])
        query_bk, scale = self._bundle.whole.project(self._relation, heads), self._bundle.scale
        scores_bc = distance_scores(query_bk, *self._held[1:], scale)
        cold = np.flatnonzero(self._tails[first:last] < 0)
        if len(cold):
            scores_bc[:, cold] = distance_scores(query_bk, *self._cold, scale)
        return scores_bc

    def _heads(
        self, task: _Task, known: Int[np.ndarray, "q"], own: Int[np.ndarray, "s"]
    ) -> Float[np.ndarray, "s d"]:
        """The vectors of states, each given by its first query."""
        vectors = self._bundle.vectors[known[own]]
        new = np.flatnonzero(known[own] < 0)
        if len(new):
            at = task.query[own[new]]
            low, high = (
                task.first[own[new[0]]],
                task.first[own[new[-1]]] + task.number[own[new[-1]]],
            )
            past = low + np.flatnonzero(np.isin(task.head[low:high], task.head[at]))
            history = History(task.head[past], self._tails[task.tail[past]], task.time[past])
            asked = Queries(task.head[at], task.time[at])
            vectors[new], _ = foldin_as_of(
                self._bundle, self._foldin, self._relation, history, asked
            )
        return vectors


@dataclass(frozen=True)
class _Asking:
    """Some states as heads, as `kge.scorer.Scorer` wants them; the outcome is the one relation."""

    served: _Served
    heads: NDArray[np.float32]
    relation_count: int = 1

    @property
    def entity_count(self) -> int:
        return self.served.entity_count

    @property
    def candidate_bytes(self) -> int:
        return self.served.candidate_bytes

    def scores(
        self,
        side: int,  # noqa: ARG002  (the outcome alone is asked for)
        heads: Int[np.ndarray, "b"],
        first: int,
        last: int,
    ) -> Float[np.ndarray, "b c"]:
        return self.served.scores(self.heads[heads], first, last)


def _cut(costs: Int[np.ndarray, "s"], most: int) -> Iterator[tuple[int, int]]:
    """Neighbors of about so much cost together, at least one at a time: begin, end."""
    part = np.cumsum(costs) // max(1, most)
    begins = np.flatnonzero(np.concatenate([[True], part[1:] != part[:-1]])).tolist()
    yield from zip(begins, [*begins[1:], len(costs)], strict=True)


def _rivals(task: _Task) -> dict[str, NDArray[np.float64]]:
    """Ranks by `click_count`; of `random`, the number of candidates."""
    return {"click_count": _count_ranks(task), "random": len(task.count) - task.number + 1.0}


def _count_ranks(task: _Task) -> Float[np.ndarray, "q"]:
    """Realistic filtered ranks by how often candidates were chosen, which no head changes."""
    levels, level = np.unique(task.count, return_inverse=True)
    size = np.bincount(level)
    above = len(level) - np.cumsum(size)
    # The outcomes of a head, sorted by level, lie side by side.
    new = np.concatenate([[False], task.head[1:] != task.head[:-1]])
    code = np.cumsum(new) * len(levels)
    asked, own = code[task.query], level[task.tail[task.query]]
    ordered = np.sort(code + level[task.tail])
    left = np.searchsorted(ordered, asked + own, side="left")
    right = np.searchsorted(ordered, asked + own, side="right")
    end = np.searchsorted(ordered, asked + len(levels), side="left")
    # The own one is among the outcomes too, and stays.
    equal = size[own] - (right - left) + 1
    return above[own] - (end - right) + (equal + 1) / 2


def _values(ranks: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Each model's metrics per query, [q, metrics]; those of `random` are expectations."""
    values = {
        model: np.stack([1 / rank, rank <= 10, rank <= 50], axis=1).astype(np.float64)
        for model, rank in ranks.items()
        if model != "random"
    }
    # A rank that is uniform on 1..n has E[1/rank] = H_n / n and P(rank <= k) = min(k, n) / n.
    size = ranks["random"]
    harmonic = np.cumsum(1 / np.arange(1, int(size.max()) + 1))[size.astype(np.int64) - 1]
    values["random"] = np.stack([harmonic, np.minimum(10, size), np.minimum(50, size)], 1)
    values["random"] /= size[:, None]
    ours = [model for model in ranks if model not in _RIVALS]
    pairs = [(model, "click_count") for model in ours] + [(model, ours[0]) for model in ours[1:]]
    return values | {f"{one} - {other}": values[one] - values[other] for one, other in pairs}


@dataclass(frozen=True)
class _Draws:
    """The bootstrap's resamples of heads, some at a time; the same ones whenever they are asked."""

    seed: int
    memory: int

    def of(self, size: int) -> Iterator[tuple[slice, Int[np.ndarray, "_ u"]]]:
        """How often each of so many heads is in each of `RESAMPLES` draws."""
        generator = np.random.default_rng(self.seed)
        # A draw's numbers are copied once, as floats, when they are multiplied.
        rows = max(1, self.memory // (16 * size))
        for start in range(0, RESAMPLES, rows):
            part = slice(start, min(start + rows, RESAMPLES))
            yield part, generator.multinomial(size, np.full(size, 1 / size), part.stop - part.start)


def _rows(
    ranks: Mapping[str, NDArray[np.float64]], head: NDArray[np.int64], split: str, draws: _Draws
) -> list[Row]:
    _, cluster = np.unique(head, return_inverse=True)
    size = int(cluster.max()) + 1
    queries = np.bincount(cluster, minlength=size)
    values = _values(ranks)
    sums = {
        model: np.stack([np.bincount(cluster, weights=v, minlength=size) for v in own.T], axis=1)
        for model, own in values.items()
    }
    means = {model: np.empty((RESAMPLES, len(METRICS))) for model in values}
    # The same draws for every model, so differences are paired.
    for part, draw in draws.of(size):
        number = (draw @ queries)[:, None]
        for model, summed in sums.items():
            means[model][part] = (draw @ summed) / number
    rows = []
    for model, own in values.items():
        low, high = np.quantile(means[model], [0.025, 0.975], axis=0)
        for n, metric in enumerate(METRICS):
            rows.append(
                Row(
                    metric=metric,
                    value=float(own[:, n].mean()),
                    lo=float(low[n]),
                    hi=float(high[n]),
                    unit="share",
                    split=split,
                    model=model,
                    seed=draws.seed,
                )
            )
    return rows
