"""What the process of the benchmark of batch scoring does: the network alone, on a file's pairs.

Takes a service's folder and a file, gives rates; never reads or writes while it is timed.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from api import threads as limits
from api.answers import open_answerer
from api.pairs import Ids, LookedUp, Lookup
from api.scorefile import PART_ROWS
from api.settings import read_settings
from ranking.bundle import EntityStates, alike
from ranking.features import FeatureBatch, Side
from ranking.model import SCORE_BATCH, head_scores
from ranking.ranker import Ranker

_PAGE = 1000


def bare(data: str, file: str, threads: int) -> dict[str, Any]:
    """Pairs a second of the network, with features made before, and with making them.

    With several threads, of two ways: torch's own in each product (`products`), and batches side by
    side with one each (`batches`). Parts are as long as those of `score-file`.
    """
    os.environ |= {"GRAPHSVC_DATA_DIR": data, "GRAPHSVC_DATABASE_URL": ""}
    limits.cap(1)
    answerer, trio = open_answerer(read_settings())
    lookup = Lookup(answerer.database, answerer.schema, answerer.foldin_edges)
    ranker, encoder = trio.ranker, trio.ranker.encoder
    table = pq.read_table(file)
    heads, tails = (Ids.of(table.column(name).to_pylist()) for name in ("head", "candidate"))
    own = encoded(heads, lambda ids: lookup.heads(trio, ids), partial(encoder.side, 0))
    others = encoded(tails, lambda ids: lookup.candidates(trio, ids), partial(encoder.side, 1))
    shown = alike(1, position=trio.ranker.served_position, time=0)
    spent = {"features": 0.0, "batches": 0.0, "products": 0.0}
    with ThreadPoolExecutor(threads) as workers:
        for start in range(0, len(table), PART_ROWS):
            places = [
                slice(at, min(at + SCORE_BATCH, start + PART_ROWS, len(table)))
                for at in range(start, min(start + PART_ROWS, len(table)), SCORE_BATCH)
            ]

            def features(place: slice) -> FeatureBatch:
                return encoder.together(
                    own.take(heads.codes[place]), others.take(tails.codes[place]), shown
                )

            began = time.perf_counter()
            batches = list(workers.map(features, places))
            spent["features"] += time.perf_counter() - began
            spent["batches"] += _batches(ranker, batches, workers)
            spent["products"] += _products(ranker, batches, threads)
    count = len(table)
    fastest = min(spent["batches"], spent["products"])
    return {
        **{f"{name}_per_second": count / seconds for name, seconds in spent.items()},
        "forward_per_second": count / fastest,
        "both_per_second": count / (fastest + spent["features"]),
    }


def _network(ranker: Ranker, batch: FeatureBatch) -> None:
    """As it answers: exported, where it is."""
    if ranker.forward is None:
        head_scores(ranker.model, batch)
    else:
        ranker.forward.logits(batch)


def _batches(ranker: Ranker, batches: Sequence[FeatureBatch], workers: Executor) -> float:
    """The seconds of batches side by side."""
    began = time.perf_counter()
    list(workers.map(partial(_network, ranker), batches))
    return time.perf_counter() - began


def _products(ranker: Ranker, batches: Sequence[FeatureBatch], threads: int) -> float:
    """The seconds of all pairs in one call, with torch's own threads."""
    whole = FeatureBatch(*(torch.cat(columns) for columns in zip(*batches, strict=True)))
    torch.set_num_threads(threads)
    began = time.perf_counter()
    _network(ranker, whole)
    spent = time.perf_counter() - began
    torch.set_num_threads(1)
    return spent


def encoded(
    ids: Ids,
    look_up: Callable[[Sequence[str]], LookedUp],
    encode: Callable[[EntityStates], Side],
) -> Side:
    """Every entity as features, in the order of its number."""
    pages = [look_up(ids.names[start : start + _PAGE]) for start in range(0, len(ids.names), _PAGE)]
    if any(reason for page in pages for reason in page.reasons) or np.any(ids.codes < 0):
        raise SystemExit("every pair should have a score")
    one, *more = (encode(page.states) for page in pages)
    return one.joined(*more)
