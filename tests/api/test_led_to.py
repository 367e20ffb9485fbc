"""What is kept of where candidates lead to: bounded, and never what was read before it changed."""

import numpy as np

from api.led_to import LedTo, Lying


def lying(number: float) -> Lying:
    return Lying(np.full((2, 3), number, np.float32), np.ones(2, bool))


def test_what_is_kept_is_given_back_until_it_is_forgotten() -> None:
    kept = LedTo()
    found, version = kept.get([1, 2])
    assert found == {}
    kept.put({1: lying(1), 2: lying(2)}, version)
    found, _ = kept.get([2, 1, 3])
    assert {key: one.vectors[0, 0] for key, one in found.items()} == {1: 1.0, 2: 2.0}
    kept.forget([1, 7])
    assert set(kept.get([1, 2])[0]) == {2}
    kept.forget(None)
    assert kept.get([1, 2])[0] == {}


def test_what_was_read_before_an_edge_came_is_not_kept() -> None:
    kept = LedTo()
    _, version = kept.get([1])
    kept.forget([1])  # its edge came while the graph was being read
    kept.put({1: lying(1)}, version)
    assert len(kept) == 0
    kept.put({1: lying(1)}, kept.get([1])[1])
    assert len(kept) == 1


def test_the_least_recently_used_make_room() -> None:
    kept = LedTo(bound=2)
    kept.put({1: lying(1), 2: lying(2)}, kept.get([])[1])
    kept.get([1])
    kept.put({3: lying(3)}, kept.get([])[1])
    assert set(kept.get([1, 2, 3])[0]) == {1, 3}
