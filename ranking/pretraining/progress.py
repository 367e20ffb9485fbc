"""How far a pretraining is, told after every step. Takes numbers, gives them; never a clock."""

from typing import NamedTuple


class Progress(NamedTuple):
    """A step of a pretraining."""

    step: int
    total: int
    #: of the batch, in nats, before the step
    loss: float
    #: what is learned
    note: str
