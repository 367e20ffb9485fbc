"""What a training says after each step, and how it is told how far it is.

Takes nothing and decides nothing: every training of this room yields `Progress`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kge.scorer import Scorer


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One step done: `step` of `total`, its loss (nats under softmax), and what it was."""

    step: int
    #: A guess where the caller ends the training by the clock.
    total: int
    loss: float
    note: str
    #: Asked for, the scorer of what is learned so far: for who measures on the way. It reads the
    #: model itself, so it has to be done with before the training goes on.
    so_far: Callable[[], Scorer] | None = field(default=None, compare=False, repr=False)


#: Given the number of steps done, the share of the training that is done, 0 to 1; the learning rate
#: falls with it and training ends at 1. The caller's way to end by the clock, which no training of
#: this room sees. None: by the number of steps.
Share = Callable[[int], float]
