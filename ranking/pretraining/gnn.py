"""The facet of a graph network: an entity's vector is also that of what is around it.

Takes a graph and dials, gives a loss and the vectors of all entities; never looks at a clock.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batch
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.hetero import hetero_of
from ranking.pretraining.message_passing import AGGREGATES
from ranking.pretraining.neighbors import Layer, Neighbors
from ranking.pretraining.objective import Objective
from ranking.pretraining.ranges import ranges
from ranking.pretraining.softmax import Temperature, contrast

# Dimensions: N entities, D numbers of a vector, v targets, u sources.

#: Edges that are summed over at once where the whole graph is read: bounds memory.
_EDGES = 1 << 20


class LightGcn(Objective):
    """`contrast` on means over layers of weightless propagation.

    x^{l+1}_v = sum_{u -> v} c_s w_uv / sqrt(d_u d_v) x^l_u
    z_v = (x^0_v + ... + x^L_v) / (L + 1)

    He et al. 2020 (LightGCN, arXiv 2002.02126), equations 3 to 8. Differs from the paper: all
    relations of the graph, each direction s of each with a learned factor c_s that begins at 1;
    sampled neighborhoods while training; a softmax instead of BPR. The pairs of a batch, by any
    relation, are hidden from the network, since it would only have to copy them.
    """

    def __init__(self, graph: FacetGraph, config: PretrainingConfig) -> None:
        super().__init__()
        self.temperature = Temperature(config.temperature)
        self.sides = nn.Parameter(torch.ones(2 * len(graph.relations)))
        self._neighbors = Neighbors(hetero_of(graph))
        self._aggregate = AGGREGATES[config.gnn.backend]()
        self._fanouts = config.gnn.fanouts
        self._hidden = np.zeros(len(graph.head), dtype=bool)
        self._pairs = _Pairs(graph)
        self._random = np.random.default_rng([config.seed, 2])

    def forward(self, table: RowTable, batch: Batch) -> Float[Tensor, ""]:
        hidden = self._pairs.same(batch.edges)
        self._hidden[hidden] = True
        loss = contrast(lambda rows: self.vectors(table, rows), batch, self.temperature)
        self._hidden[hidden] = False
        return loss

    def vectors(self, table: RowTable, rows: Int64[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """The z of some entities, from sampled neighbors."""
        distinct, place = torch.unique(rows, return_inverse=True)
        sources, layers = self._neighbors.layers(
            distinct.numpy(), self._fanouts, self._hidden, self._random
        )
        return self.run(table(torch.from_numpy(sources)), layers).index_select(0, place)

    def run(self, vectors: Float[Tensor, "u D"], layers: list[Layer]) -> Float[Tensor, "v D"]:
        """The z of the last targets; they stand first among all sources before them."""
        count = layers[-1].targets
        total = vectors[:count]
        for layer in layers:
            vectors = self._step(vectors, layer)
            total = total + vectors[:count]
        return total / (len(layers) + 1)

    @torch.no_grad()
    def read(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The z of all entities from all neighbors, a layer at a time, in ranges of entities."""
        total, vectors = rows.clone(), rows
        for _ in self._fanouts:
            parts = []
            for first, last in self._neighbors.cut(_EDGES):
                sources, layer = self._neighbors.whole(first, last)
                parts.append(self._step(vectors[torch.from_numpy(sources)], layer))
            vectors = torch.cat(parts)
            total += vectors
        return total / (len(self._fanouts) + 1)

    @torch.no_grad()
    def keep(self) -> None:
        self.temperature.keep()

    def _step(self, vectors: Float[Tensor, "u D"], layer: Layer) -> Float[Tensor, "v D"]:
        own = torch.from_numpy(layer.factor) * self.sides[torch.from_numpy(layer.side)]
        return self._aggregate(vectors, own, layer)


class _Pairs:
    """Which triples join the same head and tail, by whichever relation."""

    def __init__(self, graph: FacetGraph) -> None:
        ends = graph.head[graph.pairs] * graph.entity_count + graph.tail[graph.pairs]
        distinct, pair = np.unique(ends, return_inverse=True)
        order = np.argsort(pair, kind="stable")
        self._edges = graph.pairs[order]
        self._start = np.searchsorted(pair[order], np.arange(len(distinct) + 1))
        self._pair_of = np.full(len(graph.head), -1, dtype=np.int64)
        self._pair_of[graph.pairs] = pair

    def same(self, edges: Int64[np.ndarray, "B"]) -> Int64[np.ndarray, "e"]:
        """Places of all triples that join what some pairs join, these among them."""
        pair = np.unique(self._pair_of[edges])
        start = self._start[pair]
        return self._edges[ranges(start, self._start[pair + 1] - start)]
