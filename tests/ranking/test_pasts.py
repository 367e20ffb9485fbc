"""Attributes through time: what had been set by a moment, and never what came later."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphsvc.snapshot import Attributes, Span
from ranking.examples import build_examples
from ranking.pasts import AttributePast


def table(versions):
    """A snapshot's table of (row, name, value, time), sorted as there."""
    ordered = sorted(versions, key=lambda v: (v[0], v[1], v[3]))
    return Attributes(
        row=np.array([v[0] for v in ordered], np.int32),
        name=np.array([v[1] for v in ordered], object),
        value=np.array([json.dumps(v[2]) for v in ordered], object),
        time=np.array([v[3] for v in ordered], np.int64),
    )


def asked(rows, times):
    return np.array(rows, np.int32), np.array(times, np.int64)


def test_a_version_holds_from_its_second_to_the_next() -> None:
    versions = [(3, "tags", ["a", "b"], 10), (3, "tags", None, 20), (3, "tags", ["c"], 30)]
    versions += [(2, "tags", "z", 5), (4, "tags", "y", 0), (3, "year", 7, 0)]
    past = AttributePast(table(versions), "tags")
    rows, times = asked([3] * 6, [9, 10, 19, 20, 29, 99])
    assert list(past.values_at(rows, times)) == [None, ["a", "b"], ["a", "b"], None, None, ["c"]]
    assert list(past.values_at(*asked([2, 4, 5, 0], [4, 0, 99, 99]))) == [None, "y", None, None]


def test_nothing_was_ever_set() -> None:
    past = AttributePast(table([]), "tags")
    assert list(past.values_at(*asked([1, 2], [3, 4]))) == [None, None]


_VERSIONS = st.lists(
    st.tuples(st.integers(0, 3), st.just("n"), st.integers(0, 9), st.integers(0, 20)),
    unique_by=lambda v: (v[0], v[3]),
)


@given(versions=_VERSIONS, row=st.integers(0, 4), time=st.integers(0, 21))
def test_it_equals_a_slow_loop(versions, row, time) -> None:
    earlier = [v for v in versions if v[0] == row and v[3] <= time]
    expected = max(earlier, key=lambda v: v[3])[2] if earlier else None
    past = AttributePast(table(versions), "n")
    assert list(past.values_at(*asked([row], [time]))) == [expected]


EVENTS = [
    (0, film, 0, 100 * span + n, n % 2, span) for span in Span for n, film in enumerate([0, 1])
]


def test_a_row_has_the_values_of_its_own_time(world) -> None:
    attributes = [
        (0, "lean", '"left"', 50),
        (0, "lean", '"right"', 200),
        (1, "lean", '"left"', 202),
    ]
    here = world(EVENTS, users=1, films=2, known_users=1, known_films=2, attributes=attributes)
    rows = build_examples(here.snapshot, here.bundle).rows
    found = {span: list(rows[span].tails.attributes["lean"]) for span in rows}
    assert found == {
        Span.TRAIN: ["left", None],
        Span.VALID: ["right", None],  # film 1 was shown at 201, a second too early
        Span.CALIBRATE: ["right", "left"],
        Span.TEST: ["right", "left"],
    }


@pytest.mark.parametrize("value", ['"right"', "null"])
def test_a_value_that_is_set_later_changes_no_row(world, value) -> None:
    attributes = [(0, "lean", '"left"', 50)]
    here, there = (
        world(EVENTS, users=1, films=2, known_users=1, known_films=2, attributes=given_)
        for given_ in (attributes, [*attributes, (0, "lean", value, 402), (1, "lean", value, 402)])
    )
    one, other = (build_examples(w.snapshot, here.bundle).rows for w in (here, there))
    assert here.snapshot.digest != there.snapshot.digest
    for span in one:
        values, others = (
            {name: list(column) for name, column in side[span].tails.attributes.items()}
            for side in (one, other)
        )
        assert values == others
