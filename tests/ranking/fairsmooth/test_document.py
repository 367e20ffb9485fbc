import json

import numpy as np
import pytest

from ranking.fairsmooth.certificates import Counted, interval, within
from ranking.fairsmooth.document import SCHEMA, HeldOut, Terms, certificate, sentence
from ranking.fairsmooth.smoothing import tau

TERMS = Terms(scale=0.5, smoothed="the last layer", weights=65, draws=0, seed=0, confidence=0.95)


def two_groups():
    """Of ten women the own classifier is sure, of eight men as well: nothing is left to chance."""
    women = HeldOut(
        distance=0.1,
        learned_from=500,
        own=np.array([1.0] * 4 + [0.0] * 6),
        served=np.array([0.99] * 4 + [0.49] * 6),
        labels=np.array([1, 1, 0, 0] + [0] * 6),
    )
    men = HeldOut(
        distance=0.2,
        learned_from=700,
        own=np.array([1.0] * 6 + [0.0] * 2),
        served=np.array([0.9] * 8),
        labels=np.array([1] * 8),
    )
    return {"f": women, "m": men}


def test_what_is_counted_and_how_far_all_may_be_from_it():
    told = certificate(two_groups(), TERMS)
    assert told["schema"] == SCHEMA
    assert told["intervals"] == 8
    women = told["groups"]["f"]
    assert (women["r"], women["learned_from"], women["rows"]) == (0.1, 500, 10)
    assert women["tau"] == pytest.approx(float(tau(0.1, 0.5)))
    selected = women["rates"]["selection_rate"]
    assert (selected["hits"], selected["rows"]) == (4, 10)
    lo, hi = interval(Counted(4, 10), confidence=0.95, family=8)
    assert selected["own"] == pytest.approx([lo, hi])
    ends = [within(lo, 0.1, 0.5)[0], within(hi, 0.1, 0.5)[1]]
    assert selected["all"] == pytest.approx(ends)
    assert women["rates"]["true_positive_rate"]["hits"] == 2
    assert women["rates"]["false_positive_rate"]["rows"] == 8
    assert women["rates"]["error_rate"]["hits"] == 2
    assert women["base_rate"] == 0.2
    assert women["same_decision"] == 0.4, "those at .49 are too near to the threshold"


def test_what_no_row_says_anything_about_is_open():
    told = certificate(two_groups(), TERMS)
    men = told["groups"]["m"]["rates"]["false_positive_rate"]
    assert (men["rows"], men["own"]) == (0, [0.0, 1.0])
    assert told["gaps"]["false_positive_rate"]["at_most"] > 0.9


def test_gaps_are_those_of_the_two_bands():
    told = certificate(two_groups(), TERMS)
    women, men = (told["groups"][g]["rates"]["selection_rate"]["all"] for g in ("f", "m"))
    gaps = told["gaps"]["selection_rate"]
    assert gaps["at_most"] == pytest.approx(max(men[1] - women[0], women[1] - men[0]))
    assert gaps["ratio_at_least"] == pytest.approx(min(women[0] / men[1], men[0] / women[1]))
    two = float(tau(0.1, 0.5) + tau(0.2, 0.5))
    assert told["added_gap"] == pytest.approx(two)
    assert gaps["own_at_most"] <= gaps["at_most"] <= gaps["own_at_most"] + two


def test_it_is_json_and_the_same_each_time():
    told = certificate(two_groups(), TERMS)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert certificate(two_groups(), TERMS) == told


def test_scores_that_are_means_over_draws_say_how_far_off_they_may_be():
    """m = 1000: sqrt(ln 2000 / 1000) = .087."""
    assert certificate(two_groups(), TERMS)["draw_error"] == 0.0
    drawn = certificate(two_groups(), TERMS._replace(draws=1000))
    assert drawn["draw_error"] == pytest.approx(0.08718, abs=1e-5)


def test_the_sentence_has_the_numbers_and_what_is_not_promised():
    said = sentence({"f": 0.0797, "m": 0.1587})
    assert "at most 8.0 (f), 15.9 (m)" in said
    assert "no promise that groups are treated alike" in said
