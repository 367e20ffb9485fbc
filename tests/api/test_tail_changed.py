"""Whom training knows and who has acted since: what becomes of their rows and vectors."""

from dataclasses import replace

import numpy as np
import pytest
from followed import FILM, opened, post, settle
from planted import COMEDIES, START, click

from api import tail as tail_module
from api.answers import Answerer
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import open_workshop
from api.overlay import Overlay
from api.waiting import Turn
from graphsvc import ledger
from graphsvc import tail as log
from graphsvc.folding import fold_edges
from graphsvc.ids import EntityId
from kge.bundle import Bundle


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
    (alone,) = trio.solver.solve("user", [edges])
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
    trio = live.beside(made, None, lambda _part: None)
    assert trio.tail.watermark == trio.tail.done, "the log holds nothing newer"
    while trio.tail.step():
        pass
    row = trio.bundle.rows("user", [turned])[0]
    after = trio.overlay.get(user)
    assert 0 < trio.bundle.degree[row] < after.edges == before.edges
    with live.database.reading() as connection:
        key = log.named(connection, user).key
        edges = fold_edges(connection, FILM, type_="user", key=key, as_of=START + 200_000)
    (alone,) = trio.solver.solve("user", [edges])
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
