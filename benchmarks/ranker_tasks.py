"""What our processes of the ranker's training benchmark do.

Takes a file of exposures and dials, gives plain numbers; never decides what is compared. What is
timed is `ranking.train.train` itself, from one `Progress` to the next.
"""

import cProfile
import io
import pstats
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from apart import held_mib, peak_mib
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.columns import Coded, as_objects
from ranking.config import (
    CrossingConfig,
    FeatureConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.examples import Examples, KgeMaps, LabelledRows
from ranking.states import EntityStates, alike
from ranking.train import train

#: Rows that an epoch is judged on, which is a part of its time.
JUDGED = 4096
#: Lines of a profile that are shown.
_LINES = 30


def speed_of_ours(*, file: str, kind: str, dials: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Seconds of the first epoch with all that comes before it, and of each further one."""
    config = config_of(kind=kind, epochs=1 + epochs, **dials)
    before, begin = held_mib(), time.perf_counter()
    examples = examples_of(Path(file))
    loaded = time.perf_counter()
    loop = train(examples, config)
    next(loop)
    first = time.perf_counter() - begin
    peak = peak_mib()
    seconds = []
    for _ in range(epochs):
        since = time.perf_counter()
        next(loop)
        seconds.append(time.perf_counter() - since)
    trained = _ended(loop)
    rows = examples.rows[Span.TRAIN]
    return {
        "rows": len(rows.labels),
        "first_seconds": first,
        "reading_seconds": loaded - begin,
        "epoch_seconds": seconds,
        "peak_mib": peak,
        "own_mib": peak - before,
        "table_rows": trained.shape.head_rows + trained.shape.tail_rows + trained.shape.codes,
        "width": trained.model.norm.normalized_shape[0],
        "products_per_row": _products_per_row(trained, rows),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def profile_of_ours(*, file: str, kind: str, dials: dict[str, Any]) -> dict[str, str]:
    """Where the time goes: Python until the first epoch ends, torch in the second one."""
    config = config_of(kind=kind, epochs=2, **dials)
    watch = cProfile.Profile()
    watch.enable()
    loop = train(examples_of(Path(file)), config)
    next(loop)
    watch.disable()
    told = io.StringIO()
    pstats.Stats(watch, stream=told).strip_dirs().sort_stats("tottime").print_stats(_LINES)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        next(loop)
    operations = seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=_LINES)
    return {"first": told.getvalue(), "second": operations}


def config_of(  # the dials of a cell, by their names there
    *, kind: str, epochs: int, dim: int, hidden: int, layers: int, rank_share: float, batch: int
) -> RankerConfig:
    """A ranker without a KGE and without dropout, whose every value has a row of its own.

    `kind` is that of the crossing, and behind a + the precision of products.
    """
    crossing, _, precision = kind.partition("+")
    return RankerConfig(
        arm="none",
        attribute_dim=dim,
        hidden=hidden,
        dropout=0.0,
        id_dropout=0.0,
        features=FeatureConfig(min_rows=1),
        ids=IdTableConfig(dim=dim, min_rows=1, buckets=1),
        crossing=CrossingConfig(kind=crossing, layers=layers, rank_share=rank_share),
        training=TrainingConfig(
            epochs=epochs,
            batch=batch,
            learning_rate=1e-3,
            patience=epochs,
            precision=precision or "float32",
        ),
    )


def examples_of(file: Path) -> Examples:
    """The file's rows as TRAIN; the other spans have the first ones of them."""
    with np.load(file) as stored:
        columns = {name: stored[name] for name in stored.files}
    fields = sorted(name for name in columns if name.startswith("f"))
    head, tail, *categories = fields
    half = len(categories) // 2
    sides = {"head": (head, categories[:half]), "tail": (tail, categories[half:])}
    rows = LabelledRows(
        heads=_states(columns, "head", *sides["head"]),
        tails=_states(columns, "tail", *sides["tail"]),
        labels=columns["label"].astype(np.int8),
        cluster=np.zeros(len(columns["label"]), dtype=np.int32),
        time=np.arange(len(columns["label"]), dtype=np.int64),
        weight=np.ones(len(columns["label"]), dtype=np.float32),
        exposures=alike(len(columns["label"])),
        conversions=np.full(len(columns["label"]), -1, dtype=np.int8),
    )
    few = rows.take(np.arange(min(JUDGED, len(rows.labels))))
    one = np.ones((1, 1, 1), dtype=np.float32)
    return Examples(
        rows={Span.TRAIN: rows, Span.VALID: few, Span.CALIBRATE: few, Span.TEST: few},
        head_type="user",
        tail_type="ad",
        head_kinds=dict.fromkeys(sides["head"][1], "category"),
        tail_kinds=dict.fromkeys(sides["tail"][1], "category"),
        maps=KgeMaps(("click",), one, one, np.zeros((1, 1), dtype=np.float32)),
        snapshot_digest="",
        bundle_digest="",
        frame="",
        protocol="global_time",
    )


def _states(
    columns: dict[str, np.ndarray], side: str, id_field: str, categories: list[str]
) -> EntityStates:
    count = len(columns[id_field])
    return EntityStates(
        ids=_named(id_field, columns).values[columns[id_field]],
        vectors=np.zeros((count, 1), dtype=np.float32),
        known=np.zeros(count, dtype=np.bool_),
        attributes={name: _named(name, columns) for name in categories},
        exposures=columns[f"{side}_exposures"],
        outcomes=columns[f"{side}_outcomes"],
    )


def _named(name: str, columns: dict[str, np.ndarray]) -> Coded:
    """A field's numbers as the text that attributes and ids are."""
    codes = columns[name]
    return Coded(as_objects([f"{name}-{n}" for n in range(int(codes.max()) + 1)]), codes)


def _ended(loop: Generator[Any, None, TrainedRanker]) -> TrainedRanker:
    while True:
        try:
            next(loop)
        except StopIteration as stop:
            return stop.value


def _products_per_row(trained: TrainedRanker, rows: LabelledRows) -> float:
    """Operations of the matrix products of a step, as torch counts them, by rows of its batch."""
    few = np.arange(min(JUDGED, len(rows.labels)))
    encoder = trained.encoder
    batch = encoder.encode(rows.heads.take(few), rows.tails.take(few), rows.exposures.take(few))
    trained.model.train()
    with FlopCounterMode(display=False) as counter:
        trained.model(batch).sum().backward()
    return counter.get_total_flops() / len(few)
