"""Rounds as arrays are the rounds in one process; what is killed goes on."""

import numpy as np
import pytest
import torch
from parabolas import Quadratics, quadratics, same

from ranking.errors import CohortMismatch, ConfigError
from ranking.fedda.config import READINGS, MethodConfig, RoundsConfig
from ranking.fedda.server import (
    State,
    begin,
    central_step,
    fedda_round,
    mean_whole_gradient,
)
from ranking.fedda.wire import (
    END,
    LOCAL,
    Answer,
    after,
    answer,
    as_update,
    from_update,
    open_state,
    phase_of,
    save_state,
    sent_arrays,
    told_names,
)

START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
STEPS = [3, 1, 4]
DIALS = (MethodConfig(), RoundsConfig(rounds=5, end_rounds=2))


def apart(
    problem: Quadratics, state: State, config: MethodConfig, phase: str, among: list[int]
) -> State:
    """A round of clients who are asked one by one."""
    arrays = sent_arrays(state, config, phase)
    told = [
        answer(arrays, problem.cohort([client], steps=STEPS[client]), config, phase)
        for client in among
    ]
    return after(state, told, config, phase)


@pytest.mark.parametrize("optimizer", ["sgdm", "adam", "adagrad"])
@pytest.mark.parametrize("reading", READINGS)
def test_rounds_are_those_of_one_process(reading: str, optimizer: str):
    problem = quadratics(clients=3, steps=4)
    config = MethodConfig(reading=reading, optimizer=optimizer, floor=0.1)
    state = together = begin(START, config)
    for _ in range(4):
        state = apart(problem, state, config, LOCAL, [0, 1, 2])
        together = fedda_round(together, problem.cohort(steps=STEPS), config)
    for found, expected in zip(state[:3], together[:3], strict=True):
        same(found, expected)
    state = apart(problem, state, config, END, [0, 1, 2])
    gradient = mean_whole_gradient(together, problem.cohort())
    same(state.weights, central_step(together, gradient, config).weights)


def test_who_does_not_answer_is_left_out():
    problem, config = quadratics(clients=3, steps=4), MethodConfig()
    state = apart(problem, begin(START, config), config, LOCAL, [0, 2])
    two = problem.cohort(np.array([0, 2]), steps=[3, 4])
    same(state.weights, fedda_round(begin(START, config), two, config).weights)


def test_only_what_a_method_needs_is_sent():
    for reading, optimizer, down, up in (
        ("carried", "sgdm", {"W", "M"}, {"S", "a"}),
        ("carried", "adam", {"W", "M", "D"}, {"S", "a"}),
        ("none", "sgdm", {"W"}, {"S"}),
        ("frozen", "sgdm", {"W", "M"}, {"S"}),
        ("restart", "adagrad", {"W", "D"}, {"S", "a"}),
    ):
        config = MethodConfig(reading=reading, optimizer=optimizer)
        arrays = sent_arrays(begin(START, config), config, LOCAL)
        assert set(arrays) == down
        one = quadratics(clients=1).cohort(steps=2)
        assert set(answer(arrays, one, config, LOCAL).arrays) == up
        assert set(sent_arrays(begin(START, config), config, END)) == {"W"}


def test_answers_of_some_numbers_go_where_they_belong():
    # M = 0, b = 0, h = 1: W - (1 / 4) (2, 4 at 0 and 2) - (3 / 4) (8 at 3).
    config = MethodConfig(reading="none", rate=1.0)
    told = [
        Answer(1, 1, {"S": np.array([2.0, 4.0])}, places=np.array([0, 2])),
        Answer(3, 1, {"S": np.array([8.0])}, places=np.array([3])),
    ]
    found = after(begin(START, config), told, config, LOCAL)
    same(found.weights, START - torch.tensor([0.5, 0.0, 1.0, 6.0], dtype=torch.float64))


def test_an_answer_of_another_length_is_refused():
    config = MethodConfig()
    with pytest.raises(CohortMismatch, match="of 4 numbers, received 3"):
        after(begin(START, config), [Answer(1, 1, {"S": np.zeros(3)})], config, LOCAL)
    with pytest.raises(CohortMismatch, match="at least one answer"):
        after(begin(START, config), [], config, LOCAL)


def test_a_rival_has_no_transport():
    config = MethodConfig(method="scaffold")
    with pytest.raises(ConfigError, match="should be fedda over a transport"):
        sent_arrays(begin(START, config), config, LOCAL)


def test_the_end_phase_is_the_last_rounds():
    assert [phase_of(number, DIALS[1]) for number in range(1, 6)] == [LOCAL] * 3 + [END] * 2


def test_a_server_goes_on_from_its_file(tmp_path):
    problem, config = quadratics(clients=3, steps=4), DIALS[0]
    file = tmp_path / "state.safetensors"
    assert open_state(file, DIALS) is None
    state = begin(START, config)
    for number in (1, 2):
        state = apart(problem, state, config, LOCAL, [0, 1, 2])
        save_state(file, state, number, DIALS)
    (tmp_path / "state.half").write_bytes(b"killed while it wrote")
    found = open_state(file, DIALS)
    assert found is not None
    again, number = found
    assert number == 2
    for mine, was in zip(again, state, strict=True):
        torch.testing.assert_close(mine, was, rtol=0.0, atol=0.0)
    ended = apart(problem, again, config, LOCAL, [0, 1, 2])
    same(ended.weights, apart(problem, state, config, LOCAL, [0, 1, 2]).weights)


def test_the_file_of_another_training_is_refused(tmp_path):
    file = tmp_path / "state.safetensors"
    save_state(file, begin(START, DIALS[0]), 1, DIALS)
    with pytest.raises(ConfigError, match="should be of the same dials"):
        open_state(file, (MethodConfig(rate=0.2), DIALS[1]))


@pytest.mark.parametrize("optimizer", ["sgdm", "adam"])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("phase", [LOCAL, END])
def test_an_answer_rides_on_what_was_sent_and_comes_off_again(
    reading: str, optimizer: str, phase: str
):
    problem, config = (
        quadratics(clients=3, steps=4),
        MethodConfig(reading=reading, optimizer=optimizer, floor=0.1),
    )
    state = fedda_round(begin(START, config), problem.cohort([0, 1, 2], steps=3), config)
    sent = sent_arrays(state, config, phase)
    told = answer(sent, problem.cohort([1], steps=3), config, phase)
    assert tuple(told.arrays) == told_names(config, phase)
    update = as_update(sent, told.arrays)
    assert list(update) == list(sent), "as mods want it"
    moved = sum(float(np.square(update[name] - sent[name]).sum()) for name in sent)
    whole = sum(float(np.square(values).sum()) for values in told.arrays.values())
    assert moved == pytest.approx(whole), "all of it, and each number once"
    again = from_update(sent, update, told_names(config, phase))
    assert list(again) == list(told.arrays)
    for name, values in told.arrays.items():
        np.testing.assert_allclose(again[name], values, atol=1e-12)


def test_an_answer_that_is_no_number_is_known():
    assert Answer(1, 1, {"S": np.ones(2)}).finite
    assert not Answer(1, 1, {"S": np.ones(2), "a": np.array([np.nan, 1.0])}).finite
