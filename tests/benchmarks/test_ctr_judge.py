"""Who is ahead, by seeds and by users, with numbers that a human can redo."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from ctr_judge import Judged, Lead, drawn, draws, judged, lead, mean_of

from ranking.metrics import auc, log_loss


@pytest.fixture
def rows() -> Judged:
    rng = np.random.default_rng(0)
    return Judged(rng.integers(2, size=90).astype(np.int8), np.repeat(np.arange(15), 6))


def scores(rows: Judged, strength: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(rows.label))
    return 1 / (1 + np.exp(-(strength * rows.label + noise)))


def test_the_first_draw_is_the_data_and_others_are_users_drawn_again(rows: Judged):
    runs = [scores(rows, 1.0, seed) for seed in (1, 2)]
    weights = draws(rows, 5)
    assert weights.shape == (6, 15)
    assert (weights.sum(axis=1) == 15).all()
    aucs, losses = mean_of([drawn(rows, run, weights) for run in runs])
    for number, draw in enumerate(weights.astype(int)):
        # A user who is drawn twice has all their rows twice.
        again = np.repeat(np.arange(90), draw[rows.user])
        doubles = [run[again] for run in runs]
        slow = np.mean([auc(double, rows.label[again]) for double in doubles])
        assert aucs[number] == pytest.approx(slow, abs=1e-12)
        slow = np.mean([log_loss(double, rows.label[again]) for double in doubles])
        assert losses[number] == pytest.approx(slow, abs=1e-12)


def test_a_lead_needs_both_intervals(rows: Judged):
    weights = draws(rows, 200)
    good, bad = ([scores(rows, s, seed) for seed in (1, 2, 3)] for s in (6.0, 0.0))
    aucs = [{n: auc(run, rows.label) for n, run in enumerate(r)} for r in (good, bad)]
    given = [mean_of([drawn(rows, run, weights) for run in r]).auc for r in (good, bad)]
    found = lead(aucs[0], aucs[1], (given[0], given[1]))
    assert found.decided == "ahead"
    assert found.seeds == 3
    assert found.value == pytest.approx(given[0][0] - given[1][0])
    assert lead(aucs[1], aucs[0], (given[1], given[0])).decided == "behind"
    same = lead(aucs[0], aucs[0], (given[0], given[0]))
    assert same == Lead(0.0, 3, (0.0, 0.0), (0.0, 0.0))
    assert same.decided == "not decided"
    one = lead({1: 0.9}, {1: 0.5}, (given[0], given[1]))
    assert (one.by_seed, one.decided) == (None, "not decided"), "one seed decides nothing"


def test_the_interval_over_seeds_is_students():
    flat = np.zeros(3)
    found = lead({1: 0.70, 2: 0.72, 3: 0.74}, {1: 0.70, 2: 0.70, 3: 0.70, 4: 0.9}, (flat, flat))
    # 0, .02, .04: mean .02, deviation .02, 4.303 * .02 / sqrt(3) = .0497
    assert found.value == pytest.approx(0.02)
    assert found.by_seed == pytest.approx((0.02 - 0.04969, 0.02 + 0.04969), abs=1e-4)


def test_of_many_rows_whole_users_are_judged():
    label = np.zeros(100, np.int8)
    cluster = np.repeat(np.arange(25, dtype=np.int32), 4)
    places, rows = judged(label, cluster, most=40)
    assert len(places) == 40
    assert (np.bincount(rows.user) == 4).all()
    assert len(rows.label) == 40
    every, _ = judged(label, cluster, most=100)
    assert every.tolist() == list(range(100))
