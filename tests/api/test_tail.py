"""Following the log: what it brings, in bounded steps, and again from a new bundle's watermark."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planted import COMEDIES, START, click

from api import tail as tail_module
from api.answers import Answerer
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import open_workshop
from api.live import Following, Live
from api.overlay import Overlay
from api.settings import Settings
from api.tail import Tail
from api.waiting import Turn
from graphsvc import ledger
from graphsvc import tail as log
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.folding import fold_edges
from graphsvc.ids import EntityId
from graphsvc.schema import load_schema
from graphsvc.triples import MOST_TAILS
from kge.bundle import Bundle

FILM = load_schema("film")


def opened(trained, **following: int) -> Live:
    """A server's view of the trained world, without its threads: the test takes the steps."""
    database = Database(trained.settings.graph_url)
    live = Live(
        database,
        ArtifactStore(trained.settings.artifacts_dir),
        lambda: FILM,
        Following(**following),
    )
    live.refresh()
    return live


def post(trained, film: str, users: range, *, name: str = "") -> None:
    events = [click(f"u{n}", film, START + n, f"{film}-{n}-{name}") for n in users]
    answer = trained.http.post("/v1/events", params={"backfill": True}, json={"events": events})
    assert answer.json()["accepted"] == len(users), answer.text


def settle(live: Live) -> int:
    steps = 0
    while live.trio().tail.step():
        steps += 1
    return steps


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
    (alone,) = trio.solver.solve("film", [edges], each_counts=False)
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
            (alone,) = trio.solver.solve("film", [edges], each_counts=False)
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


def passed_over(trio, user: str) -> bool:
    """Whether searches pass over a trained user's row of the index."""
    hidden = trio.overlay.view("user").passed_over
    at = trio.bundle.rows("user", [user])[0] - trio.bundle.types["user"].start
    return hidden is not None and bool(hidden[at])


def test_one_who_changed_has_their_row_back_when_the_bound_drops_them(trained) -> None:
    live = opened(trained)
    settle(live)
    trio = live.trio()
    # From here on there is room for three changed people beside the new entities.
    trio.overlay.bound = bound = trio.overlay.bound - trio.overlay.room + 3
    post(trained, "d3", range(50, 51), name="bound")
    settle(live)
    changed = EntityId("user", "u50")
    assert trio.overlay.get(changed).edges >= 20
    assert passed_over(trio, "u50")
    for n in (52, 54, 56):
        post(trained, "d3", range(n, n + 1), name="bound")
        settle(live)
    assert len(trio.overlay) == bound
    assert changed not in trio.overlay
    assert not passed_over(trio, "u50")
    assert passed_over(trio, "u56")
    for n in range(3):
        post(trained, f"first-{n}", range(2))
    settle(live)
    assert not passed_over(trio, "u56"), "new entities take the room of changed ones"
    assert [n for n in range(3) if EntityId("film", f"first-{n}") in trio.overlay] == [0, 1, 2]
    live.database.dispose()


def test_scoring_keeps_the_trained_vector_and_the_next_trio_looks_back(trained) -> None:
    post(trained, "c5", range(58, 59), name="back")
    live = opened(trained)
    settle(live)
    trio, user = live.trio(), EntityId("user", "u58")
    folded = trio.overlay.get(user)
    assert folded.edges == 21, "from before this trio was loaded"
    answerer = Answerer(live.database, FILM, 200)
    row = trio.bundle.rows("user", ["u58"])[0]
    with live.database.reading() as connection:
        asked = answerer.locate(trio, connection, user)
        scored = answerer.locate(trio, connection, user, scoring=True)
        quiet = answerer.locate(trio, connection, EntityId("user", "u59"))
        key = log.named(connection, user).key
        edges = fold_edges(connection, FILM, type_="user", key=key, as_of=START + 99)
    np.testing.assert_array_equal(asked.vector, folded.vector)
    np.testing.assert_array_equal(scored.vector, trio.bundle.vectors[row])
    assert [(one.state, one.edges) for one in (asked, scored, quiet)] == [
        ("learned", 21),
        ("learned", 0),
        ("learned", 20),  # of which the graph's span holds the first ones
    ]
    (alone,) = trio.solver.solve("user", [edges], each_counts=False)
    np.testing.assert_allclose(folded.vector, alone.vector, atol=1e-5)
    live.database.dispose()


def test_a_promotion_takes_nothing_back_of_what_people_did(trained) -> None:
    """A bundle's edges end with its graph's span, and its watermark lies behind what came later."""
    user, turned = EntityId("user", "u44"), "u44"  # liked drama until now
    later = [
        click(turned, film, START + 100_000 + n, f"turned-{film}")
        for n, film in enumerate(COMEDIES)
    ]
    answer = trained.http.post("/v1/events?backfill=true", json={"events": later})
    assert answer.json()["accepted"] == len(later), answer.text
    live = opened(trained)
    settle(live)
    before = live.trio().overlay.get(user)
    assert before.edges == 20 + len(later)

    shop, quiet = open_workshop(trained.settings), lambda *_told: None
    snapshot = steps.snapshot(shop, RetrainRequest(), quiet)
    bundle = embed(shop, snapshot, seed=2, tick=quiet, previous=trained.bundles[1])
    index = steps.index(shop, bundle, quiet)
    made = ledger.Live(generation=99, bundle=bundle, index=index, ranker=trained.rankers[1])
    trio = live._load(made)
    assert trio.tail.watermark == trio.tail.done, "the log holds nothing newer"
    while trio.tail.step():
        pass
    row = trio.bundle.rows("user", [turned])[0]
    after = trio.overlay.get(user)
    assert 0 < trio.bundle.degree[row] < after.edges == before.edges
    with live.database.reading() as connection:
        key = log.named(connection, user).key
        edges = fold_edges(connection, FILM, type_="user", key=key, as_of=START + 200_000)
    (alone,) = trio.solver.solve("user", [edges], each_counts=False)
    np.testing.assert_allclose(after.vector, alone.vector, atol=1e-5)
    for database in (live.database, shop.database):
        database.dispose()


def test_only_edges_change_somebody_also_those_that_are_taken_back(trained) -> None:
    live = opened(trained)
    settle(live)
    trio, user = live.trio(), EntityId("user", "u57")
    shown = {**click("u57", "c1", START, "shown-57"), "event_name": "impression"}
    taken = {
        **click("u57", "c1", START + 999_999, "taken-57"),
        "event_name": "retract",
        "relation": "click",
    }

    def said(event: dict) -> None:
        answer = trained.http.post("/v1/events?backfill=true", json={"events": [event]})
        assert answer.json()["accepted"] == 1, answer.text
        settle(live)

    before = trio.overlay.get(user)
    said(shown)
    assert trio.overlay.get(user) is before
    said(taken)
    assert trio.overlay.get(user).edges == 19
    live.database.dispose()


def test_changed_people_take_a_bounded_part_of_each_step_and_never_go_first(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = opened(trained)
    settle(live)
    trio = live.trio()
    changed = [EntityId("user", f"u{n}") for n in range(20, 30)]
    for entity in changed:
        trio.overlay.drop(entity)
    monkeypatch.setattr(tail_module, "_SOLVED", 2)
    monkeypatch.setattr(tail_module, "_STEP_SECONDS", 60)  # no busy machine cuts a step short
    post(trained, "d6", range(20, 30), name="crowd")
    for _ in range(2):
        assert trio.tail.step()
        assert trio.tail.calm, "nobody waits who has no vector"
    assert sum(entity in trio.overlay for entity in changed) == 4
    post(trained, "hurry", range(1))
    trio.tail.step()
    assert EntityId("film", "hurry") in trio.overlay
    assert sum(entity in trio.overlay for entity in changed) == 6
    settle(live)
    assert all(entity in trio.overlay for entity in changed)
    live.database.dispose()


def test_those_who_opted_out_wait_within_the_bound_and_no_vector_of_theirs_is_used(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_SOLVED", 2)
    gone = ["u49", "u51", "u53", "u55"]
    said = [
        {
            "event_id": f"out-{user}",
            "event_name": "opt_out",
            "event_time": START,
            "action_source": "onsite",
            "actor": {"type": "user", "id": user},
        }
        for user in gone
    ]
    assert trained.http.post("/v1/events", json={"events": said}).json()["accepted"] == 4
    live = opened(trained)
    settle(live)
    trio = live.trio()
    for user in gone:
        assert trio.overlay.get(EntityId("user", user)).edges == 20
        assert passed_over(trio, user)
    small = replace(trio.tail, overlay=Overlay(3), _opted_out=set())
    small.start()
    hidden = small.overlay.view("user").passed_over
    first = trio.bundle.types["user"].start
    assert all(hidden[trio.bundle.rows("user", gone) - first]), "before any step"
    going = True
    while going:
        assert small._waiting.count(Turn.NEW, Turn.AGAIN, Turn.OLDER) <= 3
        going = small.step()
    assert small.overlay.full
    live.database.dispose()


def test_no_type_is_refreshed_where_training_settled_none(trained) -> None:
    live = opened(trained)
    bundle = live.trio().bundle
    assert bundle.settled == {"user"}
    unsettled = replace(bundle.artifact, manifest={**bundle.artifact.manifest, "dials": {}})
    assert Bundle(unsettled).settled == frozenset()
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
