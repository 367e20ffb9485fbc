"""The overlay keeps the most recently touched entities, and shows them as rows."""

import numpy as np

from api.overlay import Folded, Overlay, Place, Remembered
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
    assert sorted(overlay.view("user").ids) == ["a", "c"]


def test_a_view_has_the_rows_of_those_that_are_there() -> None:
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
    users = overlay.view("user")
    assert sorted(users.ids) == sorted(kept)
    expected = np.stack([kept[name] for name in users.ids])
    np.testing.assert_array_equal(users.vectors, expected)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(users.directions, expected / lengths, rtol=1e-5)
    ads = overlay.view("ad")
    assert (ads.ids, ads.passed_over) == ([], None)


def test_rows_are_hidden_and_shown() -> None:
    overlay = Overlay(bound=1)
    overlay.hide("ad", Place(1, 3), hidden=False)
    assert overlay.hidden("ad") is None, "nothing to pass over costs nothing"
    overlay.hide("ad", Place(1, 3), hidden=True)
    overlay.hide("ad", Place(2, 3), hidden=True)
    overlay.hide("ad", Place(1, 3), hidden=False)
    assert overlay.hidden("ad").tolist() == [False, False, True]
    assert overlay.hidden("user") is None


def test_a_changed_one_stands_in_for_its_row_for_as_long_as_it_is_there() -> None:
    overlay = Overlay(bound=2)

    def seen() -> tuple[list[tuple[str, bool]], list[bool] | None]:
        view = overlay.view("user")
        passed_over = None if view.passed_over is None else view.passed_over.tolist()
        return list(zip(view.ids, view.changed.tolist(), strict=True)), passed_over

    overlay.put(user("b"), folded(), replaces=Place(1, 3))
    assert seen() == ([("b", True)], [False, True, False])
    assert overlay.hidden("user") is None, "its trained vector may be used where nobody searches"
    overlay.hide("user", Place(2, 3), hidden=True)
    assert seen() == ([("b", True)], [False, True, True])
    overlay.put(user("b"), folded())  # it opted out
    assert seen() == ([("b", False)], [False, False, True])
    overlay.put(user("b"), folded(), replaces=Place(1, 3))
    overlay.drop(user("b"))
    assert seen() == ([], [False, False, True])


def test_changed_ones_make_room_for_those_whom_nothing_else_knows() -> None:
    overlay = Overlay(bound=2)
    overlay.put(user("new"), folded())
    overlay.put(user("b"), folded(), replaces=Place(1, 3))
    overlay.put(user("c"), folded(), replaces=Place(2, 3))
    assert user("b") not in overlay, "touched least recently of the changed ones"
    assert overlay.view("user").passed_over.tolist() == [False] * 2 + [True]
    assert (overlay.full, overlay.room) == (True, 1)
    overlay.put(user("newer"), folded())
    assert (user("new") in overlay, user("c") in overlay) == (True, False)
    overlay.put(user("c"), folded(), replaces=Place(2, 3))
    assert user("c") not in overlay, "there is no room for it"
    assert not overlay.view("user").passed_over.any()
