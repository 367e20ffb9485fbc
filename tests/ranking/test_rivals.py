import numpy as np
import pytest

from graphsvc.snapshot import Span
from ranking.examples import build_examples, of_head
from ranking.metrics import auc
from ranking.rivals import SMOOTHING_GRID, fit_rivals, smoothed_rate


def popular_events(seed=0):
    """Film i of 10 is liked by everyone with chance i / 10; users do not matter."""
    rng = np.random.default_rng(seed)
    events, time = [], 0
    for span in Span:
        for _ in range(1500):
            user, film = int(rng.integers(30)), int(rng.integers(10))
            label = int(rng.random() < film / 10)
            time += 1
            events.append((user, film, 0, time, label, span))
            if label:
                events.append((user, film, 1, time, -1, span))
    return events


@pytest.fixture
def popular(world):
    here = world(popular_events(), users=30, films=10, known_users=30, known_films=10)
    return build_examples(here.snapshot, here.bundle)


def test_smoothed_rate_by_hand(states):
    seen = states(["a", "b"], exposures=[0, 8], outcomes=[0, 8])
    # (0 + 2 * .25) / (0 + 2) and (8 + .5) / (8 + 2)
    assert smoothed_rate(seen, 0.25, 2.0) == pytest.approx([0.25, 0.85])


def test_rivals_by_name_with_their_trials(popular):
    rivals = {rival.name: rival for rival in fit_rivals(popular)}
    assert list(rivals) == ["constant", "item_ctr", "user_item_mean"]
    assert [rivals[name].trials for name in rivals] == [1, 6, 36]
    assert rivals["item_ctr"].smoothing["item"] in SMOOTHING_GRID


def test_item_ctr_finds_what_films_are_worth(popular):
    """With p_i = i / 10 the best possible AUC is the chance that p of a one exceeds p of a zero.

    sum_{i > j} p_i (1 - p_j) + ties / 2, over sum p_i sum (1 - p_j), times n^2.
    """
    p = np.arange(10) / 10
    ones, zeros = p / p.sum(), (1 - p) / (1 - p).sum()
    best = sum(ones[i] * zeros[j] * ((i > j) + (i == j) / 2) for i in range(10) for j in range(10))
    labels = popular.rows[Span.TEST].labels
    found = {rival.name: auc(rival.probabilities, labels) for rival in fit_rivals(popular)}
    assert found["constant"] == 0.5
    assert found["item_ctr"] == pytest.approx(best, abs=0.03)
    assert found["user_item_mean"] == pytest.approx(best, abs=0.03)


def test_rivals_are_calibrated_where_rankers_are(popular):
    last, test = popular.rows[Span.CALIBRATE], popular.rows[Span.TEST]
    for rival in fit_rivals(popular):
        assert rival.probabilities.mean() == pytest.approx(last.labels.mean(), abs=0.04)
        assert len(rival.probabilities) == len(test.labels)


def converting_events(seed=0):
    """Everybody clicks film i of 10 with chance 1 - i / 10, and buys what was clicked with i / 10.

    So whatever counts clicks puts conversions the wrong way round.
    """
    rng = np.random.default_rng(seed)
    events, time = [], 0
    for span in Span:
        for _ in range(1500):
            user, film = int(rng.integers(30)), int(rng.integers(10))
            label = int(rng.random() < 1 - film / 10)
            bought = int(rng.random() < film / 10) if label else -1
            time += 1
            events.append((user, film, 0, time, label, span, 1.0, -1, bought))
            if label:
                events.append((user, film, 1, time, -1, span))
    return events


def test_the_rival_of_conversions_counts_conversions(world):
    here = world(converting_events(), users=30, films=10, known_users=30, known_films=10)
    examples = of_head(build_examples(here.snapshot, here.bundle), "cvr")
    labels = examples.rows[Span.TEST].labels
    found = {one.name: auc(one.probabilities, labels) for one in fit_rivals(examples, "cvr")}
    assert list(found) == ["constant", "item_cvr", "user_item_mean"]
    share = np.arange(10) / 10 * (1 - np.arange(10) / 10)
    bought, left = share / share.sum(), (1 - np.arange(10) / 10) ** 2
    left /= left.sum()
    best = sum(bought[i] * left[j] * ((i > j) + (i == j) / 2) for i in range(10) for j in range(10))
    assert found["item_cvr"] == pytest.approx(best, abs=0.03)
    by_clicks = {one.name: auc(one.probabilities, labels) for one in fit_rivals(examples)}
    assert by_clicks["item_ctr"] <= 0.5, "clicks rank conversions the wrong way round"
