"""How good and how fast fold-in is: what the cells of `benchmarks/cold.py` measure.

Takes triples and dials, gives figures; never writes a file.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from cold_leads import Measured
from numpy.typing import NDArray
from withheld import TYPE, Withheld, graph_of, numbered

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.arrays import BundleArrays
from kge.cold_bias import cold_bias
from kge.config import FoldInConfig
from kge.dials import Dials
from kge.evaluate import LinkPrediction, link_prediction
from kge.foldin import FoldIn, FoldInEdges
from kge.policy import choose
from kge.train import train_graph
from kge.triples import Graph

#: How many edges the withheld are given; the ones to rank come behind the last.
EDGES = (1, 2, 5, 10)
#: What each is asked for, at most.
ASKED = 10
#: lambda, counted in edges, where it is chosen: on the withheld of the first half.
RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
#: Held so much that a fold-in is its prior.
ALL_PRIOR = FoldInConfig(prior_edges=1e9)
#: Arms whose ranks are kept, for comparisons triple by triple.
COMPARED = ("fold-in", "prior alone")
#: After how many turns entities that know only each other are looked at.
TURNS = (1, 3, 8, 20)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A data set whose entities training knows, and one with the same relations of others."""

    train: NDArray[np.object_]
    #: of the others: to fold in, to choose by, to test on
    told: NDArray[np.object_]
    valid: NDArray[np.object_]
    test: NDArray[np.object_]

    def numbered(self) -> "Others":
        """As rows; a triple of a relation that training never saw is left out."""
        ends = self.train[:, [0, 2]].reshape(-1)
        ids, relations = (np.array(sorted(set(c)), object) for c in (ends, self.train[:, 1]))
        others = [self.told, self.valid, self.test]
        others = [part[np.isin(part[:, 1].astype(str), relations.astype(str))] for part in others]
        names = np.array(sorted(set(np.concatenate(others)[:, [0, 2]].reshape(-1))), object)
        told, valid, test = (_rows(part, names, relations) for part in others)
        return Others(
            graph=graph_of(_rows(self.train, ids, relations), ids, list(relations)),
            told=told,
            valid=valid,
            test=test,
            count=len(names),
        )


@dataclass(frozen=True, kw_only=True)
class Others:
    """The graph that training sees, and triples of `count` others by rows of their own."""

    graph: Graph
    told: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    count: int

    @property
    def known(self) -> NDArray[np.int64]:
        return np.concatenate([self.told, self.valid, self.test])


def _rows(
    triples: NDArray[np.object_], ids: NDArray[np.object_], relations: NDArray[np.object_]
) -> NDArray[np.int64]:
    columns = [numbered(triples[:, n], names) for n, names in enumerate((ids, relations, ids))]
    return np.stack(columns, axis=1)


def trained(graph: Graph, dials: Dials) -> BundleArrays:
    run = train_graph(graph, choose(graph, dials).config)
    while True:
        try:
            next(run)
        except StopIteration as done:
            arrays: BundleArrays = done.value.arrays()
            return arrays


def served(arrays: BundleArrays) -> FoldInConfig:
    """As a server folds in beside such a bundle."""
    return FoldInConfig(prior_edges=(arrays.dials or {})["prior_edges"])


def measure_cold(split: Withheld, dials: Dials) -> Measured:
    """Fold-in at every number of edges, of the second half: as served, and chosen on the first.

    Ranks are those of `COMPARED`.
    """
    base = trained(split.graph(None), dials)
    valid, test = halves(split)
    chosen = max(
        RIDGES,
        key=lambda ridge: sum(
            ranked(joined(base, split, edges, FoldInConfig(prior_edges=ridge)), split, valid)["mrr"]
            for edges in EDGES
        ),
    )
    typed, config = replace(base, side_priors=None), served(base)
    arms = {
        "fold-in": (base, config),
        "fold-in, chosen": (base, FoldInConfig(prior_edges=chosen)),
        "fold-in, type's prior": (typed, config),
        "prior alone": (base, ALL_PRIOR),
        "type's prior alone": (typed, ALL_PRIOR),
    }
    told: dict[str, Any] = {"prior_edges": chosen, "trials": len(RIDGES)}
    ranks = {}
    for arm, (arrays, by) in arms.items():
        for edges in EDGES:
            name = f"{arm}/{edges}"
            found = judged(joined(arrays, split, edges, by), split, test)
            told[name] = found.figures
            if arm in COMPARED:
                ranks[name] = found.reciprocal
    return Measured(told, ranks)


def measure_retrained(split: Withheld, edges: int, dials: Dials) -> Measured:
    """The withheld trained with those same edges."""
    found = judged(trained(split.graph(edges), dials), split, halves(split)[1])
    name = f"retrained/{edges}"
    return Measured({name: found.figures}, {name: found.reciprocal})


def measure_others(known_by_name: Known, dials: Dials) -> Measured:
    """Entities that all are new and have edges among themselves alone.

    Each begins at its prior; then all are folded in by turns, as changes come one after another.
    lambda and the number of turns are chosen on validation.
    """
    data = known_by_name.numbered()
    base = trained(data.graph, dials)
    best: tuple[float, Any] = (-1.0, None)
    for ridge in RIDGES:
        for turn, arrays in _turns(base, data.told, data.count, ridge):
            mrr = link_prediction(arrays, data.valid, [data.known]).mrr
            if mrr > best[0]:
                best = mrr, (arrays, {"prior_edges": ridge, "turns": turn})
    arrays, chosen = best[1]
    found = link_prediction(arrays, data.test, [data.known])
    chosen["trials"] = len(RIDGES) * len(TURNS)
    told = {**chosen, "fold-in": {"mrr": found.mrr, "hits@10": found.hits[10]}}
    return Measured(told, {"fold-in": _reciprocal(found)})


def _turns(
    base: BundleArrays, told: NDArray[np.int64], count: int, ridge: float
) -> Iterator[tuple[int, BundleArrays]]:
    """Arrays of the new entities alone after each number of `TURNS`."""
    degree = np.bincount(told[:, [0, 2]].reshape(-1), minlength=count)
    arrays = replace(
        base,
        vectors=np.zeros((count, base.dim), np.float32),
        bias=cold_bias(base.bias, base.degree).of(degree),
        degree=degree.astype(np.int32),
        ids=np.arange(count).astype(str).astype(object),
        types=[TypeRange(TYPE, 0, count)],
    )
    edges = both_ends(told)
    # The ball is that of the trained vectors, which are not among these.
    longest = float(np.linalg.norm(base.vectors, axis=1).max())
    start = FoldIn(arrays, replace(ALL_PRIOR, max_norm_ratio=1e6))
    vectors = start.solve(TYPE, count, edges)
    config = FoldInConfig(prior_edges=ridge, max_norm_ratio=1e6)
    for turn in range(1, max(TURNS) + 1):
        arrays = replace(arrays, vectors=vectors)
        vectors = FoldIn(arrays, config).solve(TYPE, count, edges)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors * np.minimum(1.0, longest / np.maximum(norm, 1e-12))
        if turn in TURNS:
            yield turn, replace(arrays, vectors=vectors)


def both_ends(triples: NDArray[np.int64]) -> FoldInEdges:
    """Every triple as an edge of its head and as one of its tail."""
    size = len(triples)
    return FoldInEdges(
        owner=triples[:, [0, 2]].T.reshape(-1).astype(np.int32),
        relation=np.tile(triples[:, 1], 2).astype(np.int16),
        other=triples[:, [2, 0]].T.reshape(-1).astype(np.int32),
        inverse=np.repeat([False, True], size),
        weight=np.ones(2 * size, np.float32),
    )


def halves(split: Withheld) -> tuple[slice, slice]:
    """Which of the withheld dials are chosen by, and which the figures are of."""
    return slice(0, split.count // 2), slice(split.count // 2, None)


def joined(base: BundleArrays, split: Withheld, edges: int, config: FoldInConfig) -> BundleArrays:
    """The trained and, behind them, the withheld as a server has them that was told their edges."""
    given = split.columns(edges)
    vectors = FoldIn(base, config).solve(TYPE, split.count, given)
    degree = np.bincount(given.owner, minlength=split.count)
    bias = cold_bias(base.bias, base.degree).of(degree)
    return replace(
        base,
        vectors=np.concatenate([base.vectors, vectors]),
        bias=np.concatenate([base.bias, bias]),
        ids=split.ids,
    )


class Judged(NamedTuple):
    """Figures of some edges, and float32 (2, n) reciprocal ranks of their heads and tails."""

    figures: dict[str, float]
    reciprocal: NDArray[np.float32]


def ranked(arrays: BundleArrays, split: Withheld, owners: slice) -> dict[str, float]:
    """Figures over the further edges: of both ends, of the other end, and of the withheld."""
    return judged(arrays, split, owners).figures


def judged(arrays: BundleArrays, split: Withheld, owners: slice) -> Judged:
    """The same with the reciprocal ranks that they are made of."""
    asked = split.asked(max(EDGES), ASKED, owners)
    found = link_prediction(arrays, asked, [split.known])
    is_head = asked[:, 0] >= split.stay
    other = np.where(is_head, found.tail_rank, found.head_rank)
    own = np.where(is_head, found.head_rank, found.tail_rank)
    figures = {
        "mrr": found.mrr,
        "hits@10": found.hits[10],
        "mrr_of_others": float((1 / other).mean()),
        "mrr_of_the_withheld": float((1 / own).mean()),
    }
    return Judged(figures, _reciprocal(found))


def _reciprocal(found: LinkPrediction) -> NDArray[np.float32]:
    return (1.0 / np.stack([found.head_rank, found.tail_rank])).astype(np.float32)


def measure_speed(dim: int, *, size: int, singles: int) -> Mapping[str, Any]:
    """Entities per second in one solve, and one entity at a time: 5 edges over 8 relations."""
    draw = np.random.default_rng(0)
    relations, rows = 8, size
    normal = draw.standard_normal
    matrices = 2 * (np.eye(dim) + 0.1 * normal((2 * relations, dim, dim)))
    arrays = BundleArrays(
        types=[TypeRange(TYPE, 0, rows)],
        ids=np.arange(rows).astype(str).astype(object),
        vectors=(normal((rows, dim)) / dim**0.5).astype(np.float32),
        bias=np.zeros(rows, np.float32),
        degree=np.ones(rows, np.int32),
        relations=[
            RelationInfo(name=f"r{n}", head=TYPE, tail=TYPE, source="onsite")
            for n in range(relations)
        ],
        translations=(0.1 * normal((2 * relations, dim))).astype(np.float32),
        projections=matrices.astype(np.float32),
        priors=np.zeros((1, dim), np.float32),
        side_priors=np.zeros((2 * relations, dim), np.float32),
        frame_rows=np.arange(3, dtype=np.int32),
    )
    count = 5 * size
    edges = FoldInEdges(
        owner=np.repeat(np.arange(size), 5).astype(np.int32),
        relation=draw.integers(0, relations, count).astype(np.int16),
        other=draw.integers(0, rows, count).astype(np.int32),
        inverse=draw.random(count) < 0.3,
        weight=draw.random(count).astype(np.float32) + np.float32(0.5),
    )
    foldin = FoldIn(arrays, FoldInConfig())
    parts = [FoldInEdges(*(c[5 * n : 5 * n + 5] for c in edges)) for n in range(singles)]
    parts = [part._replace(owner=np.zeros(5, np.int32)) for part in parts]
    foldin.solve(TYPE, 1, parts[0])  # what does not depend on edges is computed once
    best = min(_seconds(foldin, size, edges) for _ in range(5))
    single = np.array([_seconds(foldin, 1, part) for part in parts]) * 1e3
    p50, p99 = np.percentile(single, [50, 99])
    return {"per_second": size / best, "p50_ms": float(p50), "p99_ms": float(p99)}


def _seconds(foldin: FoldIn, count: int, edges: FoldInEdges) -> float:
    start = time.perf_counter()
    foldin.solve(TYPE, count, edges)
    return time.perf_counter() - start
