"""What FedDA promises, on problems whose answer is known: to 12 digits where it is exact."""

from dataclasses import replace

import pytest
import torch
from parabolas import Quadratics, one_by_one, quadratics, same, sgdm
from torch import Tensor

from ranking.fedda.client import Message, Sent, local_steps
from ranking.fedda.config import READINGS, MethodConfig
from ranking.fedda.server import (
    advance,
    begin,
    central_step,
    fedda_round,
    mean_whole_gradient,
    scale,
    sum_up,
)

H, B, B2, TAU = 0.1, 0.8, 0.9, 0.01
START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def dials(reading: str = "carried", optimizer: str = "sgdm", *, alpha: float = 1.0) -> MethodConfig:
    return MethodConfig(
        reading=reading,
        optimizer=optimizer,
        rate=H,
        server_rate=alpha,
        momentum=B,
        memory=B2,
        floor=TAU,
    )


def test_one_client_is_centralized_sgdm():
    problem, config = quadratics(clients=1, steps=7), dials()
    state = begin(START, config)
    w, m = START, torch.zeros(4, dtype=torch.float64)
    for _ in range(20):
        state = fedda_round(state, problem.cohort(steps=7), config)
        w, m = sgdm(lambda x, step: problem.gradient(0, x, step), w, m, h=H, b=B, n=7)
    same(state.weights, w)
    same(state.momentum, m)


def test_one_client_is_centralized_where_its_loss_is_no_parabola():
    # f(w) = sum log cosh(w - c): a gradient that is no line.
    optimum, config = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64), dials()
    cohort = quadratics(clients=1).cohort(steps=5)
    object.__setattr__(cohort, "gradients", lambda w, _: torch.tanh(w - optimum))
    state = begin(START, config)
    w, m = START, torch.zeros(4, dtype=torch.float64)
    for _ in range(20):
        state = fedda_round(state, cohort, config)
        w, m = sgdm(lambda x, _: torch.tanh(x - optimum), w, m, h=H, b=B, n=5)
    same(state.weights, w)
    same(state.momentum, m)


def test_equal_curvatures_are_centralized_wherever_each_optimum_lies():
    problem, config = quadratics(clients=5, steps=6, equal=True), dials()
    state = begin(START, config)
    w, m = START, torch.zeros(4, dtype=torch.float64)
    for _ in range(20):
        state = fedda_round(state, problem.cohort(steps=6), config)
        w, m = sgdm(problem.mean_gradient, w, m, h=H, b=B, n=6)
    same(state.weights, w)
    same(state.momentum, m)


def test_restarted_momentum_is_not_centralized():
    problem, config = quadratics(clients=1, steps=7), dials("restart")
    state = begin(START, config)
    w, m = START, torch.zeros(4, dtype=torch.float64)
    for _ in range(5):
        state = fedda_round(state, problem.cohort(steps=7), config)
        w, m = sgdm(lambda x, step: problem.gradient(0, x, step), w, m, h=H, b=B, n=7)
    assert float((state.weights - w).abs().max()) > 0.01


def centralized(problem: Quadratics, optimizer: str, rounds: int) -> tuple[Tensor, Tensor, Tensor]:
    """Adam without bias correction, or AdaGrad with momentum, in one place."""
    w, m = START, torch.zeros(4, dtype=torch.float64)
    v = torch.full((4,), TAU**2, dtype=torch.float64)
    for _ in range(rounds):
        g = problem.mean_gradient(w, 0)
        m = B * m + (1 - B) * g
        v = B2 * v + (1 - B2) * g**2 if optimizer == "adam" else v + g**2
        w = w - H * m / (v.sqrt() + TAU)
    return w, m, v


@pytest.mark.parametrize("reading", ["carried", "frozen", "drive"])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_one_step_of_all_clients_is_the_centralized_optimizer(optimizer: str, reading: str):
    problem, config = quadratics(clients=5, steps=1), dials(reading, optimizer)
    state = begin(START, config)
    for _ in range(20):
        state = fedda_round(state, problem.cohort(steps=1), config)
    for found, expected in zip(state, centralized(problem, optimizer, 20), strict=False):
        same(found, expected)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_weights_move_by_the_new_scale(optimizer: str):
    # By the old one a round of one step is far from a centralized step.
    problem, config = quadratics(clients=5, steps=1), dials(optimizer=optimizer)
    state = begin(START, config)
    w, m, _ = centralized(problem, optimizer, 1)
    same(fedda_round(state, problem.cohort(steps=1), config).weights, w)
    old = START - H * scale(state.square, config) * m
    assert float((old - w).abs().max()) > 1.0


@pytest.mark.parametrize("reading", ["none", "restart", "carried", "frozen"])
def test_what_is_sent_says_where_each_client_went(reading: str):
    # Clients that run the momentum itself, not its two parts, and send weights.
    problem, config, steps = quadratics(clients=4, steps=8), dials(reading), [3, 8, 1, 5]
    state = begin(START, config)
    for _ in range(3):
        before, state = state, fedda_round(state, problem.cohort(steps=steps), config)

        def walk(client: int, taken: int, m: Tensor = before.momentum, w: Tensor = before.weights):
            mine, began = torch.zeros_like(m) if reading == "restart" else m, w
            for step in range(taken):
                g = problem.gradient(client, w, step)
                if reading in ("restart", "carried"):
                    mine = B * mine + (1 - B) * g
                    w = w - H * mine
                elif reading == "none":
                    w = w - H * g
                else:
                    w = w - H * (B * m + (1 - B) * g)
            return began - w

        same(state.weights, before.weights - one_by_one(problem, steps, walk))


def test_momentum_of_the_server_is_the_mean_of_that_of_clients():
    problem, config, steps = quadratics(clients=4, steps=8), dials(), [3, 8, 1, 5]
    before = begin(START, config)._replace(momentum=torch.ones(4, dtype=torch.float64))
    after = fedda_round(before, problem.cohort(steps=steps), config)

    def walk(client: int, taken: int) -> Tensor:
        return sgdm(
            lambda w, step: problem.gradient(client, w, step),
            before.weights,
            before.momentum,
            h=H,
            b=B,
            n=taken,
        )[1]

    same(after.momentum, one_by_one(problem, steps, walk))


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_local_steps_are_scaled_by_a_scale_that_stands_still(optimizer: str):
    problem, config = quadratics(clients=2, steps=4), dials(optimizer=optimizer)
    held = problem.cohort(steps=4)
    square = torch.tensor([1.0, 4.0, 0.25, 9.0], dtype=torch.float64)
    d = 1 / (square.sqrt() + TAU)
    m = torch.ones(4, dtype=torch.float64)
    sent = Sent(*(held.held(values) for values in (START, m, d)))
    message = local_steps(sent, held, config)
    for client in range(2):
        w, mine, total = START, m, torch.zeros(4, dtype=torch.float64)
        for step in range(4):
            mine = B * mine + (1 - B) * problem.gradient(client, w, step)
            w, total = w - H * d * mine, total + mine
        faded = B + B**2 + B**3 + B**4
        same(message.last[client] + B**4 * m, mine)
        same(message.total[client] + faded * m, total)


@pytest.mark.parametrize("reading", READINGS)
def test_the_mean_gradient_is_found_in_the_message(reading: str):
    # Gradients that do not depend on weights: 1, 2, 3, ... in steps of one client, -4 of another.
    problem, config = quadratics(clients=2), dials(reading, "adam")
    cohort = problem.cohort(steps=[3, 2])
    rising = [torch.tensor([[i + 1.0] * 4, [-4.0] * 4], dtype=torch.float64) for i in range(3)]
    object.__setattr__(cohort, "gradients", lambda _, step: rising[step])
    state = begin(START, config)
    held = (cohort.held(values) for values in (START, state.momentum, scale(state.square, config)))
    summed = sum_up(local_steps(Sent(*held), cohort, config), cohort, config, size=4)
    # Rows 1 and 6: (1 / 7) (1 + 2 + 3) / 3 + (6 / 7) (-4) = -22 / 7.
    assert problem.rows == (1, 6)
    same(summed.gradient, torch.full((4,), -22 / 7, dtype=torch.float64))


def test_squares_of_clients_are_never_averaged():
    # Two clients who pull to both sides alike: their mean gradient is 0, their mean square is 1.
    config = dials("none", "adagrad")
    ones = torch.ones(2, 1, dtype=torch.float64)
    problem = Quadratics(
        hessians=ones[:, :, None], optima=torch.tensor([[-1.0], [1.0]]).double(), rows=(3, 3)
    )
    state = begin(torch.zeros(1, dtype=torch.float64), config)
    after = fedda_round(state, problem.cohort(steps=1), config)
    assert float(after.square) == pytest.approx(TAU**2, rel=1e-12)


def test_a_round_by_hand():
    # One number, h = .5, b = .5, M = 4, W = 10. Client one (3 rows) takes two steps by g = 2, 6;
    # client two (1 row) one step by g = 8.
    config = MethodConfig(rate=0.5, momentum=0.5)
    cohort = Quadratics(
        hessians=torch.ones(2, 1, 1).double(), optima=torch.zeros(2, 1).double(), rows=(3, 1)
    ).cohort(steps=[2, 1])
    told = [torch.tensor([[2.0], [8.0]]).double(), torch.tensor([[6.0], [99.0]]).double()]
    object.__setattr__(cohort, "gradients", lambda _, step: told[step])
    ten, four = torch.tensor([10.0]).double(), torch.tensor([4.0]).double()
    state = begin(ten, config)._replace(momentum=four)
    ones = torch.ones(2, 1).double()
    message = local_steps(Sent(10 * ones, 4 * ones, ones), cohort, config)
    # a: .5 * 2 = 1, then .5 * 1 + .5 * 6 = 3.5; S = 4.5. The second: a = S = 4.
    same(message.last, torch.tensor([[3.5], [4.0]]).double())
    same(message.total, torch.tensor([[4.5], [4.0]]).double())
    after = advance(state, sum_up(message, cohort, config, size=1), config)
    # s(2) = .75, s(1) = .5: W = 10 - .5 (.75 (.75 * 4 + 4.5) + .25 (.5 * 4 + 4)) = 6.4375
    assert float(after.weights) == pytest.approx(6.4375, rel=1e-12)
    # M = .75 (.25 * 4 + 3.5) + .25 (.5 * 4 + 4) = 4.875
    assert float(after.momentum) == pytest.approx(4.875, rel=1e-12)


def test_all_go_the_same_way_where_momentum_alone_drives():
    problem, config, asked = quadratics(clients=3), dials("drive"), []
    cohort = problem.cohort(steps=4)
    plain = cohort.gradients

    def gradients(w: Tensor, step: int) -> Tensor:
        asked.append(w)
        return plain(w, step)

    object.__setattr__(cohort, "gradients", gradients)
    momentum = torch.tensor([1.0, 2.0, -1.0, 0.0], dtype=torch.float64)
    fedda_round(begin(START, config)._replace(momentum=momentum), cohort, config)
    for step, w in enumerate(asked):
        gone = H * sum(B**i for i in range(1, step + 1)) * momentum
        same(w, (START - gone).expand(3, 4))


@pytest.mark.parametrize("optimizer", ["sgdm", "adam", "adagrad"])
@pytest.mark.parametrize("reading", ["none", "restart", "carried", "frozen"])
def test_the_end_phase_takes_the_bias_away(reading: str, optimizer: str):
    problem, config = quadratics(clients=4), replace(dials(reading, optimizer), floor=1.0)
    optimum, state = problem.optimum(), begin(START, config)
    for _ in range(60):
        state = fedda_round(state, problem.cohort(steps=5), config)
    assert float((state.weights - optimum).abs().max() / optimum.abs().max()) > 1e-6
    # AdaGrad's scale has fallen by then, and never rises again: a longer step makes up for it.
    rate = 15.0 if optimizer == "adagrad" else 1.0
    cohort = problem.cohort()
    for _ in range(1200):
        gradient = mean_whole_gradient(state, cohort)
        state = central_step(state, gradient, config, end_rate=rate)
    same(state.weights, optimum)


def test_driven_clients_have_no_bias():
    # At rest M = 0: no client moves, so all gradients are those of one place.
    problem, config = quadratics(clients=4), dials("drive")
    state = begin(START, config)
    for _ in range(500):
        state = fedda_round(state, problem.cohort(steps=5), config)
    same(state.weights, problem.optimum())


def test_a_message_is_two_vectors_and_no_weights():
    assert Message._fields == ("last", "total")
