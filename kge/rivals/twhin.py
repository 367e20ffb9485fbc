"""TwHIN: the dot product of a translated head and its tail.

Takes a graph and dials, yields `Progress` after every batch and returns the scorer of what was
learned; never looks at a clock.

    f(h, r, t) = (e_h + theta_r) . e_t

El-Kishky et al. 2022 (TwHIN, arXiv 2202.05387), the form of the paper: theta_r gets gradients, and
corrupted edges are scored with the translation too, whichever end is corrupted. Differs from the
paper: the sampled softmax is our default, as for the models it is compared with; the paper's loss
is the switch `logistic`.
"""

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor, nn

from kge.progress import Progress, Share
from kge.rivals.config import TwhinConfig
from kge.rivals.dot_scorer import DotScorer
from kge.rivals.edges import Batch, contrast, draw
from kge.rivals.loop import Learned, check, train
from kge.scorer import Scorer
from kge.triples import Graph

_SPREAD = 0.1


class Twhin(nn.Module):
    """The vectors of entities and relations; no training."""

    def __init__(self, graph: Graph, config: TwhinConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.entities = nn.Embedding(graph.entity_count, config.dim, sparse=True)
        self.translations = nn.Embedding(len(graph.relations), config.dim, sparse=True)
        with torch.no_grad():
            self.entities.weight.normal_(std=_SPREAD, generator=generator)
            self.translations.weight.zero_()

    def scorer(self) -> Scorer:
        """Of (?, r, t) the translation adds theta_r . e_t to all heads alike, so it is left out."""
        with torch.no_grad():
            vectors = self.entities.weight.numpy().copy()
            shift = self.translations.weight.numpy()
        return DotScorer(
            vectors=vectors,
            scale=np.ones((2 * len(shift), shift.shape[1]), np.float32),
            shift=np.concatenate([shift, np.zeros_like(shift)]),
            bias=np.zeros(len(vectors), np.float32),
        )


def train_twhin(
    graph: Graph, config: TwhinConfig, *, seed: int = 0, share: Share | None = None
) -> Generator[Progress, None, Scorer]:
    """Train TwHIN; the same seed and share give the same steps. Raises `TooFewTriples`."""
    check(graph)
    random = np.random.default_rng([seed, 11])
    model = Twhin(graph, config, torch.Generator().manual_seed(seed))
    learned = Learned(
        loss=lambda batch: twhin_loss(model, graph, batch, config, random),
        scorer=model.scorer,
        optimizers=[(torch.optim.Adagrad(model.parameters()), config.learning_rate)],
    )
    run = train(learned, graph, random, batch=config.batch, epochs=config.epochs, share=share)
    return (yield from run)


def twhin_loss(
    model: Twhin, graph: Graph, batch: Batch, config: TwhinConfig, random: np.random.Generator
) -> Tensor:
    """Both ends of each edge against shared negatives; the weighted mean over edges."""
    head, tail, relation = (
        torch.from_numpy(column[batch.edges]) for column in (graph.head, graph.tail, graph.relation)
    )
    tails, heads = (draw(kind, config.negatives, random) for kind in (batch.tails, batch.heads))
    e_h, e_t, theta = model.entities(head), model.entities(tail), model.translations(relation)
    query = e_h + theta
    positive = (query * e_t).sum(dim=1)
    by_tail = query @ model.entities(tails.rows).T
    # (e_h' + theta_r) . e_t: a corrupted head is translated as well.
    by_head = e_t @ model.entities(heads.rows).T + (theta * e_t).sum(dim=1)[:, None]
    logistic = config.loss == "logistic"
    each = contrast(positive, by_tail, tail, tails, logistic=logistic)
    each = each + contrast(positive, by_head, head, heads, logistic=logistic)
    weight = torch.from_numpy(graph.weight[batch.edges])
    return (weight / weight.sum() * each).sum()
