"""How fast link prediction is measured, beside PyKEEN's `RankBasedEvaluator`, on its own TransR.

Takes sizes, gives one cell of a benchmark; never trains. Both rank the same triples with the same
weights, turn by turn, so what the machine does meanwhile is done to both. PyKEEN's evaluator has no
way to group queries, and its TransR projects every candidate for each of them.
"""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models import ERModel

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.evaluate import LinkPrediction, link_prediction
from kge.rivals.pykeen_loop import Stream, factory_of, start
from kge.rivals.pykeen_models import RECIPES
from kge.rivals.pykeen_scorer import pykeen_scorer
from kge.triples import Graph

#: PyKEEN's own choice on a CPU.
PYKEEN_BATCH = 32
RUNS = 5
#: Each time is the quickest of so many: others use the machine too.
TRIES = 3
#: A busy machine has more tries until all of it takes longer than a part.
MOST_TRIES = 30
#: Of what PyKEEN ranks, what is ranked first is one part of so many.
PART = 4


def measure_evaluation(
    *, entities: int = 5_000, relations: int = 100, triples: int = 20_000, sample: int = 512
) -> Mapping[str, Any]:
    """Queries per second of both, their ratio per run, and in how many ranks they differ.

    Ours ranks all `triples` in a call, and all of that call counts: it projects every candidate
    once for each relation, however much it ranks. PyKEEN's evaluator is given a `sample`, a
    multiple of its batches of 32, since it ranks each at the same cost. It ranks a quarter of them,
    and all; its speed is that of the queries between the two, so what its call costs once does not
    count. The graph is drawn: neither looks at what numbers mean. Raises `ValueError` for so few
    queries that the clock does not tell them apart.
    """
    graph, asked = _graph(entities, relations, triples)
    known = [np.stack([graph.head, graph.relation, graph.tail], axis=1)]
    with Stream(1):
        model = start(factory_of(graph, reciprocal=False), RECIPES["transr"])[0].model
    part = asked[:: max(1, len(asked) // sample)][:sample]

    def mine(some: NDArray[np.int64]) -> LinkPrediction:
        return link_prediction(pykeen_scorer(model), some, known)

    def theirs(some: NDArray[np.int64]) -> NDArray[np.float64]:
        return _pykeen(model, some, known)

    # Before the clock starts: first calls load and warm up. Filtered by all that is known, so by
    # the triples that PyKEEN is not asked for too.
    exact, others = mine(part), theirs(part)
    ranks = np.concatenate([exact.head_rank, exact.tail_rank])
    own, other = [], []
    for _ in range(RUNS):
        own.append(min(_seconds(partial(mine, asked)) for _ in range(TRIES)))
        other.append(_further(theirs, part))
    speeds = [2 * len(asked) / seconds for seconds in own]
    ratios = [a / b.per_second for a, b in zip(speeds, other, strict=True)]
    return {
        "queries_per_second": statistics.median(speeds),
        "pykeen_queries_per_second": statistics.median(speed.per_second for speed in other),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "seconds": own,
        "pykeen_seconds": [speed._asdict() for speed in other],
        "ranks_that_differ": float((ranks != others).mean()),
        "ranks_apart": float(np.abs(ranks - others).max()),
        "entities": entities,
        "relations": relations,
        "triples": len(asked),
        "pykeen_triples": len(part),
        "threads": torch.get_num_threads(),
        "runs": RUNS,
    }


class Speed(NamedTuple):
    """Queries per second beyond a first part, and the seconds that this part and all of it took."""

    per_second: float
    part: float
    whole: float


def _further(work: Callable[[NDArray[np.int64]], object], triples: NDArray[np.int64]) -> Speed:
    first = triples[: max(1, len(triples) // PART)]
    part = whole = float("inf")
    for tries in range(1, MOST_TRIES + 1):
        part = min(part, _seconds(partial(work, first)))
        whole = min(whole, _seconds(partial(work, triples)))
        if tries >= TRIES and whole > part:
            break
    else:
        raise ValueError(
            f"triples and sample should be so many that the clock tells them from a quarter of "
            f"them, received {len(triples)} in {whole:g} s and {len(first)} in {part:g} s"
        )
    return Speed(2 * (len(triples) - len(first)) / (whole - part), part, whole)


def _pykeen(
    model: ERModel, triples: NDArray[np.int64], known: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """PyKEEN's realistic ranks, heads then tails."""
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    evaluator = RankBasedEvaluator(clear_on_finalize=False)
    evaluator.evaluate(
        model=model,
        mapped_triples=torch.from_numpy(triples),
        additional_filter_triples=[torch.from_numpy(part) for part in known],
        batch_size=PYKEEN_BATCH,
        use_tqdm=False,
    )
    sides = [np.concatenate(evaluator.ranks[side, "realistic"]) for side in ("head", "tail")]
    return np.concatenate(sides)


def _graph(entities: int, relations: int, triples: int) -> tuple[Graph, NDArray[np.int64]]:
    """Popular entities and relations as in real graphs, and the triples to rank."""
    draw = np.random.default_rng(0)
    many = 15 * triples
    ends = (entities * draw.random((many, 2)) ** 2).astype(np.int64)
    kinds = (relations * draw.random(many) ** 3).astype(np.int64)
    whole = np.unique(np.stack([ends[:, 0], kinds, ends[:, 1]], axis=1), axis=0)
    whole = draw.permutation(whole)
    train, asked = whole[triples:], whole[:triples]
    graph = Graph(
        head=train[:, 0].copy(),
        relation=train[:, 1].copy(),
        tail=train[:, 2].copy(),
        weight=np.ones(len(train), np.float32),
        types=[TypeRange("entity", 0, entities)],
        relations=[
            RelationInfo(name=f"r{n}", head="entity", tail="entity", source="structure")
            for n in range(relations)
        ],
        ids=np.array([f"e{n}" for n in range(entities)], dtype=object),
        snapshot_rows=np.arange(entities, dtype=np.int32),
    )
    return graph, asked


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
