"""TransRA as a PyKEEN model: representations and interaction, composed from instances.

Takes a graph and dials, gives an `ERModel` that PyKEEN's own loops and evaluators accept; never
trains and never touches a file.
"""

import math
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from pykeen.models import ERModel
from pykeen.nn.representation import Representation
from pykeen.utils import NoRandomSeedNecessary
from torch import Tensor, nn

from kge.anchors import Anchors, build_anchors
from kge.blocks import popularity
from kge.config import TransRAConfig
from kge.interaction import BiasedTransRAInteraction, TransRAInteraction
from kge.triples import Graph

#: Added to an entity's relative frequency before the logarithm: the rarest start at log 0.1.
_RARE = 0.1


def compose(
    own: Float[Tensor, "n d"],
    gate: Float[Tensor, "n"],
    anchors: Float[Tensor, "a d"],
    leaning: tuple[Int[Tensor, "n s"], Float[Tensor, "n s"]],
) -> Float[Tensor, "n d"]:
    """`e = g x + (1 - g) sum_s alpha_s A_s` row by row; `leaning` = (anchor rows, alpha)."""
    nearest, alpha = leaning
    leaned = nn.functional.embedding_bag(nearest, anchors, per_sample_weights=alpha, mode="sum")
    return gate[:, None] * own + (1.0 - gate)[:, None] * leaned


class AnchoredEmbedding(Representation):
    """Entity vectors that lean on anchors the more, the fewer edges they have.

    `e_v = g_v x_v + (1 - g_v) alpha_v A_tau`, see `kge.anchors`. With every g = 1 it is a plain
    embedding. Implements the idea of TransRA, arXiv 2508.02609; our design in the details.
    """

    def __init__(self, anchors: Anchors, *, dim: int, max_norm: float, seed: int) -> None:
        super().__init__(max_id=len(anchors.gate), shape=dim, unique=False)
        self.max_norm = max_norm
        self.seed = seed
        self.own = nn.Parameter(torch.empty(len(anchors.gate), dim))
        self.anchors = nn.Parameter(torch.empty(anchors.total, dim))
        self.gate: Tensor
        self.nearest: Tensor
        self.weight: Tensor
        self.register_buffer("gate", torch.from_numpy(anchors.gate))
        self.register_buffer("nearest", torch.from_numpy(anchors.nearest))
        self.register_buffer("weight", torch.from_numpy(anchors.weight))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal rows of expected length half the norm ball; anchors start at a tenth of that."""
        generator = torch.Generator().manual_seed(self.seed)
        spread = 0.5 * self.max_norm / math.sqrt(self.shape[0])
        nn.init.normal_(self.own, std=spread, generator=generator)
        nn.init.normal_(self.anchors, std=0.1 * spread, generator=generator)

    def _plain_forward(self, indices: Tensor | None = None) -> Tensor:
        rows = torch.arange(self.max_id) if indices is None else indices.reshape(-1)
        composed = self.rows(rows, self.own[rows])
        return composed if indices is None else composed.view(*indices.shape, -1)

    def rows(self, rows: Int[Tensor, "n"], own: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Composed vectors of some rows whose own parts are given (as leaves of a gradient)."""
        leaning = (self.nearest[rows], self.weight[rows])
        return compose(own, self.gate[rows], self.anchors, leaning)

    def post_parameter_update(self) -> None:
        """Pull every own vector back into the norm ball (PyKEEN's training loops call this)."""
        with torch.no_grad():
            self.own.copy_(clip_rows(self.own, self.max_norm))


class Table(Representation):
    """One free parameter per id, starting (and restarting) at given values."""

    def __init__(self, start: Float[Tensor, "n ..."]) -> None:
        super().__init__(max_id=len(start), shape=tuple(start.shape[1:]), unique=False)
        self.start = start
        self.values = nn.Parameter(start.clone())

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.values.copy_(self.start)

    def _plain_forward(self, indices: Tensor | None = None) -> Tensor:
        return self.values if indices is None else self.values[indices]


class Parts(NamedTuple):
    """What a model is made of. Relations in PyKEEN's order: 2r forward, 2r + 1 reciprocal."""

    vectors: AnchoredEmbedding
    bias: Table | None
    translations: Table
    matrices: Table


def clip_rows(rows: Float[Tensor, "n d"], max_norm: float) -> Float[Tensor, "n d"]:
    """Rows shortened to length `max_norm` where they are longer."""
    norm = rows.norm(dim=1, keepdim=True)
    return rows * (max_norm / norm.clamp_min(1e-12)).clamp_max(1.0)


def build_model(graph: Graph, config: TransRAConfig) -> ERModel:
    """Compose TransRA for a graph: entity vectors (and tail bias), r and M_r of both directions.

    The bias starts at the log of how often an entity is a tail, so that vectors need not learn
    popularity and do not lean on it; our design. Relations are in PyKEEN's order: 2r forward, then
    2r + 1 reciprocal.
    """
    factory = graph.factory()
    count, dim, width = factory.num_relations, config.dim, config.relation_dim
    generator = torch.Generator().manual_seed(config.seed + 1)
    vectors = AnchoredEmbedding(
        build_anchors(graph, config), dim=dim, max_norm=config.max_norm, seed=config.seed
    )
    noise = torch.randn(count, width, dim, generator=generator) * config.matrix_noise
    matrices = config.matrix_gain * (torch.eye(width, dim) + noise / math.sqrt(dim))
    entities: list[Representation] = [vectors]
    if config.bias:
        start = np.log(popularity(graph, config) + _RARE)
        entities.append(Table(torch.from_numpy(start.astype(np.float32))))
    return ERModel(
        triples_factory=factory,
        interaction=BiasedTransRAInteraction() if config.bias else TransRAInteraction(),
        entity_representations=entities,
        relation_representations=[Table(torch.zeros(count, width)), Table(matrices)],
        random_seed=NoRandomSeedNecessary,  # PyKEEN would seed the whole process
    )


def parts(model: ERModel) -> Parts:
    """The representations of a model that was made by `build_model`, by name."""
    entities, relations = model.entity_representations, model.relation_representations
    return Parts(
        vectors=cast("AnchoredEmbedding", entities[0]),
        bias=cast("Table", entities[1]) if len(entities) > 1 else None,
        translations=cast("Table", relations[0]),
        matrices=cast("Table", relations[1]),
    )
