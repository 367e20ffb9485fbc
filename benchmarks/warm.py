"""A refresh on 5 % new edges beside a full training: what it takes, and what it is worth.

Takes a graph and a way to judge, gives seconds and MRR of both; never writes a report.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import TypeRange
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.dials import Dials
from kge.train import Trained, begin_graph
from kge.triples import Graph

NEW = 0.05
_NOTHING = "0" * 64

#: Split -> MRR.
Judge = Callable[[Bundle], Mapping[str, float]]


def measure(graph: Graph, dials: Dials, judge: Judge) -> Mapping[str, Any]:
    """Train on all edges but 5 % drawn by chance, refresh on all, and train on all from nothing."""
    draw = np.random.default_rng(dials.seed or 0)
    new = draw.random(len(graph.head)) < NEW
    with tempfile.TemporaryDirectory(prefix="refresh-") as folder:
        store = ArtifactStore(Path(folder))

        def seal(arrays: BundleArrays) -> Bundle:
            # With its dials, as the service does: a refresh keeps the form of what it begins with.
            own = arrays.dials or {}
            return seal_bundle(store, _NOTHING, arrays, dials=own, metrics={})

        before = _run(without(graph, new), dials, None)[1]
        base = seal(before)
        full_seconds, full, _ = _run(graph, dials, None)
        seconds, warm, trained = _run(graph, dials, base)
        told = {
            "full_mrr": judge(seal(full)),
            "refresh_mrr": judge(seal(warm)),
            "before_mrr": judge(seal(spread(before, graph))),
        }
    return {
        "full_seconds": full_seconds,
        "refresh_seconds": seconds,
        "frame_kept": trained.frame_kept(warm),
        "new_edges": int(new.sum()),
        "edges": len(graph.head),
        **told,
    }


def _run(
    graph: Graph, dials: Dials, previous: Bundle | None
) -> tuple[float, BundleArrays, Trained]:
    began = time.perf_counter()
    training = begin_graph(graph, dials, previous=previous)
    for _ in training.steps():
        pass
    trained = training.trained()
    arrays = trained.arrays()
    return time.perf_counter() - began, arrays, trained


def spread(arrays: BundleArrays, graph: Graph) -> BundleArrays:
    """The arrays with a row for every entity of the graph: its type's prior where it had none."""
    place = {kind.name: kind for kind in arrays.types}
    vectors = np.repeat(arrays.priors, [k.stop - k.start for k in graph.types], axis=0)
    bias = np.full(graph.entity_count, arrays.bias.min(), np.float32)
    for kind in graph.types:
        own = place[kind.name]
        rows = kind.start + np.flatnonzero(
            np.isin(graph.ids[kind.start : kind.stop], arrays.ids[own.start : own.stop])
        )
        vectors[rows] = arrays.vectors[own.start : own.stop]
        bias[rows] = arrays.bias[own.start : own.stop]
    return replace(
        arrays,
        vectors=vectors,
        bias=bias,
        degree=graph.degree,
        types=graph.types,
        ids=graph.ids,
        frame_rows=np.zeros(1, np.int32),  # of no use here, and none cannot be read back
        anchor_rows=None,
        anchor_weights=None,
    )


def without(graph: Graph, dropped: np.ndarray) -> Graph:
    """The graph without some edges, and without entities that had no others."""
    kept = ~dropped
    present = np.zeros(graph.entity_count, dtype=bool)
    present[graph.head[kept]] = True
    present[graph.tail[kept]] = True
    before = np.concatenate([[0], np.cumsum(present)])
    return replace(
        graph,
        head=before[graph.head[kept]],
        relation=graph.relation[kept],
        tail=before[graph.tail[kept]],
        weight=graph.weight[kept],
        types=[
            TypeRange(kind.name, int(before[kind.start]), int(before[kind.stop]))
            for kind in graph.types
        ],
        ids=graph.ids[present],
        snapshot_rows=graph.snapshot_rows[present],
    )
