"""The dials of this room. Takes values, gives checked ones; never reads the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kge.errors import ConfigError, UnknownRelation

Loss = Literal["softmax", "margin"]
Projection = Literal["full", "low_rank", "block"]
Tails = Literal["same", "own", "still"]
Inverse = Literal["own", "transpose"]
Candidates = Literal["type", "range", "any"]
AnchorChoice = Literal["degree", "kmeans", "mixed"]
Optimizer = Literal["adagrad", "adam"]
Precision = Literal["float32", "bfloat16"]
_Number = int | float
#: The facet that every bundle has: that of all relations.
ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class TransRAConfig:
    """How TransRA is built and trained.

    The defaults suit graphs of what people do. `kge/policy.py` derives from a graph what nobody
    set, and says why.
    """

    #: Length d of an entity's vector.
    dim: int = 64
    #: Length k of a vector in a relation's space.
    relation_dim: int = 64
    #: Form of M_r: full; low_rank = a diagonal plus a product of rank `projection_rank`;
    #: block = block-diagonal with `projection_blocks` blocks.
    projection: Projection = "full"
    #: Rank of low-rank matrices.
    projection_rank: int = 16
    #: Number of blocks of block-diagonal matrices; divides dim and relation_dim.
    projection_blocks: int = 4
    #: Models that learn one after the other, whose scores add up. Each has an equal part of dim,
    #: of relation_dim and of the blocks of block-diagonal matrices; members divide all of these.
    members: int = 1
    #: Which matrix tails go through: same = M_r as heads (TransR), own = a second one, still = none
    #: (needs relation_dim = dim).
    tails: Tails = "same"
    #: A learned score b_t per tail: how often it is chosen whoever asks.
    bias: bool = True
    #: Whether (t, r', h) is learned beside (h, r, t) with an r' of its own; without it heads are
    #: scored by the same r, as in the original TransR, and there is no bias.
    reciprocal: bool = True
    #: M_r' of the reciprocal: own = learned beside M_r, transpose = M_r turned over, so that it
    #: learns from both directions (needs still tails).
    inverse: Inverse = "own"
    #: Longest own vector x_v (length); longer rows are pulled back after each update.
    max_norm: float = 1.0
    #: M_r starts at this times (identity + noise): the spread of scores at the start.
    matrix_gain: float = 2.0
    #: Size of that noise relative to the identity.
    matrix_noise: float = 0.1
    #: Share of the rows of M_r that start negated where a relation goes both ways, so that its
    #: matrix has to become a reflection; unused where tails go through the same matrix.
    matrix_flips: float = 0.0

    #: c in g = n / (n + c), edges: an entity with c edges is half its own; 0 = no anchors (g = 1).
    gate_edges: float = 20.0
    #: Anchors per entity type beside the type's prior.
    anchors_per_type: int = 32
    #: degree = entities with the most edges; kmeans = the most typical of clusters of
    #: neighborhoods; mixed = half of each.
    anchor_choice: AnchorChoice = "degree"
    #: Entity type that owns others by a structural relation to it.
    anchor_owner: str = "advertiser"
    #: Most anchors of a type that one owner has; 0 = no bound.
    anchors_per_owner: int = 4
    #: s, how many anchors an entity leans on.
    nearest_anchors: int = 4
    #: Softness of alpha (cosine units): smaller leans on the nearest alone.
    anchor_temperature: float = 0.1
    #: Rows per type that hold the coordinate frame.
    frame_per_type: int = 64
    #: lambda_A, how strongly a refresh holds them where the bundle before had them (score units);
    #: 0 = a frame of its own.
    frame_weight: float = 1.0
    #: Share of `epochs` that a refresh trains, at the learning rates of a training's last ones.
    refresh_share: float = 0.2

    #: softmax = weighted sampled softmax with logQ correction; margin = the original TransR loss.
    loss: Loss = "softmax"
    #: Margin of the margin loss (score units); unused by softmax.
    margin: float = 1.0
    #: Where negatives come from: type = entities of the tail's type; range = entities seen in that
    #: place of the relation; any = every entity.
    candidates: Candidates = "type"
    #: Negatives that a batch shares; where at most twice as many exist, all of them.
    negatives: int = 1024
    #: Share of a member's training, from its beginning, in which `early_negatives` are drawn even
    #: where all could be taken; 0: none.
    early_share: float = 0.0
    #: Negatives that a batch shares while a training is early: who knows little yet learns as much
    #: from few, and a batch costs a fraction.
    early_negatives: int = 2048
    #: Negatives are drawn with probability ~ (degree + 1)^power.
    negative_power: float = 0.5
    #: Positive edges per block (one relation, one direction); at most those of a batch, whose
    #: blocks are whole.
    block: int = 1024
    #: Positive edges per batch: blocks whose gradients move the parameters together.
    batch: int = 1024
    #: How often each edge of what people do is seen in each direction, on average; in a graph
    #: without such edges, every edge.
    epochs: float = 6.0
    #: Share of the positives that come from what people do (onsite and offsite relations), where
    #: a graph has both kinds; 0 = by count.
    behavior_share: float = 0.8
    #: Within each kind a relation of E edges gets positives ~ E^a; 1 = by count, 0 = all alike.
    tempering: float = 1.0
    #: Share of heads that are replaced by their type's prior, so that it learns to stand in.
    prior_share: float = 0.05
    #: Share of a head's coordinates that are dropped while training.
    dropout: float = 0.4
    #: Share of a projected head's coordinates that are dropped while training.
    projected_dropout: float = 0.0
    #: Pull of own vectors towards 0 (L2; per touch, relative to the learning rate).
    decay: float = 0.0
    #: Weight of the nuclear 3-norm, `sum |x_i|^3` of a positive's head and tail (score units).
    n3: float = 0.0
    #: Weight of `||M_r h + r||^2 + ||M_r t||^2` of positives (score units).
    projected_l2: float = 0.0
    #: adagrad = row-wise; adam = row-wise, quicker on graphs that fit into few batches.
    optimizer: Optimizer = "adagrad"
    #: Step size of entity vectors and bias at the start; falls to 0 linearly.
    learning_rate: float = 0.05
    #: Step size of r, M_r and anchors at the start; falls to 0 linearly.
    relation_learning_rate: float = 0.02
    #: Numbers of the products: float32, or bfloat16 with float32 sums, for processors that have it.
    precision: Precision = "float32"
    #: After training, give those who act (users, say) the vector that fold-in gives their edges.
    settle: bool = True
    #: Edges that an entity's prior counts for where it is folded in (edges); larger keeps new
    #: entities nearer to it. Left alone, the service takes what ranks held-out outcomes best.
    prior_edges: float = 2.0
    #: Seeds initial values and all sampling.
    seed: int = 0

    def __post_init__(self) -> None:
        for field in _COUNTS:
            _at_least(field, getattr(self, field), 1)
        for field in _AMOUNTS:
            _at_least(field, getattr(self, field), 0)
        for field in _SIZES:
            _above(field, getattr(self, field), 0)
        for field in ("matrix_flips", "prior_share", "behavior_share", "refresh_share"):
            _share(field, getattr(self, field))
        for field in ("dropout", "projected_dropout", "early_share"):
            _part(field, getattr(self, field))
        for field, known in _CHOICES.items():
            _one_of(field, getattr(self, field), get_args(known))
        self._check_together()

    def _check_together(self) -> None:
        if self.inverse == "transpose" and not (self.reciprocal and self.tails == "still"):
            raise ConfigError(
                "inverse should be own unless relations are reciprocal and tails stay still, "
                f"received {self.inverse!r} with tails {self.tails!r}"
            )
        if self.tails == "still" and self.dim != self.relation_dim:
            raise ConfigError(
                f"relation_dim should be dim, {self.dim}, where tails stay still, "
                f"received {self.relation_dim}"
            )
        blocks = self.projection_blocks if self.projection == "block" else 0
        if any(size % self.members for size in (self.dim, self.relation_dim, blocks)):
            raise ConfigError(
                "members should divide dim, relation_dim and the blocks of block-diagonal "
                f"matrices, received {self.members} with dim {self.dim}, relation_dim "
                f"{self.relation_dim}" + (f" and {blocks} blocks" if blocks else "")
            )
        if self.bias and not self.reciprocal:
            raise ConfigError(
                "bias should be false without reciprocal relations: b_t is a tail's, and heads "
                "are scored too"
            )


#: Whole numbers of at least 1, where they are set.
_COUNTS = (
    *("dim", "relation_dim", "projection_rank", "projection_blocks", "anchors_per_type"),
    *("nearest_anchors", "frame_per_type", "negatives", "early_negatives", "block", "batch"),
    "members",
)
#: Numbers of at least 0.
_AMOUNTS = (
    *("gate_edges", "matrix_noise", "decay", "negative_power", "tempering"),
    *("n3", "projected_l2", "frame_weight", "anchors_per_owner"),
)
#: Numbers above 0.
_SIZES = (
    *("max_norm", "matrix_gain", "anchor_temperature", "epochs", "margin"),
    *("learning_rate", "relation_learning_rate", "refresh_share", "prior_edges"),
)
_CHOICES = {
    "anchor_choice": AnchorChoice,
    "loss": Loss,
    "projection": Projection,
    "tails": Tails,
    "inverse": Inverse,
    "candidates": Candidates,
    "optimizer": Optimizer,
    "precision": Precision,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldInConfig:
    """How a vector is made for an entity that training never saw."""

    #: See `TransRAConfig`.
    prior_edges: float = 2.0
    #: Longest vector that fold-in gives, as a multiple of the longest one that training gave.
    max_norm_ratio: float = 1.0

    def __post_init__(self) -> None:
        _above("prior_edges", self.prior_edges, 0)
        _above("max_norm_ratio", self.max_norm_ratio, 0)


def _above(field: str, value: _Number, bound: int) -> None:
    if not value > bound:
        raise ConfigError(f"{field} should be above {bound}, received {_plain(value)}")


def _at_least(field: str, value: _Number, bound: int) -> None:
    if not value >= bound:
        raise ConfigError(f"{field} should be at least {bound}, received {_plain(value)}")


def _share(field: str, value: _Number) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{field} should be from 0 to 1, received {_plain(value)}")


def _part(field: str, value: _Number) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{field} should be from 0 to less than 1, received {_plain(value)}")


def _plain(value: _Number) -> str:
    """As people write it: -3 and not -3.0; at most as long as a line shows."""
    return f"{value!r:.80}".removesuffix(".0")


def _one_of(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{field} should be one of {', '.join(known)}, received {value!r}")


#: Of fewer a picture shows nothing; more take hours.
_LEAST_LANDMARKS, _MOST_LANDMARKS = 1000, 1_000_000

#: auto chooses by count, dimension and memory; scan reads the bundle's own vectors.
IndexKind = Literal["auto", "exact", "hnsw", "ivf_sq8", "ivf_pq", "scan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """How nearest neighbors are found: what an index may take, and how good it has to be."""

    #: Which kind is tried first; auto = by count, dimension and memory.
    kind: IndexKind = "auto"
    #: Memory of all parts of an index (MiB, beside the bundle itself).
    memory_mib: int = 1024
    #: Up to so many entities of a type are searched exactly.
    exact_rows: int = 50_000
    #: Up to so many that pass a filter are looked at one by one.
    filter_rows: int = 20_000
    #: Below this recall@10, measured at build, a kind is not taken (share).
    least_recall: float = 0.95
    #: Queries that recall is measured with.
    sample: int = 256
    #: Links per entity of an HNSW graph; more = better and larger.
    links: int = 32
    #: Candidates looked at per entity while an HNSW graph is built; more = better and slower.
    construction: int = 80
    #: What a server keeps of relations that were asked about (MiB): 4 bytes per tail of each.
    relation_mib: int = 256

    def __post_init__(self) -> None:
        if self.kind not in get_args(IndexKind):
            raise ConfigError(
                f"kind should be one of {', '.join(get_args(IndexKind))}, received {self.kind!r}"
            )
        for field in ("memory_mib", "relation_mib", "exact_rows", "filter_rows"):
            _at_least(field, getattr(self, field), 0)
        for field in ("sample", "construction"):
            _at_least(field, getattr(self, field), 1)
        _at_least("links", self.links, 2)
        _share("least_recall", self.least_recall)


@dataclass(frozen=True, kw_only=True, slots=True)
class MapConfig:
    """How the map of a bundle is made."""

    #: Whether retrains make one.
    enabled: bool = True
    #: Up to so many entities are laid out by their neighbors; others are put between those.
    landmarks: int = 100_000

    def __post_init__(self) -> None:
        if not _LEAST_LANDMARKS <= self.landmarks <= _MOST_LANDMARKS:
            raise ConfigError(
                f"landmarks should be {_LEAST_LANDMARKS} to {_MOST_LANDMARKS}, "
                f"received {self.landmarks}"
            )


def check_facets(groups: Mapping[str, Sequence[str]], relations: Sequence[str]) -> None:
    """Raise `UnknownRelation` for a facet that names none of the graph's relations, or another."""
    for facet, group in groups.items():
        if facet == ALL:
            raise UnknownRelation(f"facet {ALL} holds every relation; give the group another name")
        unknown = [name for name in group if name not in relations]
        if unknown or not group:
            raise UnknownRelation(
                f"relations of facet {facet} should be among {', '.join(relations)}, "
                f"received {', '.join(unknown) or 'none'}"
            )
