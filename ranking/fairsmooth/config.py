"""The dials of FairSmooth. Takes values, gives a checked dataclass; never reads the environment."""

import math
from dataclasses import dataclass

from ranking.checks import check, positive, whole

#: How a logit becomes a score in [0, 1], before noise: sigmoid | step (1 above 0, else 0).
LINKS = ("sigmoid", "step")


@dataclass(frozen=True, kw_only=True, slots=True)
class FairSmoothConfig:
    """How groups' classifiers are fitted, held together and certified."""

    #: s: deviation of the noise on every smoothed weight. More promises more and says less.
    scale: float = 0.3
    #: lambda: how strongly each group's classifier is held to the mean of all groups'. 0 holds
    #: none, and then a certificate promises next to nothing.
    proximity: float = 1e-2
    #: Weight of half the squared length of the smoothed weights, beside a mean loss.
    ridge: float = 1e-4
    #: Times that all groups are fitted and averaged.
    rounds: int = 5
    #: Most steps of one fit.
    steps: int = 100
    #: R: the most that a group's classifier may be away from the mean; inf: any.
    radius: float = math.inf
    #: sigmoid: a score is a probability. step: noise is all that is left to chance, so decisions
    #: are nearly those of a threshold; of `FairSmoothClassifier` alone, and it learns by sigmoid.
    link: str = "sigmoid"
    #: How far labels are made as frequent in each group as in all: 0 leaves rows as they are, with
    #: 1 they count as if they were. Of `FairSmoothClassifier` alone: probabilities of groups move.
    balance: float = 0.0
    #: Rows without which a group has no classifier of its own.
    least_rows: int = 50
    #: Rows of each label without which it has none.
    least_outcomes: int = 10
    #: How sure the measured rates of a certificate are, all of them at once.
    confidence: float = 0.95
    #: Seed of every draw.
    seed: int = 0

    def __post_init__(self) -> None:
        positive("scale", self.scale)
        for name in ("proximity", "ridge"):
            value = getattr(self, name)
            check(0 <= value < math.inf, name, "at least 0 and finite", value)
        for name in ("rounds", "steps", "least_rows", "least_outcomes"):
            whole(name, getattr(self, name), 1)
        check(0 <= self.balance <= 1, "balance", "from 0 to 1", self.balance)
        check(self.radius > 0, "radius", "above 0", self.radius)
        check(self.link in LINKS, "link", " or ".join(LINKS), self.link)
        check(0 < self.confidence < 1, "confidence", "above 0 and below 1", self.confidence)
        whole("seed", self.seed, 0)
