"""Federated methods on the same problem: dials by the same number of trials, then a race.

Takes a problem and an arm, gives how many rounds, bytes and gradients it took to get how far; never
chooses dials by what is reported.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from fed_problems import Problem

from ranking.fedda.config import METHODS, OPTIMIZERS, READINGS, MethodConfig, RoundsConfig
from ranking.fedda.rounds import federate
from ranking.fedda.traffic import Traffic

#: Of what centralized training reaches.
SHARES = (0.95, 0.98, 0.99)
CENTRAL = "centralized"
REDDI = ("fedadam", "fedyogi", "fedadagrad")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method that takes part; `ends`: whether its trials include end phases."""

    name: str
    method: MethodConfig
    ends: bool = False


def arms() -> dict[str, Arm]:
    """FedDA by reading and optimizer, `none` with SGDM left to FedAvg, then its rivals."""
    made = [
        Arm(
            name=f"fedda {reading} {optimizer}",
            method=MethodConfig(reading=reading, optimizer=optimizer),
            ends=True,
        )
        for reading in READINGS
        for optimizer in OPTIMIZERS
        if (reading, optimizer) != ("none", "sgdm")
    ]
    made += [
        Arm(name=name, method=MethodConfig(method=name)) for name in METHODS if name != "fedda"
    ]
    return {arm.name: arm for arm in made}


class Trial(NamedTuple):
    """Dials that are tried."""

    method: MethodConfig
    rounds: RoundsConfig


def trial(arm: Arm, number: int, length: RoundsConfig) -> Trial:
    """The dials of a trial: the same draws for all arms, each of which reads what it has.

    Rates are drawn evenly in their logarithm; of what divides by roots of squares, lower ones.
    """
    draw = np.random.default_rng(number)
    rate, server, floor, pull = draw.random(4)
    momentum, memory = float(draw.choice([0.5, 0.8, 0.9, 0.95])), float(draw.choice([0.9, 0.99]))
    plain_server = float(draw.choice([0.7, 1.0, 1.4]))
    end, end_rate = float(draw.choice([0.0, 0.25, 0.5])), float(draw.choice([1.0, 3.0, 10.0]))
    adaptive, reddi = arm.method.adaptive, arm.method.method in REDDI
    method = replace(
        arm.method,
        rate=_between(rate, -3.0, 0.0) if adaptive else _between(rate, -2.0, 0.5),
        server_rate=_between(server, -2.5, 0.0) if reddi else plain_server,
        momentum=momentum,
        memory=memory,
        floor=_between(floor, -3.0, 0.0) if adaptive else _between(floor, -4.0, -1.0),
        pull=_between(pull, -3.0, 0.0),
    )
    ended = int(end * length.rounds) if arm.ends else 0
    warm = 1 if adaptive else 0
    rounds = replace(
        length, end_rounds=ended, end_rate=end_rate if ended else 1.0, warm_rounds=warm
    )
    return Trial(method, rounds)


def _between(share: float, low: float, high: float) -> float:
    """A power of ten, to three digits."""
    return float(f"{10 ** (low + share * (high - low)):.3g}")


class Chosen(NamedTuple):
    """The trial that an arm races with, and what it did: rounds to the target, the last score."""

    number: int
    trial: Trial
    rounds: int | None
    last: float


class Run(NamedTuple):
    """What a run did, round by round; entry 0 is before the first round."""

    figures: list[Mapping[str, float]]
    #: Bytes and gradients of single rows up to there.
    traffic: list[Traffic]
    evaluations: list[int]
    phases: list[str]

    def all(self, name: str) -> list[float]:
        """One figure, round by round."""
        return [figure[name] for figure in self.figures]


def run(problem: Problem, tried: Trial, *, central: bool = False) -> Run:
    """One run; it ends where weights are no numbers any more."""
    clients = problem.central() if central else problem.clients()
    done = Run([problem.worth(problem.start)], [Traffic()], [0], ["start"])
    for progress in federate(
        problem.start, clients, tried.method, tried.rounds, watched=problem.loss
    ):
        if not bool(progress.state.weights.isfinite().all()):
            break
        done.figures.append(problem.worth(progress.state.weights))
        done.traffic.append(done.traffic[-1].plus(progress.traffic))
        done.evaluations.append(done.evaluations[-1] + progress.evaluations)
        done.phases.append(progress.phase)
    return done


def first_at(scores: list[float], least: float) -> int | None:
    """The first round from which on the score is reached once; None where it never is."""
    return next((number for number, score in enumerate(scores) if score >= least), None)


def merit(scores: list[float], target: float) -> tuple[float, float]:
    """By what trials are compared: rounds to the target, the fewer the better; then the last score.

    Where it is never reached, or numbers were lost, no number of rounds is enough.
    """
    reached = first_at(scores, target)
    last = scores[-1] if math.isfinite(scores[-1]) else -math.inf
    return (-math.inf if reached is None else -float(reached), last)


def best_trial(
    problem: Problem, arm: Arm, length: RoundsConfig, *, trials: int, target: float
) -> Chosen:
    """The best of so many trials, on a problem of its own seed."""
    found = []
    for number in range(trials):
        tried = trial(arm, number, length)
        scores = run(problem, tried, central=arm.name == CENTRAL).all("score")
        complete = len(scores) == tried.rounds.rounds + 1
        found.append((merit(scores, target) if complete else (-math.inf, -math.inf), -number))
    (rounds, last), negative = max(found)
    number = -negative
    took = int(-rounds) if math.isfinite(rounds) else None
    return Chosen(number, trial(arm, number, length), took, last if math.isfinite(last) else 0.0)


def raced(
    problem: Problem, tried: Trial, reference: float, *, central: bool = False
) -> dict[str, Any]:
    """What one seed tells: what it took to reach shares of a reference, and where it ended."""
    done = run(problem, tried, central=central)
    took: dict[str, Any] = {}
    for share in SHARES:
        number = first_at(done.all("reached"), share * reference)
        took[f"{share:g}"] = (
            None
            if number is None
            else {
                "rounds": number,
                "bytes": sum(done.traffic[number]),
                "gradients": done.evaluations[number],
            }
        )
    rounds = len(done.figures) - 1
    return {
        "took": took,
        "rounds": rounds,
        "bytes_per_round": sum(done.traffic[-1]) / max(1, rounds),
        "local_bytes": sum(done.traffic[1]) if rounds else 0,
        "last": dict(done.figures[-1]),
        "curve": [dict(figure) for figure in done.figures],
    }


def told(tried: Trial) -> dict[str, Any]:
    """Dials as a cell keeps them."""
    return {"method": asdict(tried.method), "rounds": asdict(tried.rounds)}
