"""The dials of this room. Takes values, gives checked ones; never reads the environment."""

from dataclasses import dataclass
from typing import Literal, get_args

from kge.errors import ConfigError

Loss = Literal["softmax", "margin"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldInConfig:
    """How a vector is made for an entity that training never saw."""

    #: How many edges the type's prior counts for (edges); larger keeps new entities nearer to it.
    prior_edges: float = 3.0
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


def _one_of(field: str, value: str, kind: object) -> None:
    if value not in get_args(kind):
        raise ConfigError(f"{field} should be one of {get_args(kind)}, received {value!r}")
