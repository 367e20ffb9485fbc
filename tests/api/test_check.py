"""The check that every retrain runs, on a real snapshot in a real store."""

from pathlib import Path

import pytest
from loops import silent
from moments import WORLD, post_world
from semantics import DAY, NOW, event

from api.jobs import steps
from api.jobs.check import check
from api.jobs.moments import would_choose
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop
from api.settings import Settings
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import LeakFound, NotEnoughData
from graphsvc.evolution import change
from graphsvc.schema import parse_schema, to_document
from graphsvc.snapshot import open_snapshot
from graphsvc.versions import seed

_DOCUMENT = to_document(WORLD)
OWNS = {"head": "item", "tail": "user", "source": "structure"}
SCHEMA = parse_schema(_DOCUMENT | {"relations": _DOCUMENT["relations"] | {"owned_by": OWNS}})


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Workshop:
    """Twenty exposures, an hour apart, of which every second one is clicked."""
    with database.transaction() as connection:
        seed(connection, SCHEMA, now=NOW)
    log = []
    for n in range(20):
        ends, time = ("user/1", f"item/{n}"), NOW - 5 * DAY + 3600 * n
        log.append(event("shown", f"s{n}", *ends, event_time=time))
        if n % 2 == 0:
            log.append(event("click", f"c{n}", *ends, event_time=time + 5))
    post_world(database, log, now=NOW, schema=_stored(database))
    return Workshop(Settings(data_dir=tmp_path), database, ArtifactStore(tmp_path / "artifacts"))


def _stored(database: Database):
    from graphsvc.versions import current

    with database.reading() as connection:
        return current(connection)


def test_a_clean_snapshot_passes(shop: Workshop) -> None:
    sealed = steps.snapshot(shop, RetrainRequest(), silent)
    told: list[str] = []
    found = check(shop, sealed, allowed=False, tick=lambda _d, _t, note: told.append(note))
    assert {leak["relation"]: leak["leaked"] for leak in found} == {
        "click": 0,
        "buy": 0,
        "told": 0,
        "owned_by": 0,
    }
    assert told == ["0 leaked edges"]


def test_a_leak_fails_the_job_unless_it_is_allowed(shop: Workshop) -> None:
    owned = event("owned_by", "o", "item/18", "user/1") | {"action_source": "structure"}
    post_world(shop.database, [owned], now=NOW, schema=_stored(shop.database))
    sealed = steps.snapshot(shop, RetrainRequest(), silent)
    with pytest.raises(LeakFound, match=r"owned_by: 1 of 1 edges \(100\.0%\).*set allow_leaks"):
        check(shop, sealed, allowed=False, tick=silent)
    found = check(shop, sealed, allowed=True, tick=silent)
    assert found[-1] == {"relation": "owned_by", "leaked": 1, "edges": 1, "share": 1.0}


def test_a_moment_is_asked_for_by_time_or_by_digest(shop: Workshop) -> None:
    then = steps.snapshot(shop, RetrainRequest(), silent)
    more = event("shown", "later", "user/2", "item/1", event_time=NOW + 500)
    post_world(shop.database, [more], now=NOW + 1000, schema=_stored(shop.database))
    assert steps.snapshot(shop, RetrainRequest(), silent) != then
    for as_of in (NOW, NOW + 999, then):
        assert steps.snapshot(shop, RetrainRequest(as_of=as_of), silent) == then
    assert open_snapshot(shop.store, then).watermark["observed"] == NOW
    with pytest.raises(NotEnoughData, match="no event had arrived by"):
        steps.moment(shop, RetrainRequest(as_of=NOW - 1))


def test_a_moment_has_a_schema(shop: Workshop) -> None:
    """A step that is done again after the schema has changed does the same again."""
    chosen = steps.moment(shop, RetrainRequest())
    then = steps.snapshot(shop, RetrainRequest(), silent, at=chosen)
    document = to_document(SCHEMA)
    document["relations"]["click"]["half_life_days"] = 1
    with shop.database.transaction() as connection:
        change(connection, parse_schema(document), reason="test", now=NOW)
    assert steps.snapshot(shop, RetrainRequest(), silent, at=chosen) == then
    assert steps.snapshot(shop, RetrainRequest(), silent) != then


def test_a_job_is_as_good_as_a_new_one_while_that_would_choose_alike(shop: Workshop) -> None:
    then = steps.snapshot(shop, RetrainRequest(), silent)
    chosen = steps.moment(shop, RetrainRequest())

    def alike() -> list[bool]:
        return [would(as_of) for as_of in (None, NOW, then)]

    def would(as_of: int | str | None) -> bool:
        return would_choose(shop.database, chosen, RetrainRequest(as_of=as_of))

    assert alike() == [True, True, True]
    assert not would(NOW - 1), "there was nothing"
    more = event("shown", "later", "user/2", "item/1", event_time=NOW + 500)
    post_world(shop.database, [more], now=NOW, schema=_stored(shop.database))
    assert alike() == [False, False, True], "its second had not ended"
    chosen = steps.moment(shop, RetrainRequest())
    more = event("shown", "last", "user/2", "item/1", event_time=NOW + 501)
    post_world(shop.database, [more], now=NOW + 9, schema=_stored(shop.database))
    assert alike() == [False, True, True]
    with shop.database.transaction() as connection:
        document = to_document(SCHEMA)
        document["relations"]["click"]["half_life_days"] = 1
        change(connection, parse_schema(document), reason="test", now=NOW)
    assert alike() == [False, False, False]


def test_a_request_names_a_second_or_a_digest() -> None:
    assert "check" in RetrainRequest().steps
    for wrong in (-1, "yesterday", "0" * 63, 10**13):
        with pytest.raises(ValueError, match="as_of"):
            RetrainRequest(as_of=wrong)


def test_rankers_of_conversions_are_told_before_anything_is_trained(shop: Workshop) -> None:
    """Items 0, 4 .. 16 are bought; TRAIN has the exposures 9 to 11, and so one click, of 10."""
    log = [
        event("buy", f"b{n}", "user/1", f"item/{n}", event_time=NOW - 5 * DAY + 3600 * n + 9)
        | {"action_source": "offsite"}
        for n in range(0, 20, 4)
    ]
    log.append(event("click", "last", "user/9", "item/9", event_time=NOW))
    log.append(
        event("buy", "latest", "user/9", "item/9", event_time=NOW) | {"action_source": "offsite"}
    )
    post_world(shop.database, log, now=NOW, schema=_stored(shop.database))
    sealed = steps.snapshot(shop, RetrainRequest(conversion_days=1), silent)
    with pytest.raises(NotEnoughData, match=r"TRAIN 0 of 1, VALID 1 of 1, CALIBRATE 0 of 1, TEST"):
        check(shop, sealed, allowed=False, tick=silent, heads=("ctr", "cvr"))
    check(shop, sealed, allowed=False, tick=silent, heads=("ctr",))
    young = steps.snapshot(shop, RetrainRequest(conversion_days=30), silent)
    with pytest.raises(NotEnoughData, match="TRAIN 0 of 0"):
        check(shop, young, allowed=False, tick=silent, heads=("cvr",))


def test_clicks_without_consent_are_counted_before_anything_is_trained(shop: Workshop) -> None:
    """Nobody has ever agreed, so of no click a purchase could have been seen."""
    sealed = steps.snapshot(shop, RetrainRequest(conversion_days=1), silent)
    unseen = open_snapshot(shop.store, sealed).interaction.unseen
    assert unseen > 0
    with pytest.raises(NotEnoughData, match=f"{unseen} clicks more are of people who had not"):
        check(shop, sealed, allowed=False, tick=silent, heads=("cvr",))
