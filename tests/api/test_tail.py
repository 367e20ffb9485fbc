"""Following the log: what it brings, in bounded steps, and again from a new bundle's watermark."""

from collections import Counter

import numpy as np
import pytest
from followed import FILM, opened, post, settle
from planted import START

from api import tail as tail_module
from api.live import Following
from api.settings import Settings
from api.tail import Tail
from graphsvc import tail as log
from graphsvc.folding import fold_edges
from graphsvc.ids import EntityId
from graphsvc.triples import MOST_TAILS


def test_an_entity_is_solved_from_all_its_present_edges(trained) -> None:
    live = opened(trained)
    settle(live)
    trio, film = live.trio(), EntityId("film", "tail-1")
    assert trio.overlay.get(film) is None
    post(trained, "tail-1", range(4))
    settle(live)
    found = trio.overlay.get(film)
    assert found.edges == 4
    with live.database.reading() as connection:
        key = log.named(connection, film).key
        edges = fold_edges(connection, FILM, type_="film", key=key, as_of=START + 99)
    (alone,) = trio.solver.solve("film", [edges])
    np.testing.assert_allclose(found.vector, alone.vector, atol=1e-6)
    assert not np.allclose(found.vector, trio.bundle.prior("film"), atol=1e-3)
    assert live.lag == 0
    live.database.dispose()


def test_the_edges_that_a_fold_in_leaves_out_are_counted(trained) -> None:
    live = opened(trained, most_edges=2)
    post(trained, "counted", range(5))
    settle(live)
    view = live.trio().overlay.view("film")
    place = view.ids.index("counted")
    assert (view.edges[place], view.degree[place]) == (2, 5)
    live.database.dispose()


def test_many_solved_together_are_as_if_solved_alone(trained) -> None:
    live = opened(trained)
    settle(live)
    names = [f"together-{n}" for n in range(40)]
    for n, name in enumerate(names):
        post(trained, name, range(n % 3, n % 3 + 1 + n % 5))
    settle(live)
    trio = live.trio()
    with live.database.reading() as connection:
        for name in names:
            key = log.named(connection, EntityId("film", name)).key
            edges = fold_edges(connection, FILM, type_="film", key=key, as_of=START)
            (alone,) = trio.solver.solve("film", [edges])
            found = trio.overlay.get(EntityId("film", name))
            np.testing.assert_allclose(found.vector, alone.vector, atol=1e-5)
    live.database.dispose()


def test_a_step_is_bounded_and_the_next_ones_catch_up(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = opened(trained)
    settle(live)
    before = live.trio().tail.done
    monkeypatch.setattr(tail_module, "_ROWS", 5)
    post(trained, "bounded-1", range(12))
    tail = live.trio().tail
    assert tail.step()
    assert tail.done == before + 5
    assert tail.lag == 7
    settle(live)
    assert (tail.done, tail.lag) == (before + 12, 0)
    assert live.trio().overlay.get(EntityId("film", "bounded-1")).edges == 12
    live.database.dispose()


def test_the_overlay_stays_within_its_bound_and_keeps_the_latest(trained) -> None:
    live = opened(trained, overlay_entities=3)
    settle(live)
    for n in range(6):
        post(trained, f"crowd-{n}", range(2))
        settle(live)
    overlay = live.trio().overlay
    assert len(overlay) == 3
    assert [n for n in range(6) if EntityId("film", f"crowd-{n}") in overlay] == [3, 4, 5]
    live.database.dispose()


def test_the_walk_ends_with_the_newest_and_the_next_one_costs_the_oldest(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_SOLVED", 2)
    names = [f"walk-{n}" for n in range(9)]
    for name in names:
        post(trained, name, range(2))
    live = opened(trained, overlay_entities=5)  # fewer than there are, all in one page of the walk
    settle(live)
    overlay = live.trio().overlay
    assert overlay.full
    kept = [n for n in range(9) if EntityId("film", names[n]) in overlay]
    # Those who opted out in other tests were there before the walk.
    assert kept == list(range(9))[-len(kept) :] != []
    post(trained, "walk-9", range(2))
    settle(live)
    now = [n for n in range(10) if EntityId("film", f"walk-{n}") in overlay]
    assert now == [*kept[1:], 9]
    live.database.dispose()


def test_the_walk_goes_on_below_those_without_edges(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_SOLVED", 2)
    post(trained, "edged", range(2))
    for n in range(9):
        path = f"/v1/entities/film/bare-{n}"
        assert trained.http.put(path, json={"attributes": {"year": 1999}}).status_code == 200
    live = opened(trained, overlay_entities=3)
    settle(live)
    assert EntityId("film", "edged") in live.trio().overlay
    assert live.trio().overlay.full
    live.database.dispose()


def test_what_an_answer_misses_is_solved_again(trained) -> None:
    live = opened(trained, overlay_entities=1)
    for name in ("missed-1", "missed-2"):
        post(trained, name, range(3))
    settle(live)
    trio, missed = live.trio(), EntityId("film", "missed-1")
    assert missed not in trio.overlay
    with live.database.reading() as connection:
        trio.tail.want([log.named(connection, missed).key])
    settle(live)
    assert missed in trio.overlay
    live.database.dispose()


def test_what_has_no_edge_is_not_asked_for_again_until_it_has_one(trained) -> None:
    live = opened(trained)
    post(trained, "lonely", range(900, 901))  # by somebody whom the bundle does not know
    settle(live)
    trio, lonely = live.trio(), EntityId("film", "lonely")
    with live.database.reading() as connection:
        key = log.named(connection, lonely).key
    solved = Counter()

    def counting(self, connection, chosen, turn, work=Tail._solve_some) -> None:
        if self is trio.tail:  # the server follows the log as well
            solved.update(entity.key for entity in chosen)
        work(self, connection, chosen, turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tail, "_solve_some", counting)
        for _ in range(3):
            trio.tail.want([key])
            settle(live)
        assert solved[key] == 0
        assert lonely not in trio.overlay
        post(trained, "lonely", range(3))
        settle(live)
        assert solved[key] == 1
    assert lonely in trio.overlay
    live.database.dispose()


def test_a_promotion_begins_anew_from_its_own_watermark(trained) -> None:
    post(trained, "anew-1", range(3))
    first = opened(trained)
    settle(first)
    again = opened(trained)
    settle(again)
    old, new = first.trio(), again.trio()
    assert old.overlay is not new.overlay
    assert EntityId("film", "anew-1") in new.overlay, "from before this trio was loaded"
    assert new.tail.watermark == old.tail.watermark > 0
    assert len(new.overlay) >= 1
    rows = new.bundle.rows("film", ["anew-1", "d1"])
    assert rows[0] < 0 <= rows[1]
    assert EntityId("film", "d1") not in new.overlay, "what people act on keeps its vector"
    for live in (first, again):
        live.database.dispose()


def test_a_database_that_fails_loses_nothing(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    live = opened(trained)
    settle(live)
    post(trained, "lost-1", range(2))

    def fail(*_args: object, **_named: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(tail_module, "fold_edges", fail)
        with pytest.raises(OSError, match="gone"):
            settle(live)
    assert EntityId("film", "lost-1") not in live.trio().overlay
    settle(live)
    assert live.trio().overlay.get(EntityId("film", "lost-1")).edges == 2
    live.database.dispose()


def test_serving_takes_as_many_as_training() -> None:
    numbers = (Following().most_edges, Settings.model_fields["foldin_edges"].default)
    assert numbers == (MOST_TAILS,) * 2
