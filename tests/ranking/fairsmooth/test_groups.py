import numpy as np
import pytest

from ranking.errors import ConfigError, GroupTooSmall
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.groups import balancing, members, rows_by_group

CONFIG = FairSmoothConfig(least_rows=3, least_outcomes=1)


def test_rows_by_the_order_of_names():
    names, labels = ["b", "a", "b", "a", "b", "a"], np.array([1, 1, 0, 0, 1, 1])
    found = rows_by_group(names, labels, CONFIG)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "a": [1, 3, 5],
        "b": [0, 2, 4],
    }
    assert list(found) == ["a", "b"]
    assert members([]) == {}


def test_labels_count_as_if_they_were_as_frequent_in_each_group():
    """Half of all are 1; of a three in four, of b one in four. Groups count as much as before."""
    names, labels = list("aaaabbbb"), np.array([1, 1, 1, 0, 1, 0, 0, 0])
    places = members(names)
    np.testing.assert_array_equal(balancing(places, labels, 0.0), np.ones(8))
    whole = balancing(places, labels, 1.0)
    np.testing.assert_allclose(whole, [2 / 3, 2 / 3, 2 / 3, 2, 2, 2 / 3, 2 / 3, 2 / 3])
    half = balancing(places, labels, 0.5)
    for own in places.values():
        assert whole[own] @ labels[own] / whole[own].sum() == pytest.approx(0.5)
        assert half[own].mean() == pytest.approx(1.0)
    assert 0.5 < half[:4] @ labels[:4] / 4 < 0.75


@pytest.mark.parametrize(
    ("names", "labels", "says"),
    [
        ("aaa", [1, 0, 1], "groups should be at least 2, received 1: a"),
        ("", [], "groups should be at least 2, received 0: none"),
        (
            "aaabb",
            [1, 0, 1, 1, 0],
            (
                "group 'b' should have at least 3 rows, 1 of each label, "
                "received 2 rows, 1 with label 1 and 1 with label 0"
            ),
        ),
        (
            "aaabbb",
            [1, 0, 1, 0, 0, 0],
            (
                "group 'b' should have at least 3 rows, 1 of each label, "
                "received 3 rows, 0 with label 1 and 3 with label 0"
            ),
        ),
    ],
)
def test_what_is_missing_is_said_with_how_many_rows_there_are(names, labels, says):
    with pytest.raises(GroupTooSmall) as error:
        rows_by_group(list(names), np.array(labels, dtype=np.int64), CONFIG)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("dial", "value"),
    [
        ("scale", 0.0),
        ("proximity", -1.0),
        ("ridge", float("inf")),
        ("rounds", 0),
        ("steps", 0),
        ("radius", 0.0),
        ("link", "probit"),
        ("balance", 1.5),
        ("balance", -0.1),
        ("least_rows", 0),
        ("least_outcomes", 0),
        ("confidence", 1.0),
        ("seed", -1),
    ],
)
def test_a_wrong_dial_is_named_with_its_value(dial, value):
    with pytest.raises(ConfigError, match=f"{dial} should be .*, received {value!r}"):
        FairSmoothConfig(**{dial: value})
