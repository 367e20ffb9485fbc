"""RetailRocket's shop under the pair rule: no edge of a pair that is a row is in the graph.

Takes its files, gives drawn pairs, embeddings of the other pairs, and rows; never looks at a time,
which one form of the data does not hold. Nearly all that is bought was in the cart before: a graph
that kept a row's cart would know the answer.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grid
import numpy as np
from numpy.typing import NDArray

from graphsvc.datasets import RETAILROCKET_SCHEMA, retailrocket
from graphsvc.snapshot import RelationInfo, Span, TypeRange
from kge.dials import Dials
from kge.train import begin_graph
from kge.triples import Graph
from ranking.examples import Examples, KgeMaps, LabelledRows
from ranking.states import EntityStates, alike

KINDS = ("view", "add_to_cart", "purchase")
#: What a row is asked: whether a pair that was viewed came to it.
TASKS = {"cart": "add_to_cart", "purchase": "purchase"}
GRAPHS = {"onsite": ("view",), "offsite": ("add_to_cart", "purchase"), "both": KINDS}
#: Of the pairs that were viewed; what is left is for the spans between TRAIN and TEST alike.
SHARES = {"GRAPH": 0.5, "TRAIN": 0.25, "TEST": 0.15}


class Pairs(NamedTuple):
    """Every pair of a visitor and an item with what happened, and the span that it was drawn into.

    Pairs that were never viewed are no rows: they are in the graph.
    """

    visitor: NDArray[np.int64]
    item: NDArray[np.int64]
    #: [pairs, 3] how often each of `KINDS`
    counts: NDArray[np.int64]
    span: NDArray[np.int8]
    visitors: NDArray[np.object_]
    items: NDArray[np.object_]

    def edges(self, kind: str) -> NDArray[np.bool_]:
        """Which pairs of the graph have an edge of a kind."""
        return (self.span == Span.GRAPH) & (self.counts[:, KINDS.index(kind)] > 0)


class Learned(NamedTuple):
    """Vectors of visitors and of items, zero where an entity has no edge, and the maps."""

    visitors: NDArray[np.float32]
    items: NDArray[np.float32]
    known_visitors: NDArray[np.bool_]
    known_items: NDArray[np.bool_]
    maps: KgeMaps


def digest(source: Path) -> str:
    """Of what the files hold."""
    files = (
        sorted(one for one in source.rglob("*") if one.is_file()) if source.is_dir() else [source]
    )
    return grid.digest_of(files)


def draw(source: Path, seed: int) -> Pairs:
    """Every pair of the data; those that were viewed are drawn into spans."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for event in retailrocket(source):
        seen[event["actor"]["id"], event["object"]["id"], event["event_name"]] += 1
    who, what, kinds = (np.array(column, dtype=object) for column in zip(*seen, strict=True))
    visitors, visitor = np.unique(who, return_inverse=True)
    items, item = np.unique(what, return_inverse=True)
    code, pair = np.unique(visitor * len(items) + item, return_inverse=True)
    counts = np.zeros((len(code), len(KINDS)), dtype=np.int64)
    kind = np.array([KINDS.index(name) for name in kinds.tolist()])
    np.add.at(counts, (pair, kind), np.array(list(seen.values())))
    span = np.full(len(code), int(Span.GRAPH), dtype=np.int8)
    viewed = np.flatnonzero(counts[:, 0] > 0)
    spans, edges = list(Span), np.cumsum(_shares())
    chance = np.random.default_rng(seed).random(len(viewed))
    span[viewed] = np.array(spans)[np.searchsorted(edges[:-1], chance, side="right")]
    return Pairs(code // len(items), code % len(items), counts, span, visitors, items)


def _shares() -> list[float]:
    """By span, in their order."""
    between = [span for span in Span if span.name not in SHARES]
    rest = (1 - sum(SHARES.values())) / len(between)
    return [SHARES.get(span.name, rest) for span in Span]


def learn(pairs: Pairs, graph: str, dials: Mapping[str, Any], seed: int) -> Learned:
    """An embedding of the graph's pairs by some kinds of edges; weights are those of the schema."""
    names = GRAPHS[graph]
    own = [np.flatnonzero(pairs.edges(name)) for name in names]
    chosen, code = np.concatenate(own), np.repeat(np.arange(len(names)), list(map(len, own)))
    items, item = np.unique(pairs.item[chosen], return_inverse=True)
    visitors, visitor = np.unique(pairs.visitor[chosen], return_inverse=True)
    base = np.array([RETAILROCKET_SCHEMA["relations"][name]["weight"] for name in names])
    often = pairs.counts[chosen, np.array([KINDS.index(name) for name in names])[code]]
    count = len(items) + len(visitors)
    training = begin_graph(
        Graph(
            head=(len(items) + visitor).astype(np.int64),
            relation=code.astype(np.int64),
            tail=item.astype(np.int64),
            weight=(base[code] * np.log2(1.0 + often)).astype(np.float32),
            types=[
                TypeRange("item", 0, len(items)),
                TypeRange("visitor", len(items), count),
            ],
            relations=[
                RelationInfo(name=name, head="visitor", tail="item", source="onsite")
                for name in names
            ],
            ids=np.concatenate([pairs.items[items], pairs.visitors[visitors]]),
            snapshot_rows=np.arange(count, dtype=np.int32),
        ),
        Dials(seed=seed, **dials),
    )
    for _ in training.steps():
        pass
    arrays, forward = training.trained().arrays(), slice(0, len(names))
    tails = arrays.projections if arrays.tail_projections is None else arrays.tail_projections
    of_visitors = _spread(len(pairs.visitors), visitors, arrays.vectors[len(items) :])
    of_items = _spread(len(pairs.items), items, arrays.vectors[: len(items)])
    maps = KgeMaps(
        names=tuple(names),
        projections=np.asarray(arrays.projections[forward], dtype=np.float32),
        tail_projections=np.asarray(tails[forward], dtype=np.float32),
        translations=np.asarray(arrays.translations[forward], dtype=np.float32),
    )
    return Learned(of_visitors[0], of_items[0], of_visitors[1], of_items[1], maps)


def examples(pairs: Pairs, learned: Learned, task: str) -> Examples:
    """Rows of the pairs that are in no graph; counters are those of the graph's pairs."""
    outcome = KINDS.index(TASKS[task])
    in_graph = pairs.span == Span.GRAPH
    rows = {}
    for span in Span:
        if span is Span.GRAPH:
            continue
        chosen = np.flatnonzero(pairs.span == span)
        who, what = pairs.visitor[chosen], pairs.item[chosen]
        sides = [
            EntityStates(
                ids=names[own],
                vectors=vectors[own],
                known=known[own],
                attributes={},
                exposures=np.bincount(place[in_graph], minlength=len(names))[own],
                outcomes=_ended_well(pairs, place, outcome, len(names))[own],
            )
            for names, own, place, vectors, known in (
                (pairs.visitors, who, pairs.visitor, learned.visitors, learned.known_visitors),
                (pairs.items, what, pairs.item, learned.items, learned.known_items),
            )
        ]
        rows[span] = LabelledRows(
            heads=sides[0],
            tails=sides[1],
            labels=(pairs.counts[chosen, outcome] > 0).astype(np.int8),
            cluster=who.astype(np.int32),
            time=np.zeros(len(chosen), dtype=np.int64),
            weight=np.ones(len(chosen), dtype=np.float32),
            exposures=alike(len(chosen)),
            conversions=np.full(len(chosen), -1, dtype=np.int8),
        )
    return Examples(
        rows=rows,
        head_type="visitor",
        tail_type="item",
        head_kinds={},
        tail_kinds={},
        maps=learned.maps,
        snapshot_digest="",
        bundle_digest="",
        frame="",
        protocol="pairs",
    )


def _ended_well(
    pairs: Pairs, place: NDArray[np.int64], outcome: int, count: int
) -> NDArray[np.int64]:
    """How many pairs of the graph of each entity came to an outcome."""
    own = pairs.edges(KINDS[outcome])
    return np.bincount(place[own], minlength=count)


def _spread(
    count: int, places: NDArray[np.int64], vectors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors by place among all, and who has one."""
    whole = np.zeros((count, vectors.shape[1]), dtype=np.float32)
    known = np.zeros(count, dtype=np.bool_)
    whole[places], known[places] = vectors, True
    return whole, known
