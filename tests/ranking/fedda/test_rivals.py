"""Each rival beside its definition, written down client after client as its paper has it."""

from collections.abc import Callable

import pytest
import torch
from parabolas import Quadratics, quadratics, same
from torch import Tensor

from ranking.fedda.config import MethodConfig
from ranking.fedda.methods import beginning, method_of
from ranking.fedda.server import begin, fedda_round

H, ALPHA, B, B2, TAU, MU = 0.1, 0.7, 0.8, 0.9, 0.05, 0.3
STEPS = [3, 1, 4]
ROUNDS = 6
START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
ZERO = torch.zeros(4, dtype=torch.float64)


def dials(method: str) -> MethodConfig:
    return MethodConfig(
        method=method,
        rate=H,
        server_rate=ALPHA,
        momentum=B,
        memory=B2,
        floor=TAU,
        pull=MU,
    )


def ours(problem: Quadratics, config: MethodConfig, steps: list[int]) -> Tensor:
    method = method_of(config)
    state = beginning(START, config, clients=problem.count, held=problem.held)
    for _ in range(ROUNDS):
        state = method.run(state, problem.cohort(steps=steps), config)
    return state.weights


def walked(problem: Quadratics, client: int, w: Tensor, move: Callable[[Tensor, Tensor], Tensor]):
    """A client's weights after its steps by `move(w, g)`."""
    for step in range(STEPS[client]):
        w = w - H * move(w, problem.gradient(client, w, step))
    return w


def mean(problem: Quadratics, each: list[Tensor]) -> Tensor:
    return sum((share * x for share, x in zip(problem.shares, each, strict=True)), ZERO)


def averaged(problem: Quadratics, w: Tensor) -> Tensor:
    """FedAvg's mean of local weights."""
    return mean(problem, [walked(problem, k, w, lambda _, g: g) for k in range(3)])


def fedavg(problem: Quadratics) -> Tensor:
    w = START
    for _ in range(ROUNDS):
        w = w + ALPHA * (averaged(problem, w) - w)
    return w


def fedavgm(problem: Quadratics) -> Tensor:
    w, v = START, ZERO
    for _ in range(ROUNDS):
        v = B * v + (w - averaged(problem, w))
        w = w - ALPHA * v
    return w


def reddi(problem: Quadratics, squares: Callable[[float, float], float]) -> Tensor:
    """Number by number, as plain Python has them."""
    w, m, v = START, [0.0] * 4, [TAU**2] * 4
    for _ in range(ROUNDS):
        delta = (averaged(problem, w) - w).tolist()
        m = [B * old + (1 - B) * d for old, d in zip(m, delta, strict=True)]
        v = [squares(old, d * d) for old, d in zip(v, delta, strict=True)]
        moves = [ALPHA * a / (s**0.5 + TAU) for a, s in zip(m, v, strict=True)]
        w = w + torch.tensor(moves, dtype=torch.float64)
    return w


def fedadam(problem: Quadratics) -> Tensor:
    return reddi(problem, lambda v, d2: B2 * v + (1 - B2) * d2)


def fedyogi(problem: Quadratics) -> Tensor:
    return reddi(problem, lambda v, d2: v - (1 - B2) * d2 * (1 if v > d2 else -1))


def fedadagrad(problem: Quadratics) -> Tensor:
    return reddi(problem, lambda v, d2: v + d2)


def fedprox(problem: Quadratics) -> Tensor:
    """Steps down f_k(w) + mu / 2 ||w - W||^2."""
    w = START
    for _ in range(ROUNDS):
        server = w
        ends = [
            walked(problem, k, server, lambda x, g, at=server: g + MU * (x - at)) for k in range(3)
        ]
        w = w + ALPHA * (mean(problem, ends) - w)
    return w


def fedcm(problem: Quadratics) -> Tensor:
    w, delta = START, ZERO
    for _ in range(ROUNDS):
        ends = [walked(problem, k, w, lambda _, g, d=delta: (1 - B) * g + B * d) for k in range(3)]
        per_step = [(w - end) / (H * taken) for end, taken in zip(ends, STEPS, strict=True)]
        w, delta = w + ALPHA * (mean(problem, ends) - w), mean(problem, per_step)
    return w


def mimelite(problem: Quadratics) -> Tensor:
    w, m = START, ZERO
    for _ in range(ROUNDS):
        ends = [walked(problem, k, w, lambda _, g, m=m: (1 - B) * g + B * m) for k in range(3)]
        m = B * m + (1 - B) * problem.mean_gradient(w)
        w = w + ALPHA * (mean(problem, ends) - w)
    return w


def scaffold(problem: Quadratics) -> Tensor:
    w, c, own = START, ZERO, [ZERO] * 3
    for _ in range(ROUNDS):
        ends, next_own = [], []
        for k in range(3):
            end = walked(problem, k, w, lambda _, g, k=k, own=own, c=c: g - own[k] + c)
            ends.append(end)
            next_own.append(own[k] - c + (w - end) / (STEPS[k] * H))
        c = c + mean(problem, [new - old for new, old in zip(next_own, own, strict=True)])
        w, own = w + ALPHA * (mean(problem, ends) - w), next_own
    return w


TWINS = {
    "fedavg": fedavg,
    "fedavgm": fedavgm,
    "fedadam": fedadam,
    "fedyogi": fedyogi,
    "fedadagrad": fedadagrad,
    "fedprox": fedprox,
    "fedcm": fedcm,
    "mimelite": mimelite,
    "scaffold": scaffold,
}


@pytest.mark.parametrize("method", TWINS)
def test_a_rival_is_what_its_paper_says(method: str):
    problem = quadratics(clients=3, steps=4)
    same(ours(problem, dials(method), STEPS), TWINS[method](problem))


def test_all_ten_end_elsewhere():
    # Ten names that stood for one method would pass each test alone.
    problem = quadratics(clients=3, steps=4)
    ends = [ours(problem, dials(method), STEPS) for method in ("fedda", *TWINS)]
    for place, one in enumerate(ends):
        for other in ends[:place]:
            assert float((one - other).abs().max()) > 1e-3


def test_fedda_without_momentum_is_fedavg():
    problem = quadratics(clients=3, steps=4)
    config = MethodConfig(reading="none", rate=H, server_rate=ALPHA)
    state = begin(START, config)
    for _ in range(ROUNDS):
        state = fedda_round(state, problem.cohort(steps=STEPS), config)
    same(state.weights, fedavg(problem))


def test_frozen_momentum_of_as_many_steps_is_fedcm():
    problem, steps = quadratics(clients=3, steps=4), [4, 4, 4]
    frozen = MethodConfig(reading="frozen", rate=H, server_rate=ALPHA, momentum=B)
    state = begin(START, frozen)
    for _ in range(ROUNDS):
        state = fedda_round(state, problem.cohort(steps=steps), frozen)
    same(state.weights, ours(problem, dials("fedcm"), steps))


def test_scaffold_counts_a_drawn_client_by_its_share_of_all():
    # Two clients of three, rows 1, 6, 2: of nine rows, client two has six.
    problem, config = quadratics(clients=3), dials("scaffold")
    assert problem.rows == (1, 6, 2)
    state = beginning(START, config, clients=3, held=4)
    after = method_of(config).run(state, problem.cohort([1, 2], steps=1), config)
    same(after.controls[0], ZERO)
    g = [problem.gradient(k, START) for k in (1, 2)]
    same(after.controls[1:], torch.stack(g))
    same(after.momentum, 6 / 9 * g[0] + 2 / 9 * g[1])
    same(after.weights, START - ALPHA * H * (6 / 8 * g[0] + 2 / 8 * g[1]))
