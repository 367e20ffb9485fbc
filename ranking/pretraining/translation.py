"""The facet that is the KGE: the bundle's vectors, and its score as a loss for other tables.

Takes a bundle or its arrays, gives vectors by row of the graph and a loss; never trains the KGE.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from kge.bundle import Bundle
from ranking.errors import FacetUnavailable
from ranking.examples import KgeMaps, kge_maps
from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batch
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.objective import Objective
from ranking.pretraining.softmax import sampled_softmax

# Dimensions: N entities, J relations from heads to tails, d vector, k projected vector, B pairs,
# C candidates.


class KgeVectors(NamedTuple):
    """A KGE over the rows of a graph."""

    #: zero where the KGE does not know the entity
    vectors: Float32[np.ndarray, "N d"]
    known: Bool[np.ndarray, "N"]
    #: of the graph's `joining` relations, in their order
    maps: KgeMaps
    #: multiplies -||.||^2
    scale: float


def kge_vectors(graph: FacetGraph, bundle: Bundle) -> KgeVectors:
    """A bundle's vectors and maps over a graph of the same snapshot.

    Raises `FacetUnavailable` where it lacks a relation by which heads meet tails.
    """
    names = [graph.relations[code].name for code in graph.joining]
    maps = kge_maps(bundle, graph.head_type, graph.tail_type, names)
    if list(maps.names) != names:
        raise FacetUnavailable(
            f"the bundle should have the relations {', '.join(names)}, "
            f"received {', '.join(maps.names) or 'none of them'}"
        )
    place = np.full(graph.entity_count, -1, dtype=np.int64)
    for kind in graph.types:
        if kind.name in bundle.types:
            ids = graph.ids[kind.start : kind.stop]
            place[kind.start : kind.stop] = bundle.rows(kind.name, ids)
    known = place >= 0
    found = bundle.vectors[np.where(known, place, 0)]
    vectors = np.where(known[:, None], found, np.float32(0)).astype(np.float32)
    return KgeVectors(vectors, known, maps, float(bundle.scale))


class Translation(Objective):
    """A table's rows scored as the KGE scores its vectors, by its own maps, which stay.

    s_ij = -c ||M_r x_i + r - T_r x_j||^2

    Implements the idea of the heterogeneous KGE facet, a TransR variant. Differs from the paper:
    used only where one table has several losses or begins at the KGE's vectors; the facet alone is
    the bundle as it is. Pairs of every relation from heads to tails, by `sampled_softmax`; our
    design.
    """

    def __init__(self, graph: FacetGraph, kge: KgeVectors) -> None:
        super().__init__()
        self.scale = kge.scale
        self.joining = graph.joining
        self.projections: Tensor
        self.tail_projections: Tensor
        self.translations: Tensor
        for name in ("projections", "tail_projections", "translations"):
            self.register_buffer(name, torch.from_numpy(getattr(kge.maps, name)), persistent=False)

    def forward(self, table: RowTable, batch: Batch) -> Float[Tensor, ""]:
        rows = [batch.heads, batch.tails, *(drawn.rows for drawn in batch.candidates)]
        head, tail, *others = table(torch.cat(rows)).split([len(part) for part in rows])
        total = head.new_zeros(())
        for number, code in enumerate(self.joining):
            own = (batch.relations == code).nonzero().squeeze(1)
            if not len(own):
                continue
            sought = head[own] @ self.projections[number].T + self.translations[number]
            tails = tail[own] @ self.tail_projections[number].T
            positive = -self.scale * (sought - tails).square().sum(dim=1)
            each = torch.zeros_like(positive)
            for drawn, vectors in zip(batch.candidates, others, strict=True):
                scores = self._scores(sought, vectors @ self.tail_projections[number].T)
                each = each + sampled_softmax(
                    positive, scores, drawn.log_expected, drawn.taken[own]
                )
            total = total + (batch.weights[own] * each).sum()
        return total

    def _scores(
        self, sought: Float[Tensor, "B k"], tails: Float[Tensor, "C k"]
    ) -> Float[Tensor, "B C"]:
        """By one product: -||q - p||^2 = 2 q.p - |q|^2 - |p|^2."""
        apart = sought.square().sum(dim=1)[:, None] + tails.square().sum(dim=1)
        return self.scale * (2.0 * sought @ tails.T - apart)
