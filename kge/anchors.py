"""Anchors: few shared vectors per type that stand in for what an entity's own edges cannot tell.

Takes a graph, gives which anchors each entity leans on and how much; never learns anything.

    e_v = g_v x_v + (1 - g_v) alpha_v A_tau       g_v = n_v / (n_v + c)

Implements the idea of TransRA's anchors, arXiv 2508.02609; which anchors the paper uses was not
found, so the choice here is our design: entities of the type are its anchors (`kge/choice.py`), an
entity is near an anchor with which it shares neighbors, and alpha_v is the softmax over the s
nearest. Each type has one more anchor, its *prior*, on which an entity leans that is near none.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse

from graphsvc.snapshot import TypeRange
from kge.choice import choose, owner_of
from kge.config import TransRAConfig
from kge.features import Neighborhoods
from kge.triples import Graph

# Dimensions: n entities, t types, a anchors (priors first, one per type), s nearest anchors.

#: Entities whose closeness to all anchors is held at once.
_CHUNK = 1 << 15


class Anchors(NamedTuple):
    """Which anchors each entity leans on; anchor row t below the number of types is a prior."""

    #: int64 [n, s] anchor rows
    nearest: Int[np.ndarray, "n s"]
    #: float32 [n, s] alpha, rows sum to 1
    weight: Float[np.ndarray, "n s"]
    #: float32 [n] g
    gate: Float[np.ndarray, "n"]
    #: int64 [a - t] the entity behind every anchor that is no prior
    entity: Int[np.ndarray, "e"]
    #: number of types, and so of priors
    priors: int

    @property
    def total(self) -> int:
        """Number of anchors of all types, priors included."""
        return self.priors + len(self.entity)


def build_anchors(graph: Graph, config: TransRAConfig) -> Anchors:
    """Choose anchors for every type and assign every entity of the type to them."""
    width, types = config.nearest_anchors, len(graph.types)
    nearest = np.repeat(graph.type_code[:, None], width, axis=1)
    weight = np.zeros((graph.entity_count, width), dtype=np.float32)
    weight[:, 0] = 1.0
    entity = np.empty(0, dtype=np.int64)
    if config.gate_edges == 0:
        return Anchors(nearest, weight, np.ones(graph.entity_count, np.float32), entity, types)
    neighborhoods, owner = Neighborhoods(graph), owner_of(graph, config.anchor_owner)
    for kind in graph.types:
        own = slice(kind.start, kind.stop)
        rows = neighborhoods.of_type(kind)
        chosen = choose(rows, graph.degree[own], owner[own], config)
        if len(chosen) >= width:
            _lean(rows, chosen, config, (nearest[own], weight[own]), types + len(entity))
            entity = np.append(entity, kind.start + chosen)
    gate = graph.degree / (graph.degree + config.gate_edges)
    return Anchors(nearest, weight, gate.astype(np.float32), entity, types)


def _lean(
    rows: sparse.csr_matrix,
    chosen: NDArray[np.int64],
    config: TransRAConfig,
    out: tuple[NDArray[np.int64], NDArray[np.float32]],
    first: int,
) -> None:
    """Write the nearest anchors of a type's entities, counted from `first`, and alpha."""
    nearest, weight = out
    anchors, width = rows[chosen].T.tocsc(), nearest.shape[1]
    for start in range(0, rows.shape[0], _CHUNK):
        closeness = (rows[start : start + _CHUNK] @ anchors).toarray()
        best = np.argsort(-closeness, axis=1, kind="stable")[:, :width]
        value = np.take_along_axis(closeness, best, axis=1)
        alpha = np.exp((value - value[:, :1]) / config.anchor_temperature) * (value > 0)
        found = np.flatnonzero(value[:, 0] > 0)
        nearest[start + found] = best[found] + first
        weight[start + found] = alpha[found] / alpha[found].sum(axis=1, keepdims=True)


def frame_rows(graph: Graph, per_type: int) -> Int[np.ndarray, "f"]:
    """Rows that hold the coordinate frame: of each type, evenly from highest to lowest degree."""
    chosen = []
    for kind in graph.types:
        ordered = _by_degree(graph, kind)
        places = np.linspace(0, len(ordered) - 1, min(per_type, len(ordered)))
        chosen.append(np.sort(ordered[places.round().astype(np.int64)]))
    return np.concatenate(chosen).astype(np.int32)


def _by_degree(graph: Graph, kind: TypeRange) -> NDArray[np.int64]:
    """The rows of a type, the highest degree first, ties in row order."""
    return kind.start + np.argsort(-graph.degree[kind.start : kind.stop], kind="stable")
