"""Anchors: few shared vectors per type that stand in for what an entity's own edges cannot tell.

Takes a graph, gives which anchors each entity leans on and how much; never learns anything.

    e_v = g_v x_v + (1 - g_v) alpha_v A_tau       g_v = n_v / (n_v + c)

Implements the idea of TransRA's anchors, arXiv 2508.02609; which anchors the paper uses was not
found, so the choice here is our design: the entities of highest degree are anchors of their type,
an entity is near an anchor with which it shares neighbors, and alpha_v is the softmax over the s
nearest. Each type has one more anchor, its *prior*, on which an entity leans that is near none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from graphsvc.snapshot import TypeRange
from kge.config import TransRAConfig
from kge.triples import Graph

# Dimensions: n entities, t types, a anchors (priors first, one per type), s nearest anchors.

_CHUNK = 1 << 20


class Anchors(NamedTuple):
    """Which anchors each entity leans on; anchor row t below the number of types is a prior."""

    #: int64 [n, s] anchor rows
    nearest: Int[np.ndarray, "n s"]
    #: float32 [n, s] alpha, rows sum to 1
    weight: Float[np.ndarray, "n s"]
    #: float32 [n] g
    gate: Float[np.ndarray, "n"]
    #: number of anchors of all types, priors included
    total: int


def build_anchors(graph: Graph, config: TransRAConfig) -> Anchors:
    """Choose anchors for every type and assign every entity of the type to them."""
    size, width = graph.entity_count, config.nearest_anchors
    nearest = np.repeat(graph.type_code[:, None], width, axis=1)
    weight = np.zeros((size, width), dtype=np.float32)
    weight[:, 0] = 1.0
    count = len(graph.types)
    sorted_edges = _edges_by_entity(graph)
    for kind in graph.types:
        chosen = _by_degree(graph, kind, config.anchors_per_type)
        if len(chosen) < width:
            continue
        closeness = _shared_neighbors(kind, chosen, sorted_edges)
        best = np.argsort(-closeness, axis=1, kind="stable")[:, :width]
        value = np.take_along_axis(closeness, best, axis=1)
        alpha = np.exp((value - value[:, :1]) / config.anchor_temperature) * (value > 0)
        found = np.flatnonzero(value[:, 0] > 0)
        rows = kind.start + found
        nearest[rows] = best[found] + count
        weight[rows] = alpha[found] / alpha[found].sum(axis=1, keepdims=True)
        count += len(chosen)
    if config.gate_edges > 0:
        gate = graph.degree / (graph.degree + config.gate_edges)
    else:
        gate = np.ones(size)
    return Anchors(nearest.astype(np.int64), weight, gate.astype(np.float32), count)


def frame_rows(graph: Graph, per_type: int) -> Int[np.ndarray, "f"]:
    """Rows that hold the coordinate frame: of each type, evenly from highest to lowest degree."""
    chosen = []
    for kind in graph.types:
        ordered = _by_degree(graph, kind, kind.stop - kind.start)
        places = np.linspace(0, len(ordered) - 1, min(per_type, len(ordered)))
        chosen.append(np.sort(ordered[places.round().astype(np.int64)]))
    return np.concatenate(chosen).astype(np.int32)


def _by_degree(graph: Graph, kind: TypeRange, count: int) -> NDArray[np.int64]:
    """The `count` rows of a type with the highest degree, ties in row order."""
    degree = graph.degree[kind.start : kind.stop]
    return kind.start + np.argsort(-degree, kind="stable")[:count]


def _edges_by_entity(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(entity, neighbor feature) sorted by entity; a feature names side and other end."""
    sides = len(graph.relations)
    entity = np.concatenate([graph.head, graph.tail])
    other = np.concatenate([graph.tail, graph.head])
    side = np.concatenate([graph.relation, graph.relation + sides])
    _, feature = np.unique(side * graph.entity_count + other, return_inverse=True)
    order = np.argsort(entity, kind="stable")
    return entity[order], feature[order].astype(np.int64)


def _shared_neighbors(
    kind: TypeRange,
    chosen: NDArray[np.int64],
    edges: Sequence[NDArray[np.int64]],
) -> NDArray[np.float32]:
    """Cosine between neighbor sets, rare neighbors counting more: [entities of the type, anchors].

    A feature that f entities have weighs 1 / sqrt(f) on both sides.
    """
    entity, feature = edges
    size = kind.stop - kind.start
    first, last = np.searchsorted(entity, [kind.start, kind.stop])
    entity, feature = entity[first:last] - kind.start, feature[first:last]
    closeness = np.zeros((size, len(chosen)), dtype=np.float32)
    if not len(entity):
        return closeness
    features = int(feature.max()) + 1
    rarity = 1.0 / np.maximum(np.bincount(feature, minlength=features), 1)
    norm = np.sqrt(np.bincount(entity, weights=rarity[feature], minlength=size))
    of_anchor = np.zeros((features, len(chosen)), dtype=np.float32)
    for column, row in enumerate(chosen - kind.start):
        begin, end = np.searchsorted(entity, [row, row + 1])
        own = feature[begin:end]
        of_anchor[own, column] = rarity[own] / max(norm[row], 1e-12)
    step = max(1, _CHUNK // max(1, len(chosen)))
    for begin in range(0, len(entity), step):
        part = slice(begin, begin + step)
        owners, starts = np.unique(entity[part], return_index=True)
        closeness[owners] += np.add.reduceat(of_anchor[feature[part]], starts, axis=0)
    return closeness / np.maximum(norm, 1e-12).astype(np.float32)[:, None]
