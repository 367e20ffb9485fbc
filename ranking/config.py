"""The dials of the room. Takes values, gives checked dataclasses; never reads the environment.

Defaults that were tried against others (dropout, ID rows, attention's width) were chosen on the
VALID span of MovieLens-100k; TEST figures had been printed before two of them became defaults
(docs/demo.md). The rest are our design.
"""

from dataclasses import dataclass, field
from typing import Any

from ranking.errors import ConfigError

#: none: no KGE. frozen: KGE vectors concatenated. attention: KGE attended to by the ID rows.
ARMS = ("none", "frozen", "attention")
#: What a ranker may answer: how likely a click is; a conversion given a click; both.
HEADS = {"ctr": ("ctr",), "cvr": ("cvr",), "ctr_cvr": ("ctr", "cvr")}
#: How two heads share what lies between the features and their towers.
SHARING = ("bottom", "mmoe")
#: How logits become probabilities.
CALIBRATIONS = ("platt", "isotonic")


def _check(ok: bool, name: str, should: str, received: Any) -> None:
    if not ok:
        raise ConfigError(f"{name} should be {should}, received {received!r}")


def _positive_int(name: str, value: int) -> None:
    _check(isinstance(value, int) and value >= 1, name, "a whole number of at least 1", value)


def _share(name: str, value: float) -> None:
    _check(0.0 <= value < 1.0, name, "at least 0 and below 1", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureConfig:
    """How rows become numbers."""

    #: Pseudo exposures at the base rate in a head's smoothed rate; higher trusts its counts less.
    head_smoothing: float = 10.0
    #: Pseudo exposures at the base rate in a tail's smoothed rate.
    tail_smoothing: float = 10.0
    #: TRAIN rows a category or list element needs for an embedding of its own.
    min_rows: int = 5
    #: Elements of a list attribute that are read; later ones are ignored.
    list_width: int = 8
    #: Whether to learn from the place an exposure had, where TRAIN names at least two; scores are
    #: then for `served_place`, so that what was shown on top is not taken for good.
    position: bool = True
    #: Places, from 0, that have numbers of their own; all later ones share the last.
    places: int = 32
    #: The place that scores are for unless the request names one.
    served_place: int = 0
    #: Whether to learn from the hour of day (UTC) of an exposure; scores are for the present one.
    hour: bool = False

    def __post_init__(self) -> None:
        _check(self.head_smoothing > 0, "head_smoothing", "above 0", self.head_smoothing)
        _check(self.tail_smoothing > 0, "tail_smoothing", "above 0", self.tail_smoothing)
        _positive_int("min_rows", self.min_rows)
        _positive_int("list_width", self.list_width)
        _positive_int("places", self.places)
        _check(
            isinstance(self.served_place, int) and self.served_place >= 0,
            "served_place",
            "a whole number of at least 0",
            self.served_place,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class IdTableConfig:
    """The ID tables of heads and tails."""

    #: Numbers per row.
    dim: int = 32
    #: TRAIN rows an id needs for a row of its own; rarer ids share hashed rows.
    min_rows: int = 5
    #: Most rows that belong to one id alone; the most frequent ids get them.
    max_exclusive: int = 1 << 20
    #: Hashed rows for all other ids; more means fewer collisions.
    buckets: int = 1024

    def __post_init__(self) -> None:
        for name in ("dim", "min_rows", "max_exclusive", "buckets"):
            _positive_int(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossingConfig:
    """The crossing layers: the masked low-rank one and its rival without a mask."""

    #: ml_dcn | dcn_v2
    kind: str = "ml_dcn"
    #: Crossing layers in a row; each raises the degree of interactions by one.
    layers: int = 2
    #: Rank r as a share of the input width D.
    rank_share: float = 0.125
    #: Width q of the mask's hidden layer as a share of r (rho).
    mask_share: float = 0.5
    #: False turns the instance-conditioned mask into m = 1.
    mask: bool = True
    #: False leaves out the LayerNorm after each layer.
    layer_norm: bool = True

    def __post_init__(self) -> None:
        _check(self.kind in ("ml_dcn", "dcn_v2"), "kind", "ml_dcn or dcn_v2", self.kind)
        _positive_int("layers", self.layers)
        _check(0 < self.rank_share <= 1, "rank_share", "above 0 and at most 1", self.rank_share)
        _check(0 < self.mask_share <= 1, "mask_share", "above 0 and at most 1", self.mask_share)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """The attention of ID rows over frozen KGE tokens."""

    #: Attention heads; must divide `width`.
    heads: int = 4
    #: Numbers in all queries, keys and values of a token together.
    width: int = 64
    #: Numbers in the pooled dense context of the query.
    context: int = 16
    #: The gate's logit before training; sigmoid(-2) = .12 lets the ID row lead.
    gate: float = -2.0

    def __post_init__(self) -> None:
        for name in ("heads", "width", "context"):
            _positive_int(name, getattr(self, name))
        _check(self.width % self.heads == 0, "width", f"a multiple of {self.heads}", self.width)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadsConfig:
    """What a ranker answers, and how its heads share the work."""

    #: ctr (a click) | cvr (a conversion, given a click) | ctr_cvr (both)
    kind: str = "ctr"
    #: bottom: one crossing stack for all heads. mmoe: several, of which each head mixes its own.
    sharing: str = "bottom"
    #: Crossing stacks of `mmoe`; each costs as much as the one of `bottom`.
    experts: int = 4
    #: What the loss of cvr counts beside that of ctr; each is a mean over the rows it is known of.
    cvr_weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self.kind in HEADS, "kind", f"one of {', '.join(HEADS)}", self.kind)
        _check(self.sharing in SHARING, "sharing", " or ".join(SHARING), self.sharing)
        _positive_int("experts", self.experts)
        _check(self.cvr_weight > 0, "cvr_weight", "above 0", self.cvr_weight)

    @property
    def names(self) -> tuple[str, ...]:
        """The heads, in the order of the model's logits."""
        return HEADS[self.kind]

    @property
    def stacks(self) -> int:
        """Crossing stacks."""
        return self.experts if self.sharing == "mmoe" else 1

    def weight(self, name: str) -> float:
        """What the loss of a head counts."""
        return self.cvr_weight if name == "cvr" and len(self.names) > 1 else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """The loop."""

    #: Most passes over TRAIN.
    epochs: int = 12
    #: Most TRAIN rows that are learned from, the newest; 0: all.
    most_rows: int = 0
    #: Share of the TRAIN rows without a click that are learned from, drawn by chance. Fewer are
    #: faster; scores are corrected for it.
    negatives_kept: float = 1.0
    #: Rows per step.
    batch: int = 512
    #: AdamW's step for everything but the ID tables.
    learning_rate: float = 2e-3
    #: The ID tables' learning rate as a share of `learning_rate`.
    table_share: float = 0.1
    #: AdamW's decay of matrices; none on tables, biases and gates.
    weight_decay: float = 1e-2
    #: Epochs without a better VALID log loss before the loop stops.
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            _positive_int(name, getattr(self, name))
        _check(
            isinstance(self.most_rows, int) and self.most_rows >= 0,
            "most_rows",
            "a whole number of at least 0",
            self.most_rows,
        )
        _check(
            0 < self.negatives_kept <= 1,
            "negatives_kept",
            "above 0 and at most 1",
            self.negatives_kept,
        )
        _check(self.learning_rate > 0, "learning_rate", "above 0", self.learning_rate)
        _check(self.table_share > 0, "table_share", "above 0", self.table_share)
        _check(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """All that makes one ranker."""

    #: none | frozen | attention: how the KGE enters.
    arm: str = "attention"
    #: Whether the KGE arms also read the bundle's own scores of (head, relation, tail).
    match: bool = True
    #: Numbers per embedded category or list attribute.
    attribute_dim: int = 8
    #: Hidden numbers of the MLP above the crossing layers.
    hidden: int = 64
    #: Share of inputs and hidden numbers set to 0 while training.
    dropout: float = 0.5
    #: Share of heads and of tails whose ID row is hidden while training, so that the ranker learns
    #: what to do about a stranger.
    id_dropout: float = 0.5
    #: platt (two numbers) | isotonic (any rising curve; wants many outcomes in CALIBRATE)
    calibration: str = "platt"
    #: Initial weights, order of rows and dropout follow from it.
    seed: int = 0
    features: FeatureConfig = field(default_factory=FeatureConfig)
    ids: IdTableConfig = field(default_factory=IdTableConfig)
    crossing: CrossingConfig = field(default_factory=CrossingConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        _check(self.arm in ARMS, "arm", f"one of {', '.join(ARMS)}", self.arm)
        _check(
            self.calibration in CALIBRATIONS,
            "calibration",
            " or ".join(CALIBRATIONS),
            self.calibration,
        )
        _positive_int("attribute_dim", self.attribute_dim)
        _positive_int("hidden", self.hidden)
        _share("dropout", self.dropout)
        _share("id_dropout", self.id_dropout)
        _check(self.seed >= 0, "seed", "at least 0", self.seed)
