import numpy as np
import pytest

from ranking.curves import calibration_picture, training_picture
from ranking.examples import build_examples
from ranking.metrics import ece
from ranking.reliability import reliability, tenths


def test_tenths_by_hand():
    """Twenty rows of .1, .2, .3 ...: two to a part, and each part says its mean and its share."""
    probabilities = np.repeat(np.arange(1, 11) / 10, 2)
    labels = np.array([1, 0] * 10, dtype=np.int8)
    parts = tenths(probabilities, labels, np.ones(20))
    assert [part.rows for part in parts] == [2.0] * 10
    assert [part.predicted for part in parts] == pytest.approx(np.arange(1, 11) / 10)
    assert [part.observed for part in parts] == [0.5] * 10
    # |.1 - .5|, |.2 - .5| ... |1 - .5|: (.4 + .3 + .2 + .1 + 0 + .1 + .2 + .3 + .4 + .5) / 10
    assert ece(probabilities, labels) == pytest.approx(0.25)


def test_equal_probabilities_stay_together():
    """Nine of .5 and one of .9: of the order alone no part could tell who of the nine is whose."""
    parts = tenths(np.array([0.5] * 9 + [0.9]), np.array([1] * 3 + [0] * 7, np.int8), np.ones(10))
    assert [tuple(part) for part in parts] == [
        (9.0, pytest.approx(0.5), pytest.approx(1 / 3)),
        (1.0, pytest.approx(0.9), 0.0),
    ]


def test_a_row_counts_as_often_as_it_stands():
    probabilities, labels = np.array([0.2, 0.4, 0.6]), np.array([1, 0, 1], np.int8)
    weights = np.array([1, 4, 2])
    one = tenths(probabilities, labels, weights)
    other = tenths(np.repeat(probabilities, weights), np.repeat(labels, weights), np.ones(7))
    assert one == other


def test_what_is_right_on_the_whole_may_be_wrong_for_a_group(leaning):
    """Everybody is said to be at 1/2, which is so on the whole; left with left end well always."""
    examples = build_examples(leaning.snapshot, leaning.bundle)
    rows = list(examples.rows.values())[-1]
    lean = [
        (u == f == "left")
        for u, f in zip(rows.heads.attributes["lean"], rows.tails.attributes["lean"], strict=True)
    ]
    rows = rows.take(np.flatnonzero(np.array(lean) | (rows.labels == 0)))
    share = float((rows.labels == 1).mean())
    found = reliability(examples, rows, np.full(len(rows.labels), share))
    assert found["ece"] == pytest.approx(0.0, abs=1e-12)
    groups = {one["group"]: one for one in found["groups"]}
    assert {"user.lean=left", "user.lean=right", "film.lean=left", "film.lean=right"} <= set(groups)
    right = groups["user.lean=right"]
    assert (right["observed"], right["predicted"]) == (0.0, pytest.approx(share))
    assert right["ece"] == pytest.approx(share)
    history = [one["rows"] for name, one in groups.items() if name.startswith("history=")]
    assert sum(history) == len(rows.labels)


def test_pictures_are_the_same_bytes_each_time():
    told = {"loss": 0.5, "auc": 0.7}
    heads = {"ctr": told, "cvr": told}
    trace = [
        {
            "epoch": n,
            "train_loss": 1 / n,
            "valid_loss": 1 / n,
            "best_epoch": n,
            "by_head": heads,
        }
        for n in (1, 2, 3)
    ]
    tenth = {"rows": 1.0, "predicted": 0.1, "observed": 0.2}
    found = {head: {"ece": 0.1, "tenths": [tenth], "groups": []} for head in ("ctr", "cvr")}
    for draw in (lambda: training_picture(trace), lambda: calibration_picture(found)):
        assert draw().startswith(b"\x89PNG")
        assert draw() == draw()
