"""The overlay keeps the most recently used entities, and never answers for changed edges."""

import numpy as np

from api.overlay import Folded, Overlay
from graphsvc.ids import EntityId


def folded(stamp: int) -> Folded:
    return Folded(np.full(2, stamp, dtype=np.float32), stamp, 1)


def test_changed_edges_are_solved_again() -> None:
    overlay = Overlay(bound=2)
    overlay.put(EntityId("user", "a"), folded(1))
    assert overlay.get(EntityId("user", "a"), 1).stamp == 1
    assert overlay.get(EntityId("user", "a"), 2) is None


def test_the_least_recently_used_makes_room() -> None:
    overlay = Overlay(bound=2)
    a, b, c = (EntityId("user", name) for name in "abc")
    overlay.put(a, folded(1))
    overlay.put(b, folded(1))
    overlay.get(a, 1)
    overlay.put(c, folded(1))
    assert len(overlay) == 2
    assert overlay.get(b, 1) is None
    assert overlay.get(a, 1)
    assert overlay.get(c, 1)
