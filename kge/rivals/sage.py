"""GraphSAGE: entities encoded from sampled neighbors, edges decoded by DistMult.

Takes a graph and dials, yields `Progress` after every batch and returns the scorer of what was
learned; never looks at a clock.

    z = SageLayer(... relu(SageLayer(x)) ...)      s(h, r, t) = (z_h * w_r) . z_t + b_t

Hamilton et al. 2017 for the encoder, Schlichtkrull et al. 2018 for encoder and decoder together.
Differs from the papers: reciprocal relations, a bias per tail, sampled softmax. Edges of a batch
are hidden from the encoder, since it would only have to copy them.
"""

from collections.abc import Generator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kge.progress import Progress, Share
from kge.rivals.config import SageConfig
from kge.rivals.dot_scorer import DotScorer
from kge.rivals.edges import Batch, contrast, draw
from kge.rivals.loop import Learned, check, train
from kge.rivals.neighbors import Layer, Neighbors
from kge.rivals.sage_layers import BACKENDS, SageLayer
from kge.scorer import Scorer
from kge.triples import Graph

#: Edges that are encoded at once where the whole graph is read.
_EDGES = 1 << 18
_SPREAD = 0.1


class Sage(nn.Module):
    """Input vectors, layers and decoder; no training."""

    def __init__(self, graph: Graph, config: SageConfig, generator: torch.Generator) -> None:
        super().__init__()
        sides, aggregate = 2 * len(graph.relations), BACKENDS[config.backend]()
        self.table = nn.Embedding(graph.entity_count, config.dim, sparse=True)
        self.layers = nn.ModuleList(
            SageLayer(config.dim, sides, aggregate, generator) for _ in config.fanouts
        )
        self.decoder = nn.Parameter(torch.randn(sides, config.dim, generator=generator) * 0.3)
        self.bias = nn.Parameter(torch.zeros(graph.entity_count))
        self._neighbors = Neighbors(graph)
        self._dropout = config.dropout
        with torch.no_grad():
            self.table.weight.normal_(std=_SPREAD, generator=generator)

    def encode(
        self,
        rows: Tensor,
        fanouts: tuple[int, ...],
        hidden: Bool[np.ndarray, "E"],
        random: np.random.Generator,
    ) -> Float[Tensor, "v d"]:
        """Vectors of some entities from sampled neighbors, some coordinates dropped."""
        sources, layers = self._neighbors.layers(rows.numpy(), fanouts, hidden, random)
        encoded = self.run(self.table(torch.from_numpy(sources)), layers)
        kept = torch.from_numpy(random.random(encoded.shape, np.float32) >= self._dropout)
        return encoded * kept / (1.0 - self._dropout)

    def run(self, vectors: Tensor, layers: list[Layer]) -> Tensor:
        """All layers; relu between them."""
        for n, (module, layer) in enumerate(zip(self.layers, layers, strict=True)):
            vectors = module(vectors.relu() if n else vectors, layer)
        return vectors

    @torch.no_grad()
    def scorer(self) -> Scorer:
        """Encodes every entity from all its neighbors, a layer at a time, in ranges of entities."""
        vectors = self.table.weight
        for n, module in enumerate(self.layers):
            given = vectors.relu() if n else vectors
            parts = []
            for first, last in self._neighbors.cut(len(vectors), _EDGES):
                sources, layer = self._neighbors.whole(first, last)
                parts.append(module(given[torch.from_numpy(sources)], layer))
            vectors = torch.cat(parts)
        decoder = self.decoder.numpy().copy()
        return DotScorer(
            vectors=vectors.numpy(),
            scale=decoder,
            shift=np.zeros_like(decoder),
            bias=self.bias.numpy().copy(),
        )


def train_sage(
    graph: Graph, config: SageConfig, *, seed: int = 0, share: Share | None = None
) -> Generator[Progress, None, Scorer]:
    """Train encoder and decoder; the same seed and share give the same steps.

    Raises `TooFewTriples`, and `ConfigError` where the backend does not load.
    """
    check(graph)
    random = np.random.default_rng([seed, 13])
    model = Sage(graph, config, torch.Generator().manual_seed(seed))
    rest = [*model.layers.parameters(), model.decoder]
    optimizers = [
        (torch.optim.Adagrad([model.table.weight, model.bias]), config.learning_rate),
        (torch.optim.Adam(rest), config.weight_learning_rate),
    ]
    hidden = np.zeros(len(graph.head), dtype=bool)

    def loss(batch: Batch) -> Tensor:
        hidden[batch.edges] = True
        found = _loss(model, graph, batch, config, (hidden, random))
        hidden[batch.edges] = False
        return found

    learned = Learned(loss=loss, scorer=model.scorer, optimizers=optimizers)
    run = train(learned, graph, random, batch=config.batch, epochs=config.epochs, share=share)
    return (yield from run)


def _loss(
    model: Sage,
    graph: Graph,
    batch: Batch,
    config: SageConfig,
    sampling: tuple[Bool[np.ndarray, "E"], np.random.Generator],
) -> Tensor:
    """Both ends of each edge against shared negatives; the weighted mean over edges."""
    hidden, random = sampling
    head, tail, relation = (
        torch.from_numpy(column[batch.edges]) for column in (graph.head, graph.tail, graph.relation)
    )
    tails, heads = (draw(kind, config.negatives, random) for kind in (batch.tails, batch.heads))
    rows, place = torch.unique(torch.cat([head, tail, tails.rows, heads.rows]), return_inverse=True)
    encoded = model.encode(rows, config.fanouts, hidden, random).index_select(0, place)
    sizes = [len(head), len(tail), len(tails.rows), len(heads.rows)]
    z_h, z_t, z_tails, z_heads = encoded.split(sizes)
    each = torch.zeros(len(head))
    for side, (query, own, end, others, drawn) in (
        (relation, (z_h, z_t, tail, z_tails, tails)),
        (relation + len(graph.relations), (z_t, z_h, head, z_heads, heads)),
    ):
        asked = query * model.decoder[side]
        positive = (asked * own).sum(dim=1) + model.bias[end]
        negative = asked @ others.T + model.bias[drawn.rows]
        each = each + contrast(positive, negative, end, drawn)
    weight = torch.from_numpy(graph.weight[batch.edges])
    return (weight / weight.sum() * each).sum()
