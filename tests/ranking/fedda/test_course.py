"""Rounds one after the other: what is asked, what is taken, and what a server goes on from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parabolas import Quadratics, quadratics, same

from ranking.errors import CohortMismatch, ConfigError
from ranking.fedda.config import MethodConfig, NoiseConfig, RoundsConfig, SecretSumConfig
from ranking.fedda.course import Asked, Course
from ranking.fedda.server import begin, central_step, fedda_round, mean_whole_gradient
from ranking.fedda.wire import END, LOCAL, Answer, answer

START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
METHOD = MethodConfig(optimizer="adam", floor=0.1)
ROUNDS = RoundsConfig(rounds=4, steps=3, warm_rounds=1, end_rounds=1)


def answers(problem: Quadratics, asked: Asked) -> list[Answer]:
    return [
        answer(asked.arrays, problem.cohort([client], steps=asked.steps), METHOD, asked.phase)
        for client in range(3)
    ]


def test_rounds_are_those_of_one_process_also_from_the_file_on(tmp_path: Path):
    problem, file = quadratics(clients=3, steps=4), tmp_path / "state.safetensors"
    state = begin(START, METHOD)
    for number, (phase, steps) in enumerate([(LOCAL, 1), (LOCAL, 3), (LOCAL, 3), (END, 1)], 1):
        course = Course(START, (METHOD, ROUNDS), file)
        assert course.left == 5 - number
        asked = course.asked()
        assert (asked.number, asked.phase, asked.steps) == (number, phase, steps)
        course.take([])
        assert course.asked().number == number, "of no answer nothing changes"
        course.take(answers(problem, asked))
        cohort = problem.cohort([0, 1, 2], steps=steps)
        if phase == LOCAL:
            state = fedda_round(state, cohort, METHOD)
        else:
            gradient = mean_whole_gradient(state, cohort)
            state = central_step(state, gradient, METHOD, end_rate=ROUNDS.end_rate)
        same(course.state.weights, state.weights)
    assert Course(START, (METHOD, ROUNDS), file).left == 0
    with pytest.raises(ConfigError, match="should be of the same dials"):
        Course(START, (METHOD, RoundsConfig(rounds=9)), file)


def test_the_mean_of_answers_of_as_many_steps_is_all_that_is_needed(tmp_path: Path):
    """What a secure sum gives: one answer of all rows."""
    problem = quadratics(clients=3, steps=4)
    one, all_ = (Course(START, (METHOD, ROUNDS), tmp_path / name) for name in ("one", "all"))
    for _ in range(3):
        told = answers(problem, all_.asked())
        all_.take(told)
        rows = np.array([answer.rows for answer in told])
        mean = {
            name: np.average([answer.arrays[name] for answer in told], axis=0, weights=rows)
            for name in told[0].arrays
        }
        one.take([Answer(int(rows.sum()), told[0].steps, mean)])
        same(one.state.weights, all_.state.weights)
        same(one.state.square, all_.state.square)


def test_an_answer_that_is_no_number_is_not_taken(tmp_path: Path):
    course = Course(START, (METHOD, ROUNDS), tmp_path / "state.safetensors")
    with pytest.raises(CohortMismatch, match="should be of finite numbers"):
        course.take([Answer(3, 1, {"S": np.full(4, np.nan), "a": np.zeros(4)})])
    assert course.done == 0


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: SecretSumConfig(most_rows=0), "most_rows should be a whole number of at least 1"),
        (lambda: SecretSumConfig(most_rows=9, least=2), "least should be a whole number of at"),
        (lambda: SecretSumConfig(most_rows=9, bound=0.0), "bound should be above 0"),
        (lambda: SecretSumConfig(most_rows=9, threshold=1.5), "threshold should be above 0 and"),
        (lambda: NoiseConfig(bound=0.0), "bound should be above 0"),
        (lambda: NoiseConfig(bound=1.0, epsilon=2.0), "epsilon should be above 0 and at most 1"),
        (lambda: NoiseConfig(bound=1.0, delta=0.1), r"delta should be above 0 and at most \.01"),
    ],
)
def test_dials_that_promise_nothing_are_refused(made, says: str):
    with pytest.raises(ConfigError, match=says):
        made()
