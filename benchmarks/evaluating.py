"""How fast link prediction is measured, beside PyKEEN's `RankBasedEvaluator`, on its own TransR.

Takes sizes, gives one cell of a benchmark; never trains. Both rank the same triples with the same
weights, turn by turn, so what the machine does meanwhile is done to both. PyKEEN's evaluator has no
way to group queries, and its TransR projects every candidate for each of them.
"""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models import ERModel

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.evaluate import link_prediction
from kge.rivals.pykeen_loop import Stream, factory_of, start
from kge.rivals.pykeen_models import RECIPES
from kge.rivals.pykeen_scorer import pykeen_scorer
from kge.triples import Graph

#: PyKEEN's own choice on a CPU.
PYKEEN_BATCH = 32
RUNS = 3


def measure_evaluation(
    *, entities: int = 5_000, relations: int = 100, triples: int = 10_000, sample: int = 64
) -> Mapping[str, Any]:
    """Queries per second of both, their ratio per run, and in how many ranks they differ.

    Ours ranks all `triples`, as one does; PyKEEN's evaluator a `sample` of them, since it ranks
    each triple at the same cost. The graph is drawn: neither looks at what the numbers mean.
    """
    graph, asked = _graph(entities, relations, triples)
    known = [np.stack([graph.head, graph.relation, graph.tail], axis=1)]
    with Stream(1):
        model = start(factory_of(graph, reciprocal=False), RECIPES["transr"])[0].model
    part = asked[:: max(1, len(asked) // sample)][:sample]
    ours, theirs, ranks, others = [], [], None, None
    for _ in range(RUNS):
        seconds, found = _timed(lambda: link_prediction(pykeen_scorer(model), asked, known))
        ours.append(2 * len(asked) / seconds)
        seconds, others = _timed(lambda: _pykeen(model, part, known))
        theirs.append(2 * len(part) / seconds)
        # Filtered by all that is known, so by the triples that PyKEEN is not asked for too.
        exact = link_prediction(pykeen_scorer(model), part, known)
        ranks = np.concatenate([exact.head_rank, exact.tail_rank])
        del found
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "queries_per_second": statistics.median(ours),
        "pykeen_queries_per_second": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "ranks_that_differ": float((ranks != others).mean()),
        "entities": entities,
        "relations": relations,
        "triples": len(asked),
        "pykeen_triples": len(part),
        "threads": torch.get_num_threads(),
        "runs": RUNS,
    }


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


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result
