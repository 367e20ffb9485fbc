"""Who is in a round: shares, and clients that hold some of the numbers only."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parabolas import quadratics, same
from torch import Tensor

from ranking.errors import CohortMismatch
from ranking.fedda.cohort import Cohort
from ranking.fedda.config import METHODS, READINGS, MethodConfig
from ranking.fedda.methods import beginning, method_of

#: Of seven numbers: all clients hold 0 and 1, number 6 is nobody's; 7 fills up.
PLACES = torch.tensor([[0, 1, 2, 7], [0, 1, 3, 4], [1, 0, 5, 2]])
TARGETS = torch.tensor(
    [[1.0, 2.0, -1.0, 0.0], [0.5, -2.0, 3.0, 1.0], [-1.0, 0.3, 2.0, 4.0]], dtype=torch.float64
)
START = torch.linspace(-1.0, 1.0, 7, dtype=torch.float64)


def some(steps: list[int]) -> Cohort:
    """f_k(w) = sum log cosh(w - c) over what it holds: what fills up has no gradient."""
    filled = PLACES < 7

    def gradients(w_KU: Tensor, step: int) -> Tensor:
        return (torch.tanh(w_KU - TARGETS) + 0.1 * step) * filled

    return Cohort(
        numbers=torch.arange(3),
        rows=torch.tensor([1, 2, 5]),
        steps=torch.tensor(steps),
        batch=torch.tensor([1, 2, 5]),
        all_rows=8,
        gradients=gradients,
        whole=lambda w_KU: gradients(w_KU, 0),
        places=PLACES,
    )


def everything(steps: list[int]) -> Cohort:
    """The same clients, who are sent all seven numbers."""
    part = some(steps)

    def widely(told: Tensor) -> Tensor:
        wide = torch.zeros(3, 8, dtype=torch.float64)
        return wide.scatter(1, PLACES, told)[:, :7]

    def held(w_KP: Tensor) -> Tensor:
        return torch.cat([w_KP, torch.zeros(3, 1, dtype=torch.float64)], dim=1).gather(1, PLACES)

    return replace(
        part,
        gradients=lambda w_KP, step: widely(part.gradients(held(w_KP), step)),
        whole=lambda w_KP: widely(part.whole(held(w_KP))),
        places=None,
    )


RIVALS = [MethodConfig(method=name, rate=0.2, server_rate=0.7) for name in METHODS]
OURS = [
    MethodConfig(reading=reading, optimizer=optimizer, rate=0.2, floor=0.1)
    for reading in READINGS
    for optimizer in ("sgdm", "adam", "adagrad")
]


@pytest.mark.parametrize(
    "config", [*RIVALS, *OURS], ids=lambda c: f"{c.method}-{c.reading}-{c.optimizer}"
)
def test_what_no_row_touches_need_not_be_sent(config: MethodConfig):
    method, steps = method_of(config), [3, 1, 4]
    thin = beginning(START, config, clients=3, held=4)
    wide = beginning(START, config, clients=3, held=7)
    for _ in range(5):
        thin = method.run(thin, some(steps), config)
        wide = method.run(wide, everything(steps), config)
    same(thin.weights, wide.weights)
    same(thin.momentum, wide.momentum)
    assert float((thin.weights - START)[:6].abs().min()) > 1e-4


def test_what_fills_up_reads_as_nothing_and_adds_nothing():
    cohort = some([1, 1, 1])
    assert cohort.held(torch.arange(1.0, 8.0)).tolist() == [
        [1.0, 2.0, 3.0, 0.0],
        [1.0, 2.0, 4.0, 5.0],
        [2.0, 1.0, 6.0, 3.0],
    ]
    told = torch.tensor([[1.0, 1.0, 1.0, 99.0], [1.0] * 4, [10.0, 20.0, 30.0, 40.0]])
    summed = cohort.summed(told, torch.tensor([1.0, 2.0, 0.5]), 7)
    # Of number 2: one of the first, half of the third's fortieth.
    assert summed.tolist() == [13.0, 8.0, 21.0, 2.0, 2.0, 15.0, 0.0]


def test_shares_are_of_those_who_are_there():
    problem = quadratics(clients=3)  # rows 1, 6, 2
    like = torch.zeros(1, dtype=torch.float64)
    same(problem.cohort().shares(like), torch.tensor([1 / 9, 6 / 9, 2 / 9], dtype=torch.float64))
    two = problem.cohort([0, 2])
    same(two.shares(like), torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
    same(two.shares_of_all(like), torch.tensor([1 / 9, 2 / 9], dtype=torch.float64))


def test_gradients_are_counted_by_row():
    cohort = quadratics(clients=3).cohort(steps=[2, 1, 4])
    assert cohort.evaluations() == 2 * 1 + 1 * 6 + 4 * 2
    assert cohort.evaluations(whole=1) == 16 + 9


@pytest.mark.parametrize("name", ["rows", "steps", "batch"])
def test_each_client_has_rows_and_steps(name: str):
    cohort = quadratics(clients=2).cohort()
    with pytest.raises(CohortMismatch, match=f"{name} of a client should be at least 1, received"):
        replace(cohort, **{name: torch.tensor([3, 0])})


def test_a_round_without_clients_is_refused():
    with pytest.raises(CohortMismatch, match="at least one client"):
        quadratics(clients=2).cohort(np.array([], dtype=np.int64))
