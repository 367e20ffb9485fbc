"""TransRA as a PyKEEN model: representations and interaction, composed from instances.

Takes a graph and dials, gives an `ERModel` that PyKEEN's own loops and evaluators accept; never
trains and never touches a file.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pykeen.models import ERModel
from pykeen.nn.representation import Representation
from pykeen.utils import NoRandomSeedNecessary
from torch import Tensor, nn

from kge.anchors import Anchors, build_anchors
from kge.blocks import popularity
from kge.config import TransRAConfig
from kge.errors import ConfigError
from kge.interaction import interaction_of
from kge.projection import Matrices, build_matrices
from kge.symmetry import both_ways
from kge.triples import Graph

#: Added to an entity's relative frequency before the logarithm: the rarest start at log 0.1.
_RARE = 0.1
#: Entities whose vectors are composed at once: several copies of these exist meanwhile.
_PIECE = 1 << 15


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
        self.entity: Tensor
        #: the row of the entity behind each anchor, -1 behind a prior
        behind = np.concatenate([np.full(anchors.priors, -1), anchors.entity]).astype(np.int32)
        self.register_buffer("entity", torch.from_numpy(behind))
        self.register_buffer("gate", torch.from_numpy(anchors.gate))
        self.register_buffer("nearest", torch.from_numpy(anchors.nearest))
        self.register_buffer("weight", torch.from_numpy(anchors.weight))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal rows of expected length half the norm ball, or 0.5; anchors start at a tenth."""
        generator = torch.Generator().manual_seed(self.seed)
        spread = 0.5 * min(self.max_norm, 1.0) / math.sqrt(self.shape[0])
        nn.init.normal_(self.own, std=spread, generator=generator)
        nn.init.normal_(self.anchors, std=0.1 * spread, generator=generator)

    def _plain_forward(self, indices: Tensor | None = None) -> Tensor:
        rows = torch.arange(self.max_id) if indices is None else indices.reshape(-1)
        composed = self.rows(rows, self.own[rows])
        return composed if indices is None else composed.view(*indices.shape, -1)

    def rows(self, rows: Int[Tensor, "n"], own: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Composed vectors of some rows whose own parts are given (as leaves of a gradient)."""
        leaning = (self.nearest.index_select(0, rows), self.weight.index_select(0, rows))
        return compose(own, self.gate.index_select(0, rows), self.anchors, leaning)

    @cached_property
    def composed(self) -> bool:
        """Whether any entity leans on anchors at all."""
        return bool((self.gate < 1.0).any())

    @torch.no_grad()
    def every(self) -> NDArray[np.float32]:
        """[N, d] composed vectors of all entities, made piece by piece."""
        made = np.empty((self.max_id, self.shape[0]), dtype=np.float32)
        for rows in torch.arange(self.max_id).split(_PIECE):
            made[rows[0] : rows[-1] + 1] = self.rows(rows, self.own[rows]).numpy()
        return made

    def leaned_on(self) -> Int[Tensor, "N s"]:
        """int32 rows of the entities behind the anchors of every entity, -1 for priors."""
        return self.entity[self.nearest]

    def leaning(self) -> Float[Tensor, "N s"]:
        """The share of its vector that each anchor of an entity gives: `(1 - g) alpha`."""
        return (1.0 - self.gate[:, None]) * self.weight

    def pull(
        self, rows: Int[Tensor, "n"], slope: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "a d"]]:
        """The gradients by own parts and anchors, from that by the composed vectors of rows."""
        gate = self.gate.index_select(0, rows)[:, None]
        nearest, weight = self.nearest.index_select(0, rows), self.weight.index_select(0, rows)
        weight, by_anchors = (1.0 - gate) * weight, torch.zeros_like(self.anchors)
        for column in range(nearest.shape[1]):
            by_anchors.index_add_(0, nearest[:, column], slope * weight[:, column, None])
        return gate * slope, by_anchors

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
    matrices: Matrices
    #: None: tails go through the same matrices as heads, or stay where they are
    tail_matrices: Matrices | None


def clip_rows(rows: Float[Tensor, "n d"], max_norm: float) -> Float[Tensor, "n d"]:
    """Rows shortened to length `max_norm` where they are longer."""
    norm = rows.norm(dim=1, keepdim=True)
    return rows * (max_norm / norm.clamp_min(1e-12)).clamp_max(1.0)


def build_model(graph: Graph, config: TransRAConfig) -> ERModel:
    """Compose TransRA for a graph: entity vectors (and tail bias), r and M_r.

    The bias starts at the log of how often an entity is a tail, so that vectors need not learn
    popularity and do not lean on it; our design. With reciprocal relations they are in PyKEEN's
    order: 2r forward, then 2r + 1 reciprocal. Raises `ConfigError` for dials of several members,
    each of which is a model: see `kge.members.alone`.
    """
    if config.members > 1:
        raise ConfigError(f"members of one model should be 1, received {config.members}")
    factory = graph.factory(reciprocal=config.reciprocal)
    count = factory.num_relations
    draw = torch.Generator().manual_seed(config.seed + 1)
    vectors = AnchoredEmbedding(
        build_anchors(graph, config), dim=config.dim, max_norm=config.max_norm, seed=config.seed
    )
    entities: list[Representation] = [vectors]
    if config.bias:
        start = np.log(popularity(graph, config) + _RARE)
        entities.append(Table(torch.from_numpy(start.astype(np.float32))))
    relations: list[Representation] = [
        Table(torch.zeros(count, config.relation_dim)),
        build_matrices(count, config, draw, _reflected(graph, config)),
    ]
    if config.tails == "own":
        relations.append(build_matrices(count, config, draw))
    return ERModel(
        triples_factory=factory,
        interaction=interaction_of(config),
        entity_representations=entities,
        relation_representations=relations,
        random_seed=NoRandomSeedNecessary,  # PyKEEN would seed the whole process
    )


def _reflected(graph: Graph, config: TransRAConfig) -> NDArray[np.bool_] | None:
    """Which matrices, in PyKEEN's order, begin as reflections: those of relations both ways.

    Such a relation has a reflection for its matrix. Training from the identity does not find it: it
    stops at vectors of heads and tails that are nearly equal, and everybody is the best answer to
    his own question. Where tails go through the same matrix it would change nothing. Our design.
    """
    if not config.matrix_flips or config.tails == "same":
        return None
    return np.repeat(both_ways(graph), 2 if config.reciprocal else 1)


def parts(model: ERModel) -> Parts:
    """The representations of a model that was made by `build_model`, by name."""
    entities: Sequence[Representation] = model.entity_representations
    relations: Sequence[Representation] = model.relation_representations
    return Parts(
        vectors=cast("AnchoredEmbedding", entities[0]),
        bias=cast("Table", entities[1]) if len(entities) > 1 else None,
        translations=cast("Table", relations[0]),
        matrices=cast("Matrices", relations[1]),
        tail_matrices=cast("Matrices", relations[2]) if len(relations) > 2 else None,
    )
