"""Which events stand, for many edges at once, against the rule for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphsvc.projection import standing
from graphsvc.standing import stands

_SAID = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.booleans()))


@given(said=_SAID, adds_up=st.booleans())
def test_it_equals_the_rule_for_one_edge(said, adds_up) -> None:
    pair, time, back = (
        (np.array(column) for column in zip(*said, strict=True))
        if said
        else (
            np.empty(0, np.int64),
            np.empty(0, np.int64),
            np.empty(0, bool),
        )
    )
    kept = stands(pair.astype(np.int64), time.astype(np.int64), taken_back=back, adds_up=adds_up)
    for edge in range(3):
        one = [(t, b, "") for p, t, b in said if p == edge]
        found = sorted(time[kept & (pair == edge)].tolist())
        assert found == standing(one, adds_up=adds_up)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("+1 +2 -3", [1]),
        ("-1 +2", [2]),  # a retraction that finds nothing
        ("+1 -1", []),  # of one second, the event comes first
        ("+1 +2 +3 -4 -5 +6", [1, 6]),
        ("+1 -2 -3 +4 -5 +6 +7", [6, 7]),
    ],
)
def test_by_hand(said: str, left: list[int]) -> None:
    words = said.split()
    time = np.array([int(word[1:]) for word in words], np.int64)
    back = np.array([word[0] == "-" for word in words])
    kept = stands(np.zeros(len(words), np.int64), time, taken_back=back, adds_up=True)
    assert time[kept].tolist() == left
