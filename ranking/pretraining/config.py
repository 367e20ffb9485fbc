"""The dials of pretraining. Takes values, gives checked ones; never reads the environment."""

from dataclasses import dataclass, field

from ranking.checks import check, one_of, positive, positive_int

#: The facet that is the bundle.
KGE = "kge"
#: What a table may be pretrained on; `registry.py` has them by these names.
FACET_NAMES = ("contrastive", KGE, "gnn")
#: How several facets become what a ranker reads.
COMBINATIONS = ("concat", "summed", "sequential")
BACKENDS = ("pyg", "dgl")


@dataclass(frozen=True, kw_only=True, slots=True)
class GnnConfig:
    """The graph network of the facet `gnn`."""

    #: In-edges that are sampled per entity while training, from the outermost layer inwards; as
    #: many layers as numbers.
    fanouts: tuple[int, ...] = (5, 5)
    #: pyg | dgl: which library does the message passing; both compute the same.
    backend: str = "pyg"

    def __post_init__(self) -> None:
        least = min(self.fanouts, default=0)
        check(least >= 1, "fanouts", "a number from 1 on per layer", self.fanouts)
        check(self.backend in BACKENDS, "backend", " or ".join(BACKENDS), self.backend)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingConfig:
    """Which facets there are, how they are joined, and how those that are trained here learn."""

    #: Names in FACET_NAMES, in the order in which a ranker reads them, or one trains the next.
    facets: tuple[str, ...] = ("contrastive",)
    #: concat: a table each, side by side after LayerNorm. summed: one table on the sum of the
    #: losses. sequential: one table, each facet beginning where the one before ended.
    combination: str = "concat"
    #: Numbers of a vector; the facet `kge` has those of the bundle.
    dim: int = 32
    #: Pairs per step; each is a negative of the others.
    batch: int = 1024
    #: Tails that are drawn alike beside them, negatives of all pairs of a batch.
    random_negatives: int = 1024
    #: Passes over the pairs.
    epochs: float = 2.0
    #: AdamW's step of a vector; it moves when it is named.
    learning_rate: float = 0.02
    #: Adam's step of the temperature and of a graph network's few weights.
    weight_rate: float = 0.01
    #: exp(-tau) at the start: differences of cosines are divided by it.
    temperature: float = 0.07
    #: Rows of the count-min sketch: each makes a wrong count less likely.
    sketch_depth: int = 4
    #: Counters of each row, a power of two: more make counts less wrong.
    sketch_width: int = 1 << 17
    #: Seeds vectors, order and draws.
    seed: int = 0
    gnn: GnnConfig = field(default_factory=GnnConfig)

    def __post_init__(self) -> None:
        known = len(self.facets) > 0 and set(self.facets) <= set(FACET_NAMES)
        known = known and len(set(self.facets)) == len(self.facets)
        check(known, "facets", f"some of {', '.join(FACET_NAMES)}, each once", list(self.facets))
        one_of("combination", self.combination, COMBINATIONS)
        for name in ("dim", "batch", "random_negatives", "sketch_depth"):
            positive_int(name, getattr(self, name))
        for name in ("epochs", "learning_rate", "weight_rate", "temperature"):
            positive(name, getattr(self, name))
        width = self.sketch_width
        power = isinstance(width, int) and width >= 2 and width & (width - 1) == 0
        check(power, "sketch_width", "a power of two of at least 2", width)
        check(self.seed >= 0, "seed", "at least 0", self.seed)
