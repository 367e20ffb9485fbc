"""The dials of the room. Takes values, gives checked dataclasses; never reads the environment.

Learning rates, dropout, and attention's width and gate are one of the sets of dials that
`benchmarks/ladder.py` tries, chosen on the VALID span of MovieLens-100k, cut at the same moments
for all, as rankers are served; TEST figures of other sets had been printed before. Why that cut is
in `docs/decisions/0051-dials-are-chosen-as-rankers-are-served.md`. The rest are our design.
"""

from dataclasses import dataclass, field

from ranking.checks import check, one_of, positive_int, share, whole
from ranking.idtables.dials import IdTableConfig

#: The families of crossing layers, and the dial that makes each larger while all others stay;
#: `ranking/interactions/registry.py` has them by these names.
CROSSINGS = {
    "ml_dcn": "rank_share",
    "dcn_v2": "rank_share",
    "dcn_v2_full": "layers",
    "dcn_v2_mixture": "rank_share",
    "mask_net_serial": "hidden_share",
    "mask_net_parallel": "hidden_share",
    "wukong": "hidden_share",
    "rank_mixer": "hidden_share",
    "mlp": "hidden_share",
}
MASKS = ("instance", "constant", "second_block", "none")
NORMS = ("after", "before", "none")
PRECISIONS = ("float32", "bfloat16")
#: Dials of `CrossingConfig` that are shares, and the most that each may be.
SHARES = {"rank_share": 1, "hidden_share": 16, "token_share": 8, "mask_share": 4}
#: The most that a budget may be.
MOST_BUDGET = 64
#: The most that decay may take from a weight in one step, as a share.
_MOST_DECAY = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """How the KGE enters a ranker: what reads its vectors, and which side is trained."""

    #: LN(e_head), LN(e_tail) are concatenated.
    fields: bool = False
    #: ID rows begin at LN(e); without, at zero.
    begins: bool = False
    #: Whether ID rows are trained.
    rows: bool = True
    #: ID rows attend to the KGE's tokens.
    attends: bool = False
    #: Vectors of heads and tails in the tokens are trained, away from the bundle's.
    vectors: bool = False
    #: M_r and r in the tokens are trained, away from the bundle's.
    maps: bool = False

    @property
    def reads_kge(self) -> bool:
        return self.fields or self.begins or self.attends


#: The steps of the ladder, from no KGE to attention.
LADDER = ("none", "frozen", "initial", "both", "attention")
#: The ladder, then its swaps: what `attention` freezes is trained. `attention_swapped` trades the
#: sides: keys and values are trained, and the rows that ask stay at the KGE's vectors. In
#: `attention_blank` rows begin at zero, as all did in rankers of before.
ARMS: dict[str, Arm] = {
    "none": Arm(),
    "frozen": Arm(fields=True),
    "initial": Arm(begins=True),
    "both": Arm(fields=True, begins=True),
    "attention": Arm(attends=True, begins=True),
    "attention_vectors": Arm(attends=True, begins=True, vectors=True),
    "attention_maps": Arm(attends=True, begins=True, maps=True),
    "attention_all": Arm(attends=True, begins=True, vectors=True, maps=True),
    "attention_swapped": Arm(attends=True, begins=True, rows=False, vectors=True),
    "attention_blank": Arm(attends=True),
}
#: What a ranker may answer: how likely a click is; a conversion given a click; both.
HEADS = {"ctr": ("ctr",), "cvr": ("cvr",), "ctr_cvr": ("ctr", "cvr")}
#: How two heads share what lies between the features and their towers.
SHARING = ("bottom", "mmoe")
#: How logits become probabilities.
CALIBRATIONS = ("platt", "isotonic")
#: Where the upper model of a ranker that answers runs.
DEVICES = ("auto", "none", "cuda")


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
        check(self.head_smoothing > 0, "head_smoothing", "above 0", self.head_smoothing)
        check(self.tail_smoothing > 0, "tail_smoothing", "above 0", self.tail_smoothing)
        positive_int("min_rows", self.min_rows)
        positive_int("list_width", self.list_width)
        positive_int("places", self.places)
        check(
            isinstance(self.served_place, int) and self.served_place >= 0,
            "served_place",
            "a whole number of at least 0",
            self.served_place,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossingConfig:
    """The crossing layers. A dial that a family does not have says nothing to it.

    Widths are shares of D, the width of what enters the first layer, so that the same dials fit any
    data. What makes a family larger: `rank_share`, `hidden_share`, or `layers` of dcn_v2_full.
    """

    #: One of CROSSINGS.
    kind: str = "ml_dcn"
    #: Layers or blocks: one behind the other, but side by side in mask_net_parallel.
    layers: int = 2
    #: Rank r as a share of D; of each expert in dcn_v2_mixture.
    rank_share: float = 0.125
    #: Low-rank experts of dcn_v2_mixture.
    experts: int = 4
    #: Hidden numbers as a share of D: of an mlp's layer, a MaskNet block, WuKong's MLP, and of the
    #: MLP of each of RankMixer's tokens.
    hidden_share: float = 0.5
    #: Tokens that D numbers are cut into, for wukong and rank_mixer.
    tokens: int = 8
    #: Numbers of a token of rank_mixer as a multiple of those that were cut for it.
    token_share: float = 1.0
    #: Columns that WuKong's products of tokens are compressed to.
    fm_rank: int = 8
    #: instance: of each example. constant: one for all. second_block: m = 1, and a second low-rank
    #: block of as many parameters as the mask would have. none: m = 1. All of ml_dcn.
    mask: str = "instance"
    #: layer: ml_dcn's mask is made from x_l. first: from x_0.
    mask_source: str = "layer"
    #: rank: it multiplies the r numbers between V and U. width: the D numbers behind U.
    mask_target: str = "rank"
    #: linear: it is not bounded. sigmoid: m = 2 sigmoid(.), between 0 and 2.
    mask_form: str = "linear"
    #: Width q of a mask's hidden layer (rho): as a share of r in ml_dcn, in MaskNet of what is
    #: masked.
    mask_share: float = 0.5
    #: Standard deviation of B, the last matrix of ml_dcn's mask, at the start; 0 starts as dcn_v2.
    mask_deviation: float = 0.0
    #: after: LayerNorm of what a layer gives. before: of what it reads. none: no LayerNorm.
    norm: str = "after"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, tuple(CROSSINGS))
        for name in ("layers", "experts", "fm_rank"):
            positive_int(name, getattr(self, name))
        several = isinstance(self.tokens, int) and self.tokens >= 2
        check(several, "tokens", "a whole number of at least 2", self.tokens)
        for name, most in SHARES.items():
            value = getattr(self, name)
            check(0 < value <= most, name, f"above 0 and at most {most}", value)
        one_of("mask", self.mask, MASKS)
        one_of("mask_source", self.mask_source, ("layer", "first"))
        one_of("mask_target", self.mask_target, ("rank", "width"))
        one_of("mask_form", self.mask_form, ("linear", "sigmoid"))
        check(self.mask_deviation >= 0, "mask_deviation", "at least 0", self.mask_deviation)
        one_of("norm", self.norm, NORMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """The attention of ID rows over frozen KGE tokens."""

    #: Attention heads; must divide `width`.
    heads: int = 4
    #: Numbers in all queries, keys and values of a token together.
    width: int = 32
    #: Numbers in the pooled dense context of the query.
    context: int = 16
    #: The gate's logit before training; sigmoid(0) = .5 mixes the ID row and what it attends to.
    gate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("heads", "width", "context"):
            positive_int(name, getattr(self, name))
        check(self.width % self.heads == 0, "width", f"a multiple of {self.heads}", self.width)


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
        check(self.kind in HEADS, "kind", f"one of {', '.join(HEADS)}", self.kind)
        check(self.sharing in SHARING, "sharing", " or ".join(SHARING), self.sharing)
        positive_int("experts", self.experts)
        check(self.cvr_weight > 0, "cvr_weight", "above 0", self.cvr_weight)

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
    learning_rate: float = 1.2e-3
    #: The ID tables' learning rate as a share of `learning_rate`.
    table_share: float = 0.3
    #: AdamW's decay of matrices, at most .05 / `learning_rate`; none on ID tables, biases, gates.
    weight_decay: float = 1e-2
    #: Epochs without a better VALID log loss before the loop stops.
    patience: int = 3
    #: Of the matrix products: bfloat16 is faster for large batches where the processor has it.
    #: Weights, sums over rows and scores are float32 in any case.
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            positive_int(name, getattr(self, name))
        one_of("precision", self.precision, PRECISIONS)
        check(
            isinstance(self.most_rows, int) and self.most_rows >= 0,
            "most_rows",
            "a whole number of at least 0",
            self.most_rows,
        )
        check(
            0 < self.negatives_kept <= 1,
            "negatives_kept",
            "above 0 and at most 1",
            self.negatives_kept,
        )
        check(self.learning_rate > 0, "learning_rate", "above 0", self.learning_rate)
        check(self.table_share > 0, "table_share", "above 0", self.table_share)
        check(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)
        most = _MOST_DECAY / self.learning_rate
        check(self.weight_decay <= most, "weight_decay", f"at most {most:g}", self.weight_decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """All that makes one ranker."""

    #: A name in `ARMS`: how the KGE enters.
    arm: str = "attention"
    #: Whether the KGE arms also read the bundle's own scores of (head, relation, tail).
    match: bool = True
    #: Numbers per embedded category or list attribute.
    attribute_dim: int = 8
    #: Hidden numbers of the MLP above the crossing layers.
    hidden: int = 64
    #: What a crossing stack and the MLP above it may cost per row, as a multiple of a low-rank
    #: DCNv2 of three layers of rank D / 8: what makes its family larger follows. 0: as that says.
    budget: float = 0.0
    #: Share of inputs and hidden numbers set to 0 while training.
    dropout: float = 0.2
    #: Share of heads and of tails whose ID row is hidden while training, so that the ranker learns
    #: what to do about a stranger.
    id_dropout: float = 0.75
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
        check(self.arm in ARMS, "arm", f"one of {', '.join(ARMS)}", self.arm)
        check(
            self.calibration in CALIBRATIONS,
            "calibration",
            " or ".join(CALIBRATIONS),
            self.calibration,
        )
        positive_int("attribute_dim", self.attribute_dim)
        positive_int("hidden", self.hidden)
        check(0 <= self.budget <= MOST_BUDGET, "budget", f"from 0 to {MOST_BUDGET}", self.budget)
        share("dropout", self.dropout)
        share("id_dropout", self.id_dropout)
        check(self.seed >= 0, "seed", "at least 0", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class TierConfig:
    """What a server declares of its tiers, for each ranker that it holds."""

    #: auto: the upper model runs on `cuda` where that is, else on the CPU. none: on the CPU. cuda:
    #: there, or the server does not start.
    device: str = "auto"
    #: MiB of the device that a ranker may take; its ID tables lie there only if all of it fits. 0:
    #: none is for tables, and the upper model is not bounded.
    device_mib: int = 0
    #: MiB that a ranker may take in the CPU tier, most of them tables that all processes share; 0:
    #: no bound. A ranker that takes more is not loaded, and what was live goes on answering.
    cpu_mib: int = 0

    def __post_init__(self) -> None:
        one_of("device", self.device, DEVICES)
        whole("device_mib", self.device_mib, 0)
        whole("cpu_mib", self.cpu_mib, 0)
