"""What a process of the benchmark of tiers does: score pairs as `graphsvc score-file` does.

Takes a service's folder, and tiers by the environment's settings; gives rates, bytes, and how far
logits are from those of training's network on the CPU; never reads or writes while it is timed.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from batch_tasks import encoded
from numpy.typing import NDArray

from api import threads as limits
from api.answers import Answerer, open_answerer
from api.live import Trio
from api.pairs import Ids, Lookup
from api.settings import read_settings
from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import open_snapshot
from ranking.bundle import Ranker, alike, open_ranker
from ranking.features import Side
from ranking.model import SCORE_BATCH

#: Runs that count, of each way to ask, turn by turn, and those before.
_RUNS, _WARM = 7, 2
#: Pairs whose logits are compared.
_COMPARED = 20_000


class _Pairs(NamedTuple):
    """Heads and tails by number, encoded before."""

    sides: Sequence[Side]
    rows: Sequence[NDArray[np.int64]]

    def logits(self, ranker: Ranker, start: int, stop: int) -> NDArray[np.float64]:
        own, others = (
            side.take(rows[start:stop]) for side, rows in zip(self.sides, self.rows, strict=True)
        )
        shown = alike(1, position=ranker.served_position, time=0)
        return ranker.scored_sides(own, others, shown).logits[:, 0]


def rates(data: str, pairs: int, workers: int) -> dict[str, Any]:
    """Pairs a second where so many workers compute: asked about as is best, and batch by batch."""
    os.environ |= {"GRAPHSVC_DATA_DIR": data, "GRAPHSVC_DATABASE_URL": ""}
    limits.cap(1)
    store = ArtifactStore(read_settings().artifacts_dir)
    answerer, trio = open_answerer(read_settings())
    held = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    ranker, given = trio.ranker, _pairs(answerer, trio, store, pairs)
    few = min(_COMPARED, pairs)
    plain = open_ranker(store, ranker.digest, trio.bundle)
    away = np.abs(given.logits(ranker, 0, few) - given.logits(plain, 0, few)).max()
    sizes = {"as_is_best": ranker.at_once or SCORE_BATCH, "by_batch": SCORE_BATCH}
    if ranker.at_once is None:
        sizes["as_is_best"] = -(-pairs // workers)
    spent: dict[str, list[float]] = {name: [] for name in sizes}
    with ThreadPoolExecutor(workers) as pool:
        for run in range(_WARM + _RUNS):
            for name in list(sizes)[:: 1 if run % 2 else -1]:
                work = partial(given.logits, ranker)
                spent[name].append(_seconds(work, pairs, sizes[name], pool))
    plan = ranker.placement
    assert plan is not None
    return {
        **{f"{name}_per_second": [pairs / took for took in spent[name][_WARM:]] for name in sizes},
        "logit_difference": float(away),
        "computed_by": ranker.computed_by,
        "tables_tier": plan.tables_tier,
        "upper_tier": plan.upper_tier,
        "device_planned_bytes": plan.bytes_of("device"),
        "device_held_bytes": held,
    }


def _pairs(answerer: Answerer, trio: Trio, store: ArtifactStore, count: int) -> _Pairs:
    """So many pairs of anybody and anything that the snapshot holds, drawn by chance."""
    ranker = trio.ranker
    lookup = Lookup(answerer.database, answerer.schema, answerer.foldin_edges)
    snapshot = open_snapshot(store, ranker.snapshot_digest, verify=False)
    types = (ranker.head_type, ranker.tail_type)
    sides = []
    for place, look_up in enumerate((lookup.heads, lookup.candidates)):
        span = snapshot.types[types[place]]
        ids = Ids.of(snapshot.ids[span.start : span.stop].tolist())
        side = partial(ranker.encoder.side, place)
        sides.append(encoded(ids, partial(look_up, trio), side))
    draw = np.random.default_rng(0)
    return _Pairs(sides, [draw.integers(len(side.known), size=count) for side in sides])


def _seconds(work: Callable[[int, int], Any], pairs: int, size: int, pool: Executor) -> float:
    """What all pairs take, so many in a call."""
    starts = range(0, pairs, size)
    began = time.perf_counter()
    list(pool.map(work, starts, [min(start + size, pairs) for start in starts]))
    return time.perf_counter() - began
