"""The loop: who is in a round, where the end phase begins, what a lost client leaves."""

import numpy as np
import pytest
import torch
from parabolas import quadratics, same

from ranking.errors import ConfigError
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.rounds import federate, reached_plateau
from ranking.fedda.server import begin, fedda_round

START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
CONFIG = MethodConfig(rate=0.05)


def test_local_rounds_then_the_end_phase():
    problem = quadratics(clients=3)  # rows 1, 6, 2
    dials = RoundsConfig(rounds=5, steps=4, warm_rounds=1, end_rounds=2)
    told = list(federate(START, problem, CONFIG, dials))
    assert [(p.round, p.phase) for p in told] == [
        (1, "local"),
        (2, "local"),
        (3, "local"),
        (4, "end"),
        (5, "end"),
    ]
    # The first round is one step; a gradient of all rows in the end phase.
    assert [p.evaluations for p in told] == [9, 36, 36, 9, 9]
    # Three clients, four numbers: four vectors in all, then two.
    assert [p.traffic.down for p in told] == [96, 96, 96, 48, 48]
    state = begin(START, CONFIG)
    for steps in (1, 4, 4):
        state = fedda_round(state, problem.cohort(steps=steps), CONFIG)
    same(told[2].state.weights, state.weights)


def test_clients_are_drawn_once_a_round_and_the_same_by_the_same_seed():
    problem, asked = quadratics(clients=9), []
    plain = problem.cohort

    class Watched:
        count, held, rows_named = problem.count, problem.held, problem.rows_named

        def cohort(self, numbers, *, number, steps):
            asked.append(numbers.tolist())
            return plain(numbers, number=number, steps=steps)

    for seed in (3, 3, 4):
        dials = RoundsConfig(rounds=4, clients=5, end_rounds=1, seed=seed)
        list(federate(START, Watched(), CONFIG, dials))
    first, again, other = asked[:4], asked[4:8], asked[8:]
    assert first == again
    assert first != other
    for drawn in first[:3]:
        assert drawn == sorted(set(drawn))
        assert len(drawn) == 5
    assert first[3] == list(range(9)), "the end phase asks everybody"


def test_a_client_that_died_changes_the_shares_and_nothing_else():
    problem = quadratics(clients=3)
    alone = problem.cohort(np.array([0, 2]), steps=3)
    state = fedda_round(begin(START, CONFIG), alone, CONFIG)
    ends = []
    for client in (0, 2):
        one = problem.cohort(np.array([client]), steps=3)
        ends.append(fedda_round(begin(START, CONFIG), one, CONFIG).weights)
    same(state.weights, 1 / 3 * ends[0] + 2 / 3 * ends[1])


def test_a_plateau_is_what_gained_too_little():
    falling = [8.0, 4.0, 2.0, 1.0]
    assert not reached_plateau(falling, patience=2, least=0.1)
    assert not reached_plateau([1.0, 1.0], patience=2, least=0.1), "nothing lies before"
    assert reached_plateau([2.0, 1.0, 0.95, 0.92], patience=2, least=0.1)
    assert not reached_plateau([2.0, 1.0, 0.95, 0.89], patience=2, least=0.1)
    assert reached_plateau([1.0, 5.0, 5.0], patience=2, least=0.0)


def test_the_end_phase_begins_at_a_plateau():
    problem = quadratics(clients=3)
    dials = RoundsConfig(rounds=50, end_rounds=3, end="plateau", patience=4)
    losses = iter([5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    told = list(federate(START, problem, CONFIG, dials, watched=lambda _: next(losses)))
    assert [p.phase for p in told] == ["local"] * 7 + ["end"] * 3


def test_a_plateau_asks_for_a_loss():
    dials = RoundsConfig(end_rounds=3, end="plateau")
    with pytest.raises(ConfigError, match="a loss that is watched"):
        next(federate(START, quadratics(clients=2), CONFIG, dials))


def test_the_bias_is_gone_behind_the_end_phase():
    problem = quadratics(clients=3)
    dials = RoundsConfig(rounds=800, steps=5, end_rounds=700)
    told = list(federate(START, problem, MethodConfig(rate=0.1), dials))
    optimum = problem.optimum()
    assert float((told[99].state.weights - optimum).abs().max()) > 1e-3
    same(told[-1].state.weights, optimum)
