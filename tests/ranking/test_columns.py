"""Columns by number: they read like the lists that they stand for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.columns import Coded, as_objects, by_name, coded, distinct, unset

_VALUES = st.one_of(st.none(), st.text(max_size=3), st.integers(), st.lists(st.integers(0, 3)))


def test_it_reads_like_the_list_of_its_values():
    column = Coded(as_objects(["a", ["b", "c"], None]), np.array([1, 0, 1, 2], dtype=np.int64))
    assert list(column) == [["b", "c"], "a", ["b", "c"], None]
    assert (len(column), column[1], column[3]) == (4, "a", None)
    assert list(column[1:3]) == ["a", ["b", "c"]]
    assert list(column.take(np.array([3, 1]))) == [None, "a"]
    assert "a" in column


@given(values=st.lists(_VALUES, max_size=8), data=st.data())
def test_any_list_is_a_column(values, data):
    column = coded(values)
    assert list(column) == values
    assert coded(column) is column
    rows = data.draw(st.lists(st.integers(0, len(values) - 1) if values else st.nothing()))
    assert list(column.take(np.array(rows, dtype=np.int64))) == [values[row] for row in rows]


@given(texts=st.lists(st.sampled_from(["", "a", "ä", "b"]), max_size=12))
def test_text_is_told_once_in_the_order_of_its_first_rows(texts):
    for given_ in (texts, as_objects(texts)):
        column = distinct(given_)
        assert list(column) == texts
        assert column.values.tolist() == list(dict.fromkeys(texts))


def test_nothing_is_set():
    assert list(unset(3)) == [None] * 3
    assert list(unset(0)) == []


def test_rows_are_told_apart_by_the_names_of_their_values():
    """Values 0 and 3 are both an "a": four rows; "b" and "c" have two each, None has no name."""
    values = as_objects(["a", "c", None, "a", "b"])
    column = Coded(values, np.array([0, 1, 1, 2, 3, 4, 4, 0, 3]))
    found = {name: np.flatnonzero(rows).tolist() for name, rows in by_name(column, str_of, 9)}
    assert found == {"a": [0, 4, 7, 8], "b": [5, 6], "c": [1, 2]}
    assert list(found) == ["a", "b", "c"], "of equally frequent ones the name decides"
    assert [name for name, _ in by_name(column, str_of, 2)] == ["a", "b"]
    assert next(by_name(["x", "y", "x"], str_of, 1))[1].tolist() == [True, False, True]
    assert list(by_name(column.take(np.array([], dtype=np.int64)), str_of, 9)) == []


def str_of(value):
    return value
