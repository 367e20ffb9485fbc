"""Rounds one after the other, as a server sees them, whatever carries messages.

Takes answers, gives what clients are asked next; the state behind each round is in a file before
the next one is asked for, so that a server that is killed loses the round that it was in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ranking.errors import CohortMismatch
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.rounds import LOCAL
from ranking.fedda.server import State, begin
from ranking.fedda.wire import Answer, after, open_state, phase_of, save_state, sent_arrays


class Asked(NamedTuple):
    """What the clients of a round are asked."""

    #: of the round, from 1
    number: int
    phase: str
    #: local steps of each
    steps: int
    arrays: Mapping[str, NDArray[np.floating]]


class Course:
    """A training in rounds, begun anew or where its file says that it was.

    Raises `ConfigError` for a file of other dials.
    """

    def __init__(
        self, weights: Tensor, dials: tuple[MethodConfig, RoundsConfig], file: Path
    ) -> None:
        self.method, self.rounds = dials
        self._file = file
        kept = open_state(file, dials)
        self.state: State = begin(weights, self.method) if kept is None else kept[0]
        #: Rounds that the state has seen.
        self.done: int = 0 if kept is None else kept[1]

    @property
    def left(self) -> int:
        """Rounds that are still to come."""
        return max(0, self.rounds.rounds - self.done)

    def asked(self) -> Asked:
        """What the next round asks; the same until its answers are taken."""
        number = self.done + 1
        phase = phase_of(number, self.rounds)
        warm = number <= self.rounds.warm_rounds
        steps = 1 if warm or phase != LOCAL else self.rounds.steps
        return Asked(number, phase, steps, sent_arrays(self.state, self.method, phase))

    def take(self, answers: Sequence[Answer]) -> None:
        """Let a round be over. Of no answer nothing changes, and it is asked again.

        Raises `CohortMismatch` for an answer that is no number: it would be in every round to come.
        """
        if not answers:
            return
        if not all(one.finite for one in answers):
            raise CohortMismatch("answers should be of finite numbers, received some that are not")
        number, phase = self.done + 1, phase_of(self.done + 1, self.rounds)
        end_rate = self.rounds.end_rate
        self.state = after(self.state, answers, self.method, phase, end_rate=end_rate)
        self.done = number
        save_state(self._file, self.state, number, (self.method, self.rounds))
