"""The dials of the rivals that are written here. Takes values, gives checked ones."""

from dataclasses import dataclass
from typing import Literal, get_args

from kge.errors import ConfigError

Loss = Literal["softmax", "logistic"]
Backend = Literal["pyg", "dgl"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TwhinConfig:
    """How TwHIN is built and trained."""

    #: Length d of all vectors.
    dim: int = 128
    #: softmax = sampled softmax over shared negatives; logistic = each negative on its own.
    loss: Loss = "softmax"
    #: Edges per batch, all between the same two types.
    batch: int = 1024
    #: Negatives of each end that a batch shares.
    negatives: int = 1024
    #: Step size at the start (Adagrad); falls to 0 linearly.
    learning_rate: float = 0.1
    #: Passes over the edges where no clock ends the training.
    epochs: float = 30.0

    def __post_init__(self) -> None:
        _positive(self, "dim", "batch", "negatives", "learning_rate", "epochs")
        _one_of("loss", self.loss, get_args(Loss))


@dataclass(frozen=True, kw_only=True, slots=True)
class SageConfig:
    """How the GraphSAGE encoder and its DistMult decoder are built and trained."""

    #: Length d of all vectors.
    dim: int = 128
    #: In-edges that are sampled per entity, from the outermost layer to the entity's own.
    fanouts: tuple[int, ...] = (8, 8)
    #: Edges per batch, all between the same two types.
    batch: int = 1024
    #: Negatives of each end that a batch shares.
    negatives: int = 1024
    #: Share of encoded coordinates that are dropped while training.
    dropout: float = 0.2
    #: Step size of input vectors (Adagrad), at the start; all fall to 0 linearly.
    learning_rate: float = 0.05
    #: Step size of weights (Adam), at the start.
    weight_learning_rate: float = 2e-3
    #: Which library does the message passing; both compute the same.
    backend: Backend = "pyg"
    #: Passes over the edges where no clock ends the training.
    epochs: float = 20.0

    def __post_init__(self) -> None:
        _positive(self, "dim", "batch", "negatives", "learning_rate", "weight_learning_rate")
        _positive(self, "epochs")
        _one_of("backend", self.backend, get_args(Backend))
        if not self.fanouts or min(self.fanouts) < 1:
            raise ConfigError(
                f"fanouts should hold a number from 1 on per layer, received {self.fanouts}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout should be from 0 to less than 1, received {self.dropout!r}")


def _positive(config: object, *fields: str) -> None:
    for field in fields:
        if not getattr(config, field) > 0:
            raise ConfigError(f"{field} should be above 0, received {getattr(config, field)!r}")


def _one_of(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{field} should be one of {known}, received {value!r}")
