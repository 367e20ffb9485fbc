"""The loop: rounds, who is in them, and when the end phase begins.

Takes clients and dials, yields `Progress` after each round; never reads a clock, never sees a row,
never opens a connection. Its caller decides what is measured between two rounds, and when it ends.
"""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ranking.errors import ConfigError
from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.methods import beginning, method_of
from ranking.fedda.server import State, central_step, mean_whole_gradient
from ranking.fedda.traffic import WHOLE, Traffic, traffic

#: The two kinds of rounds.
LOCAL, END = "local", "end"


@runtime_checkable
class Clients(Protocol):
    """Everybody who has rows."""

    @property
    def count(self) -> int:
        """All of them, N."""

    @property
    def held(self) -> int:
        """The most numbers U that a client holds of those that are shared."""

    def cohort(self, numbers: Int64[np.ndarray, "K"], *, number: int, steps: int) -> Cohort:
        """These clients, for the round of this number, counted from 1, in which steps are T."""

    def rows_named(self, numbers: Int64[np.ndarray, "K"]) -> int:
        """Rows of shared tables that these clients hold, in sum."""


class Progress(NamedTuple):
    """What a round did."""

    round: int
    #: local, or end
    phase: str
    clients: int
    traffic: Traffic
    #: Gradients of single rows, of all clients.
    evaluations: int
    state: State


def federate(
    weights: Float[Tensor, "P"],
    clients: Clients,
    method: MethodConfig,
    rounds: RoundsConfig,
    *,
    watched: Callable[[Tensor], float] | None = None,
) -> Generator[Progress, None, State]:
    """Rounds of one method. `watched`: the loss by which a plateau is found, of weights.

    Local rounds, then `end_rounds` of the end phase: at the end, or from where the watched loss
    has stopped to fall, if `end` is plateau. Raises `ConfigError` for a plateau of nothing watched.
    """
    if rounds.end == "plateau" and rounds.end_rounds and watched is None:
        raise ConfigError("a plateau should have a loss that is watched, received none")
    run, state = (
        method_of(method),
        beginning(weights, method, clients=clients.count, held=clients.held),
    )
    draw, size = np.random.default_rng(rounds.seed), len(weights)
    losses: list[float] = []
    last_local = rounds.rounds - rounds.end_rounds
    number = 0
    while number < last_local:
        number += 1
        drawn = _drawn(draw, clients.count, rounds.clients)
        steps = 1 if number <= rounds.warm_rounds else rounds.steps
        cohort = clients.cohort(drawn, number=number, steps=steps)
        state = run.run(state, cohort, method)
        sent = traffic(run, cohort, size=size, rows=clients.rows_named(drawn))
        spent = cohort.evaluations(whole=run.whole)
        yield Progress(number, LOCAL, len(drawn), sent, spent, state)
        if rounds.end == "plateau" and watched is not None:
            losses.append(watched(state.weights))
            if reached_plateau(losses, patience=rounds.patience, least=rounds.least_gain):
                break
    everybody = np.arange(clients.count)
    for _ in range(rounds.end_rounds):
        number += 1
        cohort = clients.cohort(everybody, number=number, steps=1)
        gradient = mean_whole_gradient(state, cohort)
        state = central_step(state, gradient, method, end_rate=rounds.end_rate)
        sent = traffic(WHOLE, cohort, size=size, rows=clients.rows_named(everybody))
        spent = int(cohort.rows.sum())
        yield Progress(number, END, len(everybody), sent, spent, state)
    return state


def reached_plateau(losses: Sequence[float], *, patience: int, least: float) -> bool:
    """Whether the best of the last `patience` losses gained less than a share on what was before.

    min(last) > (1 - least) min(before), for losses above 0
    """
    before, last = losses[:-patience], losses[-patience:]
    if not before:
        return False
    best = min(before)
    return min(last) > best - least * abs(best)


def _drawn(draw: np.random.Generator, count: int, clients: int) -> Int64[np.ndarray, "K"]:
    """Who is in a round, in rising order; all where none are drawn."""
    if not clients or clients >= count:
        return np.arange(count)
    return np.sort(draw.choice(count, size=clients, replace=False))


def evenly(count: int, steps: int) -> Int64[Tensor, "K"]:
    """T of K clients that all take as many."""
    return torch.full((count,), steps, dtype=torch.int64)
