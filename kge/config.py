"""The dials of this room. Takes values, gives checked ones; never reads the environment."""

from dataclasses import dataclass
from typing import Literal, get_args

from kge.errors import ConfigError

Loss = Literal["softmax", "margin"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransRAConfig:
    """How TransRA is built and trained. The defaults are what the service uses for any graph."""

    #: Length d of an entity's vector.
    dim: int = 64
    #: Length k of a vector in a relation's space.
    relation_dim: int = 64
    #: A learned score b_t per tail: how often it is chosen whoever asks.
    bias: bool = True
    #: Longest own vector x_v (length); longer rows are pulled back after each update.
    max_norm: float = 1.0
    #: M_r starts at this times (identity + noise): the spread of scores at the start.
    matrix_gain: float = 2.0
    #: Size of that noise relative to the identity.
    matrix_noise: float = 0.1

    #: c in g = n / (n + c), edges: an entity with c edges is half its own; 0 = no anchors (g = 1).
    gate_edges: float = 20.0
    #: Anchors per entity type beside the type's prior.
    anchors_per_type: int = 32
    #: s, how many anchors an entity leans on.
    nearest_anchors: int = 4
    #: Softness of alpha (cosine units): smaller leans on the nearest alone.
    anchor_temperature: float = 0.1
    #: Rows per type that hold the coordinate frame.
    frame_per_type: int = 64

    #: softmax = weighted sampled softmax with logQ correction; margin = the original TransR loss.
    loss: Loss = "softmax"
    #: Margin of the margin loss (score units); unused by softmax.
    margin: float = 1.0
    #: Shared negatives per block; a type with at most twice as many is scored whole instead.
    negatives: int = 1024
    #: Negatives are drawn with probability ~ (degree + 1)^power within the tail type.
    negative_power: float = 0.5
    #: Positive edges per block (one relation, one direction).
    block: int = 1024
    #: How often each edge of what people do is seen in each direction, on average; in a graph
    #: without such edges, every edge.
    epochs: float = 6.0
    #: Share of the positives that come from what people do (onsite and offsite relations), where
    #: a graph has both kinds; None = by count.
    behavior_share: float | None = 0.8
    #: Within each kind a relation of E edges gets positives ~ E^a; 1 = by count, 0 = all alike.
    tempering: float = 1.0
    #: Share of heads that are replaced by their type's prior, so that it learns to stand in.
    prior_share: float = 0.05
    #: Share of a head's coordinates that are dropped while training.
    dropout: float = 0.4
    #: Pull of own vectors towards 0 (per touch, relative to the learning rate).
    decay: float = 0.0
    #: Step size of entity vectors and bias at the start (row-wise Adagrad); falls to 0 linearly.
    learning_rate: float = 0.05
    #: Step size of r, M_r and anchors at the start (Adagrad); falls to 0 linearly.
    relation_learning_rate: float = 0.02
    #: After training, give those who act (users, say) the vector that fold-in gives their edges.
    settle: bool = True
    #: Seeds initial values and all sampling.
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("dim", "relation_dim", "anchors_per_type", "nearest_anchors"):
            _at_least(field, float(getattr(self, field)), 1.0)
        for field in ("frame_per_type", "negatives", "block"):
            _at_least(field, float(getattr(self, field)), 1.0)
        for field in ("gate_edges", "matrix_noise", "decay", "negative_power", "tempering"):
            _at_least(field, getattr(self, field), 0.0)
        for field in ("max_norm", "matrix_gain", "anchor_temperature", "epochs", "margin"):
            _above(field, getattr(self, field), 0.0)
        for field in ("learning_rate", "relation_learning_rate"):
            _above(field, getattr(self, field), 0.0)
        for field in ("prior_share", "dropout"):
            _share(field, getattr(self, field))
        if self.behavior_share is not None:
            _share("behavior_share", self.behavior_share)
        if self.loss not in get_args(Loss):
            raise ConfigError(f"loss should be one of {get_args(Loss)}, received {self.loss!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldInConfig:
    """How a vector is made for an entity that training never saw."""

    #: How many edges the type's prior counts for (edges); larger keeps new entities nearer to it.
    prior_edges: float = 2.0
    #: Longest vector that fold-in gives, as a multiple of the longest one that training gave.
    max_norm_ratio: float = 1.0

    def __post_init__(self) -> None:
        _above("prior_edges", self.prior_edges, 0.0)
        _above("max_norm_ratio", self.max_norm_ratio, 0.0)


def _above(field: str, value: float, bound: float) -> None:
    if not value > bound:
        raise ConfigError(f"{field} should be above {bound}, received {value!r}")


def _at_least(field: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise ConfigError(f"{field} should be at least {bound}, received {value!r}")


def _share(field: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{field} should be from 0 to 1, received {value!r}")
