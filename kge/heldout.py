"""Held-out outcomes: does a bundle rank what people did later above what they did not do?

Takes a bundle and its snapshot, gives report rows; never trains, never imports torch.

Every outcome of a span (user -> film, say) whose pair was not seen before is one query: all
entities of the tail type are candidates, those with which the head has another known outcome are
taken out, and the tail's realistic rank is taken. As served: a head that the bundle does not hold
gets a fold-in vector from its outcomes strictly before the query's time, and a tail that it does
not hold keeps its place with its type's prior and the bias of the least connected.

    mrr = mean 1 / rank      hits@10 = share of ranks <= 10      recall@50 = share of ranks <= 50

Recall@50 is thus over held-out edges. Intervals are 95 % bootstrap intervals clustered by head;
those of a difference are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from graphsvc.report import Row
from graphsvc.snapshot import Interactions, Snapshot, Span
from kge.bundle import Bundle
from kge.config import FoldInConfig
from kge.foldin import FoldIn, History, Queries, foldin_as_of
from kge.ranks import buckets, realistic_ranks, spread

METRICS = ("mrr", "hits@10", "recall@50")
#: What every bundle is measured beside.
_RIVALS = ("click_count", "random")
#: Slices of a global split: name -> (fewest, most) known outcomes before the query's time.
HISTORY = {"0": (0, 0), "1-4": (1, 4), "5+": (5, np.iinfo(np.int32).max)}
RESAMPLES = 1000

# Dimensions: q queries, m candidates (all entities of the tail type), u heads.

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class _Task:
    """The queries of one span and all that is known about their heads."""

    #: [o] first outcome of every (head, tail) pair, sorted by head then time: snapshot rows
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    time: NDArray[np.int64]
    #: [q] positions of the queries in the three columns above
    query: NDArray[np.int64]
    #: [m] how often each candidate was chosen in the span that the graph saw
    count: NDArray[np.int64]


def evaluate(
    bundle: Bundle,
    snapshot: Snapshot,
    *,
    seed: int,
    span: Span = Span.TEST,
    foldin: FoldInConfig | None = None,
) -> list[Row]:
    """Rows of the models `transra`, `click_count`, `random` and of `transra - click_count`.

    `seed` draws the bootstrap samples. Under the protocol `global_time` the rows are repeated by
    history length. Choose dials with `span=Span.VALID`. No queries, no rows.
    """
    task = _task(snapshot, span)
    if not len(task.query):
        return []
    scores = _ServedScores(bundle, snapshot, task, foldin or FoldInConfig())
    slices = {}
    if snapshot.split["protocol"] == "global_time":
        for label, (fewest, most) in HISTORY.items():
            slices[f"history={label}"] = (scores.history >= fewest) & (scores.history <= most)
    name = f"{snapshot.split['protocol']}/{span.name.lower()}"
    return _sliced(name, task, _ranks(task, {"transra": scores}), slices, seed)


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
    scores = {
        name: _ServedScores(bundle, snapshot, task, FoldInConfig())
        for name, bundle in bundles.items()
    }
    degree = next(iter(scores.values())).degree[task.tail[task.query]]
    name = f"{snapshot.split['protocol']}/{span.name.lower()}"
    return _sliced(name, task, _ranks(task, scores), dict(buckets(degree)), seed)


def _sliced(
    name: str,
    task: _Task,
    ranks: Mapping[str, NDArray[np.float64]],
    slices: Mapping[str, NDArray[np.bool_]],
    seed: int,
) -> list[Row]:
    """Rows over all queries, then over each slice that has one."""
    whole = {name: np.ones(len(task.query), dtype=bool)}
    rows = []
    for split, inside in (
        whole | {f"{name}/{label}": own for label, own in slices.items()}
    ).items():
        if inside.any():
            part = {model: values[inside] for model, values in ranks.items()}
            rows += _rows(part, task.head[task.query][inside], split, seed)
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


class _ServedScores:
    """Scores of every candidate for chunks of queries, as a server would give them."""

    def __init__(
        self, bundle: Bundle, snapshot: Snapshot, task: _Task, config: FoldInConfig
    ) -> None:
        info = snapshot.interaction
        self.bundle = bundle
        self.relation = bundle.relation_index(info.outcome)
        tails = bundle.rows(info.tail, snapshot.ids[slice(*snapshot.types[info.tail][1:])])
        held = tails >= 0
        self.vectors = np.where(held[:, None], bundle.vectors[tails], bundle.prior(info.tail))
        self.bias = np.where(held, bundle.bias[tails], bundle.cold_bias(info.tail))
        self.bias = self.bias.astype(np.float32)
        #: [m] training edges of each candidate
        self.degree = np.where(held, bundle.degree[tails], 0)
        heads, place = np.unique(task.head[task.query], return_inverse=True)
        known = bundle.rows(info.head, snapshot.ids[heads])[place]
        asked = Queries(task.head[task.query], task.time[task.query])
        past = History(task.head, tails[task.tail], task.time)
        served, self.history = foldin_as_of(
            bundle, FoldIn(bundle, config), self.relation, past, asked
        )
        self.heads = np.where((known >= 0)[:, None], bundle.vectors[known], served)

    def of(self, part: slice) -> Float[np.ndarray, "q m"]:
        return self.bundle.score_vectors(self.relation, self.heads[part], self.vectors, self.bias)


def _ranks(task: _Task, scores: Mapping[str, _ServedScores]) -> dict[str, NDArray[np.float64]]:
    """Realistic filtered rank of every query under each model (`random`: the candidates' count)."""
    ranks = {model: np.empty(len(task.query)) for model in (*scores, *_RIVALS)}
    first = np.searchsorted(task.head, task.head[task.query], side="left")
    number = np.searchsorted(task.head, task.head[task.query], side="right") - first
    for start in range(0, len(task.query), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(task.query)))
        size = part.stop - start
        row = np.repeat(np.arange(size), number[part])
        known = task.tail[spread(first[part], number[part])]
        own = task.tail[task.query[part]]
        for model, served in scores.items():
            ranks[model][part] = realistic_ranks(served.of(part), own, (row, known))
        counts = np.tile(task.count.astype(np.float32), (size, 1))
        ranks["click_count"][part] = realistic_ranks(counts, own, (row, known))
        ranks["random"][part] = len(task.count) - number[part] + 1
    return ranks


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


def _rows(
    ranks: Mapping[str, NDArray[np.float64]], head: NDArray[np.int64], split: str, seed: int
) -> list[Row]:
    _, cluster = np.unique(head, return_inverse=True)
    size = int(cluster.max()) + 1
    queries = np.bincount(cluster, minlength=size)
    # The same draws for every model, so differences are paired.
    draw = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    rows = []
    for model, values in _values(ranks).items():
        sums = np.stack([np.bincount(cluster, weights=v, minlength=size) for v in values.T], axis=1)
        means = (draw @ sums) / (draw @ queries)[:, None]
        low, high = np.quantile(means, [0.025, 0.975], axis=0)
        for n, metric in enumerate(METRICS):
            rows.append(
                Row(
                    metric=metric,
                    value=float(values[:, n].mean()),
                    lo=float(low[n]),
                    hi=float(high[n]),
                    unit="share",
                    split=split,
                    model=model,
                    seed=seed,
                )
            )
    return rows
