"""The loop: an anchor, a classifier for each group, their mean.

Takes an objective for all rows and one for each group, yields a `Round` after each, gives the
classifiers; never reads a file or a clock, and never asks what the weights are weights of.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ranking.fairsmooth.config import FairSmoothConfig

Weights = NDArray[np.float64]


@runtime_checkable
class Objective(Protocol):
    """A loss over some rows, as a function of the smoothed weights in one row of numbers."""

    size: int

    def loss(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its gradient."""
        ...


class Round(NamedTuple):
    """What one round did."""

    number: int
    rounds: int
    #: group -> its own smoothed loss, without what holds it
    losses: Mapping[str, float]
    #: group -> how far its classifier is from the mean
    distances: Mapping[str, float]
    #: how far the mean moved
    moved: float


class Fitted(NamedTuple):
    """Classifiers as weights: what all are served with, and what each group has of its own."""

    anchor: Weights
    mean: Weights
    own: Mapping[str, Weights]

    @property
    def distances(self) -> dict[str, float]:
        """r_k = norm(mean - theta_k) of each group."""
        return {name: float(np.linalg.norm(theta - self.mean)) for name, theta in self.own.items()}


def train_groups(
    whole: Objective,
    groups: Mapping[str, Objective],
    config: FairSmoothConfig,
    start: Weights | None = None,
) -> Generator[Round, None, Fitted]:
    """Fit the anchor, then each group and their mean in turn.

    theta_0 = argmin L_all(theta) + ridge / 2 norm(theta)^2
    theta_k = argmin L_k(theta) + ridge / 2 norm(theta)^2 + lambda / 2 norm(theta - mean)^2
    mean    = the average of all theta_k; theta_0 before the first round

    At last all theta_k are projected (`projected`). Implements the idea of FairSmooth (arXiv
    2206.11423): its abstract has smoothed classifiers fitted by group and averaged. Differs from
    it: the anchor, the proximal term, rounds and projection are our design; lambda = 0 is the
    abstract's recipe. The loss of a group reads its own rows alone; anchor and proximal term make
    its weights depend on all groups' rows.
    """
    begin = np.zeros(whole.size) if start is None else start
    anchor = _fit(whole, begin, begin, config, proximity=0.0)
    mean, own = anchor, dict.fromkeys(groups, anchor)
    for number in range(1, config.rounds + 1):
        own = {
            name: _fit(objective, own[name], mean, config, proximity=config.proximity)
            for name, objective in groups.items()
        }
        before, mean = mean, np.mean(list(own.values()), axis=0)
        yield Round(
            number=number,
            rounds=config.rounds,
            losses={name: objective.loss(own[name])[0] for name, objective in groups.items()},
            distances=Fitted(anchor, mean, own).distances,
            moved=float(np.linalg.norm(mean - before)),
        )
    return Fitted(anchor, mean, projected(own, mean, config.radius))


def projected(own: Mapping[str, Weights], mean: Weights, radius: float) -> dict[str, Weights]:
    """All classifiers, none farther than `radius` from the mean, which stays the mean.

    theta_k <- mean + c (theta_k - mean),   c = min(1, R / max_k norm(theta_k - mean))

    One factor for all: if each were moved by its own, their average would move, too.
    """
    farthest = max((float(np.linalg.norm(theta - mean)) for theta in own.values()), default=0.0)
    factor = radius / farthest if farthest > radius else 1.0
    return {name: mean + factor * (theta - mean) for name, theta in own.items()}


def _fit(
    objective: Objective,
    start: Weights,
    toward: Weights,
    config: FairSmoothConfig,
    *,
    proximity: float,
) -> Weights:
    """The weights that cost least, by L-BFGS from a start."""

    def cost(theta: Weights) -> tuple[float, Weights]:
        loss, gradient = objective.loss(theta)
        away = theta - toward
        held = config.ridge / 2.0 * float(theta @ theta) + proximity / 2.0 * float(away @ away)
        return loss + held, gradient + config.ridge * theta + proximity * away

    found = minimize(
        cost,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": config.steps, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-7},
    )
    return np.asarray(found.x, dtype=np.float64)


def finish(rounds: Generator[Round, None, Fitted]) -> tuple[list[Round], Fitted]:
    """All rounds, and what they gave."""
    seen = []
    while True:
        try:
            seen.append(next(rounds))
        except StopIteration as stop:
            return seen, stop.value
