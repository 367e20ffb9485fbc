"""The AUC of known chances: against every pair, and against what came of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import FAR, twelve_days

from graphsvc.simulate import Bayes, auc_of

LONG = twelve_days()


def pairs_in_order(score: list[float], chance: list[float]) -> float:
    won = whole = 0.0
    for i, mine in enumerate(score):
        for j, other in enumerate(score):
            if i != j:
                both = chance[i] * (1 - chance[j])
                whole += both
                won += both * (1.0 if mine > other else 0.5 if mine == other else 0.0)
    return won / whole if whole > 0 else float("nan")


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=8))
def test_the_expected_auc_is_that_of_all_pairs(rows: list[tuple[int, float]]) -> None:
    score, chance = [float(row[0]) for row in rows], np.array([row[1] for row in rows])
    slow = pairs_in_order(score, chance.tolist())
    if np.isnan(slow) or not 1e-3 < sum(chance) < len(rows) - 1e-3:
        return  # hardly a pair
    fast = auc_of(np.array(score), chance, 1 - chance)
    assert fast == pytest.approx(slow, abs=1e-9)


def test_the_expected_auc_of_a_small_market_is_that_of_all_pairs() -> None:
    click = LONG.truth["click"][:80]
    slow = pairs_in_order(click.tolist(), click.tolist())
    assert auc_of(click, click, 1 - click) == pytest.approx(slow, abs=1e-9)


def test_an_auc_of_labels() -> None:
    """Ones at .9 and .2, zeros at .5 and .2: of four pairs two in order, one a tie."""
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    assert auc_of(np.array([0.9, 0.5, 0.2, 0.2]), labels, 1 - labels) == 2.5 / 4
    assert np.isnan(auc_of(np.empty(0), np.empty(0), np.empty(0)))


def test_what_can_be_reached_is_told_and_was_reached() -> None:
    bayes = Bayes()
    for part in np.array_split(LONG.truth, 5):
        bayes.add(part)
    found, told = bayes.figures(), LONG.truth
    logged = told["looked_at"] * told["click"]
    exact = auc_of(logged, logged, 1 - logged)
    assert found["click_logged"].expected == pytest.approx(exact, abs=1e-3)
    assert found["click_logged"].rows == len(told)
    assert found["click_looked_at"].rows == told["was_looked_at"].sum()
    assert found["click_unplaced"].expected < found["click_logged"].expected
    for name, one in found.items():
        ones = told["was_bought" if name == "purchase" else "was_clicked"].sum()
        assert one.expected > 0.55, name
        # The deviation of an AUC is at most that of a coin per 1.
        assert abs(one.realised - one.expected) < FAR * 0.5 / ones**0.5, name
