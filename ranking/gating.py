"""The dials of the promotion gate. Takes values, gives a checked dataclass; never decides."""

import math
from dataclasses import dataclass

from ranking.checks import check, positive_int, share


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """When a candidate may take the champion's place. Our design."""

    #: AUC that a candidate may lose: a loss as great as this has to be excluded. 0 asks for a gain.
    auc_margin: float = 0.005
    #: The same of log loss, as a share of the champion's: how large that is follows the base rate.
    logloss_margin: float = 0.01
    #: Users without whom nothing is decided, neither of all rows nor of a slice.
    least_users: int = 50
    #: Rows with the outcome, and rows without it, without which nothing is decided.
    least_outcomes: int = 50
    #: Chance at most that a slice vetoes although none loses anything; 0: none ever does.
    slice_level: float = 0.05
    #: Share of the two margins that a slice may lose; 0: every loss that is detected vetoes.
    slice_margin_share: float = 0.0
    #: Categories of heads whose values are slices, by name, with commas: country,age_group.
    groups: str = ""
    #: Most values of each of them that are slices, those with the most rows.
    most_groups: int = 10
    #: Draws of users behind each interval.
    resamples: int = 1000
    #: Seed of the draws.
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("auc_margin", "logloss_margin", "slice_margin_share"):
            value = getattr(self, name)
            check(0 <= value < math.inf, name, "at least 0 and finite", value)
        share("slice_level", self.slice_level)
        check(self.least_users >= 2, "least_users", "at least 2", self.least_users)
        for name in ("least_outcomes", "most_groups"):
            positive_int(name, getattr(self, name))
        check(self.resamples >= 100, "resamples", "at least 100", self.resamples)
        check(self.seed >= 0, "seed", "at least 0", self.seed)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names in `groups`."""
        return tuple(name.strip() for name in self.groups.split(",") if name.strip())
