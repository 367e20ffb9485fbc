"""Settling: those who act get the vector that fold-in gives to their training edges.

Takes trained arrays and the graph, gives arrays; never trains, never imports torch.

Trained vectors of users with few edges fit those edges too well. Fold-in solves for a user with
all else fixed, held by the prior, and it is how a user whom training never saw gets a vector: so
after settling old and new users are made alike. It is half a step of alternating least squares;
our design.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kge.arrays import BundleArrays
from kge.bundle import acting
from kge.config import FoldInConfig
from kge.foldin import FoldIn, FoldInEdges
from kge.triples import Graph


def with_side_priors(arrays: BundleArrays, graph: Graph) -> BundleArrays:
    """Arrays that know where an entity with an edge of some side is to be expected.

    That is the mean vector of those who have one, by weight; where no edge shows it, the type's
    prior. It tells fold-in what kind of entity this is, which the type need not say. Our design.
    """
    sides = len(graph.relations)
    codes = [t.name for t in graph.types]
    means = np.empty((2 * sides, arrays.dim), np.float32)
    order = np.argsort(graph.relation, kind="stable")
    bounds = np.searchsorted(graph.relation[order], np.arange(sides + 1))
    for number, relation in enumerate(graph.relations):
        rows = order[bounds[number] : bounds[number + 1]]
        weight = graph.weight[rows]
        for side, end, kind in (
            (number, graph.head, relation.head),
            (number + sides, graph.tail, relation.tail),
        ):
            means[side] = arrays.priors[codes.index(kind)]
            if len(rows):
                # Entities are few where edges are many: a vector per edge would be gigabytes.
                found, place = np.unique(end[rows], return_inverse=True)
                total = np.bincount(place, weights=weight)
                means[side] = total @ arrays.vectors[found] / total.sum()
    return replace(arrays, side_priors=means)


def edges_of(graph: Graph, rows: NDArray[np.int64]) -> FoldInEdges:
    """The edges that some entities, ascending rows, have as heads; owners count from the first."""
    place = np.full(graph.entity_count, -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    own = np.flatnonzero(place[graph.head] >= 0)
    return FoldInEdges(
        owner=place[graph.head[own]],
        relation=graph.relation[own].astype(np.int16),
        other=graph.tail[own].astype(np.int32),
        inverse=np.zeros(len(own), dtype=bool),
        weight=graph.weight[own],
    )


def settle(arrays: BundleArrays, graph: Graph, config: FoldInConfig) -> BundleArrays:
    """Arrays in which the types that only ever act hold fold-in vectors: see `acting`.

    Such a vector leans on its edges, and no more on the anchors that training composed it of.
    """
    settled = acting(graph.relations)
    foldin, vectors = FoldIn(arrays, config), arrays.vectors.copy()
    anchors = None if arrays.anchor_rows is None else arrays.anchor_rows.copy()
    shares = None if arrays.anchor_weights is None else arrays.anchor_weights.copy()
    for kind in graph.types:
        if kind.name not in settled:
            continue
        rows = np.arange(kind.start, kind.stop)
        vectors[rows] = foldin.solve(kind.name, len(rows), edges_of(graph, rows))
        if anchors is not None and shares is not None:
            anchors[rows], shares[rows] = -1, 0.0
    return replace(arrays, vectors=vectors, anchor_rows=anchors, anchor_weights=shares)
