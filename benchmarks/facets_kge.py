"""TransRA over a graph that no snapshot holds: what the facet `kge` reads.

Takes a `FacetGraph` and dials, gives `KgeVectors`; trains once and finds it again in a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphsvc.snapshot import TypeRange
from kge.dials import Dials
from kge.train import begin_graph
from kge.triples import Graph
from ranking.examples import KgeMaps
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.translation import KgeVectors

_ARRAYS = ("vectors", "known", "projections", "tail_projections", "translations", "scale")


def held_kge(graph: FacetGraph, file: Path, dials: Mapping[str, Any]) -> KgeVectors:
    """The vectors in a file, trained first where there is none."""
    if not file.exists():
        trained = trained_kge(graph, dials)
        columns: dict[str, Any] = {
            "vectors": trained.vectors,
            "known": trained.known,
            "projections": trained.maps.projections,
            "tail_projections": trained.maps.tail_projections,
            "translations": trained.maps.translations,
            "scale": np.array(trained.scale),
        }
        half = file.with_suffix(".half.npz")
        np.savez(half, **columns)
        half.rename(file)
    with np.load(file) as held:
        found = {name: held[name] for name in _ARRAYS}
    names = tuple(graph.relations[code].name for code in graph.joining)
    maps = KgeMaps(names, *(found[name] for name in _ARRAYS[2:5]))
    return KgeVectors(found["vectors"], found["known"], maps, float(found["scale"]))


def trained_kge(graph: FacetGraph, dials: Mapping[str, Any]) -> KgeVectors:
    """Vectors by row of the graph, zero for whoever has no edge."""
    present = graph.degree > 0
    before = np.concatenate([[0], np.cumsum(present)])
    rows = np.flatnonzero(present)
    training = begin_graph(
        Graph(
            head=before[graph.head].astype(np.int64),
            relation=graph.relation,
            tail=before[graph.tail].astype(np.int64),
            weight=graph.weight,
            types=[
                TypeRange(kind.name, int(before[kind.start]), int(before[kind.stop]))
                for kind in graph.types
            ],
            relations=graph.relations,
            ids=graph.ids[rows],
            snapshot_rows=rows.astype(np.int32),
        ),
        Dials(**dials),
    )
    for _ in training.steps():
        pass
    arrays = training.trained().arrays()
    tails = arrays.projections if arrays.tail_projections is None else arrays.tail_projections
    own = graph.joining
    maps = KgeMaps(
        names=tuple(graph.relations[code].name for code in own),
        projections=np.asarray(arrays.projections[own], dtype=np.float32),
        tail_projections=np.asarray(tails[own], dtype=np.float32),
        translations=np.asarray(arrays.translations[own], dtype=np.float32),
    )
    vectors = np.zeros((graph.entity_count, arrays.dim), dtype=np.float32)
    vectors[rows] = arrays.vectors
    return KgeVectors(vectors, present, maps, float(arrays.scale))
