"""Many pairs at once have the very answers of single requests."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
from planted import START, click

from api import pairs as module
from api.answers import Answerer
from api.live import Live
from api.pairs import STATES, Ids, Lookup, Pairs, PairScores
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.schema import load_schema

FILM = load_schema("film")
LATER = START + 10**6
HEADS = ["u2", "u59", "newcomer", "out", "double", "nobody", "u4"]
CANDIDATES = ["d3", "c3", "fresh", "old", "twin", "who?", "d4"]


def said(name: str, actor: tuple[str, str], other: tuple[str, str] | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_id": f"{name}-{actor[1]}",
        "event_name": name,
        "event_time": LATER,
        "action_source": "onsite" if name == "opt_out" else "structure",
        "actor": {"type": actor[0], "id": actor[1]},
    }
    if other:
        event["object"] = {"type": other[0], "id": other[1]}
    return event


@pytest.fixture
def opened(trained) -> Iterator[Any]:
    """A trio, and a log that has gone on: new, opted out, merged and retired ones of each side."""
    events = [
        *(click("newcomer", film, LATER + n) for n, film in enumerate(["d1", "d2", "c3"])),
        *(click("out", film, LATER + n) for n, film in enumerate(["d5", "d6"])),
        *(click(user, "fresh", LATER) for user in ("u2", "u6", "u8")),
        *(click("u8", film, LATER) for film in ("old", "twin")),
        said("opt_out", ("user", "u59")),
        said("opt_out", ("user", "out")),
        click("double", "c4", LATER),
        said("merge", ("user", "double"), ("user", "newcomer")),
        said("retire", ("film", "old")),
        said("merge", ("film", "twin"), ("film", "fresh")),
    ]
    answer = trained.http.post("/v1/events?backfill=true", json={"events": events}).json()
    assert not answer["rejected"], answer
    database = Database(trained.settings.graph_url)
    live = Live(database, ArtifactStore(trained.settings.artifacts_dir), lambda: FILM)
    live.refresh()
    yield live.trio(), database
    database.dispose()


@pytest.fixture
def workers() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def scored(pairs: Pairs, heads: list[str | None], candidates: list[str | None]) -> PairScores:
    return pairs.score(Ids.of(heads), Ids.of(candidates))()


@pytest.mark.parametrize("page", [1000, 3])
def test_pairs_are_answered_as_requests_are(
    opened: Any, workers: Executor, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(module, "_PAGE", page)
    trio, database = opened
    asked = list(product(HEADS, CANDIDATES))
    heads, candidates = (list(column) for column in zip(*asked, strict=True))
    pairs = Pairs(Lookup(database, FILM, 200), trio, workers)
    found = scored(pairs, heads, candidates)
    assert set(found.probabilities) == {"ctr"}
    answerer = Answerer(database, FILM, 200)
    by_pair = dict(
        zip(asked, zip(found.probabilities["ctr"], found.reasons, strict=True), strict=True)
    )
    states = {
        pair: (int(own), int(other))
        for pair, own, other in zip(asked, found.heads, found.candidates, strict=True)
    }
    for head in HEADS:
        single = answerer.score(trio, EntityId("user", head), CANDIDATES)
        scores = {item.id: item.score for item in single.items}
        lie = {
            item.id: "learned" if item.known else "cold" if item.cold else "unknown"
            for item in single.items
        }
        gone = {one.id: one.reason for one in single.left_out}
        assert gone == {"old": "retired", "twin": "merged"}
        for one in CANDIDATES:
            value, reason = by_pair[head, one]
            assert reason == gone.get(one)
            if reason is None:
                assert value == pytest.approx(scores[one], abs=1e-6), (head, one)
                expected = tuple(map(STATES.index, (single.head.state, lie[one])))
            else:
                assert np.isnan(value)
                expected = (STATES.index(single.head.state), -1)
            assert states[head, one] == expected
    # They differ, so that an answer in another's place would show.
    first = [by_pair[head, "d3"][0] for head in ("u2", "u59", "newcomer", "nobody")]
    assert len({round(float(value), 5) for value in first}) == 4
    # The same again, now that everybody is remembered, and in another order.
    again = scored(pairs, heads[::-1], candidates[::-1])
    np.testing.assert_allclose(
        again.probabilities["ctr"][::-1], found.probabilities["ctr"], atol=1e-6, rtol=0
    )
    assert again.reasons[::-1] == found.reasons


def test_a_pair_without_an_id_has_no_score(opened: Any, workers: Executor) -> None:
    trio, database = opened
    pairs = Pairs(Lookup(database, FILM, 200), trio, workers)
    found = scored(pairs, ["u2", None, "u2", ""], ["d3", "d3", None, "d3"])
    assert found.reasons == [None, *["id missing"] * 3]
    assert (found.heads >= 0).tolist() == [True, False, True, False]
    assert np.isnan(found.probabilities["ctr"][1:]).all()
    assert scored(pairs, [None], ["d3"]).reasons == ["id missing"]
    assert scored(pairs, [], []).reasons == []


def test_each_entity_is_looked_up_once(
    opened: Any, workers: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until more are remembered than may be."""
    trio, database = opened
    asked: list[str] = []

    class Watched(Lookup):
        def heads(self, trio: Any, ids: Any) -> Any:
            asked.extend(ids)
            return super().heads(trio, ids)

    pairs = Pairs(Watched(database, FILM, 200), trio, workers)
    scored(pairs, ["u2", "u4", "u2"], ["d3", "d3", "d4"])
    scored(pairs, ["u4", "u6"], ["c3", "c3"])
    assert asked == ["u2", "u4", "u6"]
    monkeypatch.setattr(module, "_MOST_HELD", 2)
    scored(pairs, ["u2"], ["d3"])
    assert asked == ["u2", "u4", "u6", "u2"]


def test_who_is_missing_is_waited_for(opened: Any) -> None:
    """Until they have a vector, or nothing to be solved from."""
    trio, database = opened
    fresh = EntityId("film", "fresh")
    trio.overlay.drop(fresh)
    found = Lookup(database, FILM, 200).candidates(trio, ["d3", "fresh", "who?"])
    assert found.states.known.tolist() == [True, True, False]
    folded = trio.overlay.get(fresh)
    assert folded is not None
    np.testing.assert_array_equal(found.states.vectors[1], folded.vector)
    assert not trio.tail.wanting
    trio.tail.want([1])
    assert trio.tail.wanting
    trio.tail.step()
    assert not trio.tail.wanting
