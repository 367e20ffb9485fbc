"""Clients as one batch beside clients one after the other."""

import numpy as np
import torch
from parabolas import same
from torch import Tensor

from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.inprocess import InProcess, StepDials
from ranking.fedda.rounds import federate

#: Three clients with 4, 1 and 6 rows of two numbers and a target.
STARTS = torch.tensor([0, 4, 5, 11])
X = torch.linspace(-2.0, 2.0, 22, dtype=torch.float64).sin().reshape(2, 11).mT.contiguous()
Y = torch.linspace(1.0, 3.0, 11, dtype=torch.float64)
ALL = np.arange(3)


def loss(w: Tensor, own: Tensor, columns: tuple[Tensor, ...], counts: Tensor) -> Tensor:
    """A line through x, and a height of the client's own."""
    x, y = columns
    return (counts * (x @ w + own.sum() - y) ** 2 / 2).sum()


def clients(*, own: int = 0, **dials) -> InProcess:
    heights = torch.zeros(3, own, dtype=torch.float64)
    return InProcess(loss, [X, Y], STARTS, StepDials(**dials), size=2, own=heights)


def gradient(client: int, w: Tensor, height: float = 0.0) -> Tensor:
    rows = slice(int(STARTS[client]), int(STARTS[client + 1]))
    off = X[rows] @ w + height - Y[rows]
    return (off[:, None] * X[rows]).mean(dim=0)


def test_all_rows_give_the_mean_gradient_of_each_client():
    w = torch.tensor([[0.5, -1.0], [2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    expected = torch.stack([gradient(k, w[k]) for k in range(3)])
    cohort = clients().cohort(ALL, number=1, steps=2)
    same(cohort.gradients(w, 0), expected)
    same(cohort.whole(w), expected)
    assert cohort.batch.tolist() == cohort.rows.tolist() == [4, 1, 6]


def test_blocks_change_no_gradient():
    w = torch.ones(3, 2, dtype=torch.float64)
    whole = clients(block=256).cohort(ALL, number=1, steps=1).whole(w)
    same(clients(block=4, at_once=2).cohort(ALL, number=1, steps=1).whole(w), whole)


def test_a_batch_is_of_rows_of_the_client():
    # With w = 0 a gradient is a mean of -y x; of one row, it is that row's.
    cohort = clients(batch=1).cohort(ALL, number=1, steps=40)
    each = -(Y[:, None] * X)
    seen: list[set[int]] = [set(), set(), set()]
    for step in range(40):
        found = cohort.gradients(torch.zeros(3, 2, dtype=torch.float64), step)
        for client in range(3):
            away = (each - found[client]).abs().sum(dim=1)
            assert float(away.min()) < 1e-12
            seen[client].add(int(away.argmin()))
    assert seen[1] == {4}
    assert seen[0] <= {0, 1, 2, 3}
    assert len(seen[0]) > 1
    assert seen[2] <= set(range(5, 11))
    assert len(seen[2]) > 1


def test_what_a_client_draws_does_not_depend_on_who_else_is_there():
    w = torch.zeros(3, 2, dtype=torch.float64)
    together = clients(batch=2).cohort(ALL, number=7, steps=1).gradients(w, 0)
    alone = clients(batch=2).cohort(np.array([2]), number=7, steps=1).gradients(w[2:], 0)
    same(alone[0], together[2])


def test_one_pass_bounds_the_steps():
    cohort = clients(batch=2, one_pass=True).cohort(ALL, number=1, steps=5)
    assert cohort.steps.tolist() == [2, 1, 3]
    assert cohort.batch.tolist() == [2, 1, 2]


def test_own_numbers_move_by_their_own_client_alone():
    these = clients(own=1, own_rate=0.5, own_floor=0.1)
    w = torch.zeros(2, 2, dtype=torch.float64)
    cohort = these.cohort(np.array([0, 2]), number=1, steps=1)
    cohort.gradients(w, 0)
    cohort.gradients(w, 1)  # Neither takes a second step.
    # g = -mean y; s = .01 + g^2; x = -.5 g / (sqrt s + .1).
    for client, rows in ((0, slice(0, 4)), (2, slice(5, 11))):
        g = -float(Y[rows].mean())
        moved = -0.5 * g / ((0.01 + g * g) ** 0.5 + 0.1)
        assert abs(float(these.own[client, 0]) - moved) < 1e-12
    assert float(these.own[1, 0]) == 0.0


def test_own_numbers_are_read_in_the_next_step():
    these = clients(own=1)
    these.own[:] = torch.tensor([[3.0], [0.0], [-2.0]], dtype=torch.float64)
    found = these.cohort(ALL, number=1, steps=1).whole(torch.zeros(3, 2, dtype=torch.float64))
    zero = torch.zeros(2, dtype=torch.float64)
    same(found, torch.stack([gradient(k, zero, h) for k, h in enumerate([3.0, 0.0, -2.0])]))


def test_rounds_come_to_the_least_squares_of_all_rows():
    dials = RoundsConfig(rounds=700, steps=3, end_rounds=600)
    *_, last = federate(
        torch.zeros(2, dtype=torch.float64), clients(), MethodConfig(rate=0.3), dials
    )
    same(last.state.weights, torch.linalg.lstsq(X, Y[:, None]).solution[:, 0])


def test_chance_outside_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    clients(batch=1).cohort(ALL, number=1, steps=1).gradients(torch.zeros(3, 2).double(), 0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0.0, atol=0.0)


def test_a_client_goes_on_in_another_process_with_what_it_kept():
    w = torch.zeros(3, 2, dtype=torch.float64)
    these, others = clients(own=1), clients(own=1)
    these.cohort(ALL, number=1, steps=1).gradients(w, 0)
    others.give_back(2, these.private(2))
    assert float(others.own[2, 0]) == float(these.own[2, 0]) != 0.0
    for one in (these, others):
        one.cohort(np.array([2]), number=2, steps=1).gradients(w[2:], 0)
    same(others.own[2], these.own[2])
    assert float(others.own[0, 0]) == 0.0
