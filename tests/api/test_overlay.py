"""The overlay keeps the most recently touched entities, and finds the nearest of them exactly."""

import numpy as np
import pytest

from api.overlay import Folded, Overlay, Remembered
from graphsvc.ids import EntityId


def folded(*vector: float, edges: int = 1) -> Folded:
    return Folded(np.array(vector or (1.0, 0.0), dtype=np.float32), edges)


def user(name: str) -> EntityId:
    return EntityId("user", name)


def test_changed_edges_are_solved_again() -> None:
    remembered = Remembered(bound=2)
    remembered.put(user("a"), 1, folded(edges=7))
    assert remembered.get(user("a"), 1).edges == 7
    assert remembered.get(user("a"), 2) is None


def test_the_least_recently_used_makes_room() -> None:
    remembered = Remembered(bound=2)
    remembered.put(user("a"), 1, folded())
    remembered.put(user("b"), 1, folded())
    remembered.get(user("a"), 1)
    remembered.put(user("c"), 1, folded())
    assert len(remembered) == 2
    assert remembered.get(user("b"), 1) is None
    assert remembered.get(user("a"), 1)
    assert remembered.get(user("c"), 1)


def test_the_bound_holds_over_all_types() -> None:
    overlay = Overlay(bound=3)
    for name in "abc":
        overlay.put(user(name), folded())
    assert overlay.get(user("a")), "asking is a touch"
    overlay.put(EntityId("ad", "x"), folded())
    assert overlay.full
    assert len(overlay) == 3
    assert overlay.get(user("b")) is None, "touched least recently"
    assert {n.id for n in overlay.nearest("user", np.array([1, 0], np.float32), 9)} == {"a", "c"}


def test_the_nearest_are_the_ones_that_a_loop_finds() -> None:
    rng = np.random.default_rng(3)
    overlay, kept = Overlay(bound=1000), {}
    for step in range(600):
        name = f"u{rng.integers(150)}"
        if rng.random() < 0.4:
            overlay.drop(user(name))
            kept.pop(name, None)
        else:
            kept[name] = rng.normal(size=4).astype(np.float32)
            overlay.put(user(name), folded(*kept[name], edges=step))
    assert len(overlay) == len(kept) > 20
    query = rng.normal(size=4).astype(np.float32)

    def distance(vector: np.ndarray) -> float:
        return 1 - float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))

    expected = sorted(kept, key=lambda name: distance(kept[name]))[:10]
    found = overlay.nearest("user", query, 10)
    assert [near.id for near in found] == expected
    assert [near.distance for near in found] == pytest.approx(
        [distance(kept[name]) for name in expected], abs=1e-5
    )
    assert overlay.nearest("ad", query, 10) == []


def test_rows_are_hidden_and_shown() -> None:
    overlay = Overlay(bound=1)
    overlay.hide("ad", 1, 3, hidden=False)
    assert overlay.hidden("ad") is None, "nothing to pass over costs nothing"
    overlay.hide("ad", 1, 3, hidden=True)
    overlay.hide("ad", 2, 3, hidden=True)
    overlay.hide("ad", 1, 3, hidden=False)
    assert overlay.hidden("ad").tolist() == [False, False, True]
    assert overlay.hidden("user") is None
