"""Any past moment again: the same bytes as then, in whatever order the events came."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moments import WORLD, post_world, stream, streams, streams_with_words
from semantics import DAY, NOW, event
from slow_export import Slow, named_interactions, named_triples, names_of
from sqlalchemy import delete, select, update

from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import NotEnoughData
from graphsvc.export import (
    Moment,
    Split,
    export_snapshot,
    moment_at_time,
    moment_of_seq,
    present_moment,
)
from graphsvc.snapshot import Snapshot
from graphsvc.tables import metadata, sequences

BLOCK_SECONDS = 600
PROTOCOLS = st.sampled_from(["global_time", "global_time", "per_user_time"])
_SETTINGS = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


def empty(database: Database) -> None:
    with database.transaction() as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not sequences:
                connection.execute(delete(table))
        connection.execute(update(sequences).values(last=0))


def seal(
    database: Database, folder: Path, split: Split, at: Moment | None = None
) -> Snapshot | None:
    """None where there is too little to cut, which is no matter here."""
    with database.reading() as connection:
        try:
            return export_snapshot(connection, ArtifactStore(folder), WORLD, split, at=at)
        except NotEnoughData:
            return None


def contents(snapshot: Snapshot) -> dict[str, str]:
    """The digests of its files."""
    return {name: entry["sha256"] for name, entry in snapshot.artifact.manifest["files"].items()}


def check_against_the_slow_one(
    snapshot: Snapshot, log: list[dict[str, Any]], split: Split, observed: int
) -> None:
    slow, names = Slow(WORLD, log, split, observed), names_of(snapshot)
    assert names == slow.entities()
    triples, found = slow.triples(), named_triples(snapshot)
    assert [t[:3] + t[4:] for t in found] == [t[:3] + t[4:] for t in triples]
    np.testing.assert_allclose([t[3] for t in found], [t[3] for t in triples], rtol=1e-6)
    assert named_interactions(snapshot) == slow.interactions()
    rows, attributes, values, times = (column.tolist() for column in snapshot.attributes())
    said = [
        (names[row], name, time, {"null": None, '"DE"': "DE"}.get(value, value))
        for row, name, value, time in zip(rows, attributes, values, times, strict=True)
    ]
    expected = slow.attributes()
    assert said == [(*v[:3], str(v[3]) if isinstance(v[3], int) else v[3]) for v in expected]
    assert [names[row] for row in snapshot.retired()] == slow.retired()


@given(
    log=streams(),
    points=st.lists(st.integers(20, 100), min_size=1, max_size=4, unique=True).map(sorted),
    protocol=PROTOCOLS,
)
@_SETTINGS
def test_what_was_sealed_then_is_rebuilt_later(
    both_databases: tuple[Database, Database],
    tmp_path: Path,
    log: list[dict[str, Any]],
    points: list[int],
    protocol: Any,
) -> None:
    split = Split(protocol=protocol)
    found: list[list[str]] = []
    for number, database in enumerate(both_databases):
        empty(database)
        then: dict[int, tuple[str, int]] = {}
        accepted: list[dict[str, Any]] = []
        for n, (start, stop) in enumerate(zip([0, *points], [*points, len(log)], strict=True)):
            now = NOW + n * BLOCK_SECONDS
            accepted += post_world(database, log[start:stop], now=now)
            sealed = seal(database, tmp_path / f"{number}", split)
            if sealed:
                check_against_the_slow_one(sealed, accepted, split, observed_by(database))
                then[sealed.watermark["seq"]] = (sealed.digest, sealed.watermark["observed"])
        for seq, (digest, observed) in then.items():
            with database.reading() as connection:
                moment = moment_of_seq(connection, seq)
            assert moment == (seq, observed)
            again = seal(database, tmp_path / f"again{number}", split, moment)
            assert again is not None
            assert again.digest == digest
        found.append([digest for digest, _ in then.values()])
    assert found[0] == found[1]


@given(log=streams_with_words(), protocol=PROTOCOLS)
@_SETTINGS
def test_what_people_say_of_offsite_events_is_heard_of_all_their_ids(
    both_databases: tuple[Database, Database],
    tmp_path: Path,
    log: list[dict[str, Any]],
    protocol: Any,
) -> None:
    """With merges, relations without a direction, and people at either end."""
    split, digests = Split(protocol=protocol), []
    for number, database in enumerate(both_databases):
        empty(database)
        accepted = post_world(database, log, now=NOW)
        sealed = seal(database, tmp_path / f"{number}", split)
        if sealed:
            check_against_the_slow_one(sealed, accepted, split, observed_by(database))
        digests.append(sealed and sealed.digest)
    assert digests[0] == digests[1]


def test_random_streams_have_conversions_that_are_known(database: Database, tmp_path: Path) -> None:
    """Else what is compared with the slow one would say nothing of them."""
    found = {-1: 0, 0: 0, 1: 0}
    for number in range(40):
        empty(database)
        post_world(database, stream(number, 110), now=NOW)
        sealed = seal(database, tmp_path / str(number), Split(protocol="global_time"))
        for row in named_interactions(sealed) if sealed else []:
            found[row[6]] += row[7] == 1
    assert min(found.values()) > 2, found


def observed_by(database: Database) -> int:
    with database.reading() as connection:
        return present_moment(connection).as_of


@given(
    log=streams().map(lambda log: [raw for raw in log if raw["event_name"] != "merge"]),
    merged=st.lists(st.sampled_from(["item/0", "item/1", "user/0"]), unique=True),
    data=st.data(),
    protocol=PROTOCOLS,
)
@_SETTINGS
def test_the_order_of_arrival_does_not_show(
    database: Database,
    tmp_path: Path,
    log: list[dict[str, Any]],
    merged: list[str],
    data: st.DataObject,
    protocol: Any,
) -> None:
    # Each into one that stays: of two kept ids for one duplicate, the first to come would win.
    log = log + [event("merge", f"m{one}", one, f"{one[:4]}/3") for one in merged]
    other_order = data.draw(st.permutations(log))
    sealed = []
    for number, arriving in enumerate((log, other_order)):
        empty(database)
        half = len(arriving) // 2
        post_world(database, arriving[:half], now=NOW + 600)
        post_world(database, arriving[half:], now=NOW + 600)
        sealed.append(seal(database, tmp_path / str(number), Split(protocol=protocol)))
    assert (sealed[0] is None) == (sealed[1] is None)
    if sealed[0] and sealed[1]:
        assert contents(sealed[0]) == contents(sealed[1])
        assert sealed[0].watermark == sealed[1].watermark


def shown(n: int, time: int, user: str = "1", item: str = "1") -> dict[str, Any]:
    return event("shown", f"s{n}", f"user/{user}", f"item/{item}", event_time=time)


def test_a_time_is_the_last_row_that_had_arrived(database: Database) -> None:
    for n in range(6):
        post_world(database, [shown(2 * n, NOW), shown(2 * n + 1, NOW)], now=NOW + 10 * (n // 2))
    with database.transaction() as connection:  # rows that an opt-out has taken out
        connection.execute(delete(metadata.tables["events"]).where(_seq().in_([4, 5, 8])))
    with database.reading() as connection:
        found = {t: moment_at_time(connection, NOW + t).seq for t in (0, 9, 10, 19, 20, 99)}
        assert found == {0: 3, 9: 3, 10: 7, 19: 7, 20: 12, 99: 12}
        assert moment_of_seq(connection, 8) == (7, NOW + 10)
        assert present_moment(connection) == (12, NOW + 20)
        with pytest.raises(NotEnoughData, match=rf"arrived by {NOW - 1} .* arrived at {NOW} \(20"):
            moment_at_time(connection, NOW - 1)


def test_there_is_no_moment_before_any_event(database: Database) -> None:
    with database.reading() as connection, pytest.raises(NotEnoughData, match="no event has"):
        moment_at_time(connection, NOW)


def test_the_logs_clock_never_goes_back(database: Database) -> None:
    """Whoever waited for their turn looked at the clock before those who went first."""
    for n, now in enumerate([NOW, NOW + 5, NOW + 3, NOW - 60, NOW + 5, NOW + 6]):
        post_world(database, [shown(n, NOW - 90)], now=now)
    with database.reading() as connection:
        arrived = select(metadata.tables["events"].c.received_at).order_by(_seq())
        assert list(connection.scalars(arrived)) == [NOW, *[NOW + 5] * 4, NOW + 6]
        assert [moment_at_time(connection, NOW + t).seq for t in (0, 4, 5, 6)] == [1, 1, 5, 6]


def _seq() -> Any:
    return metadata.tables["events"].c.seq


def test_what_an_opt_out_took_is_gone_from_the_past_too(database: Database, tmp_path: Path) -> None:
    log = [shown(n, NOW - DAY + n * 3600, item=str(n)) for n in range(10)]
    log.append(event("buy", "b", "user/1", "item/1", event_time=NOW - 2 * DAY))
    post_world(database, log, now=NOW)
    before = seal(database, tmp_path, Split())
    assert before
    assert any(relation == "buy" for relation, *_ in named_triples(before))
    post_world(database, [event("opt_out", "o", "user/1", event_time=NOW)], now=NOW)
    again = seal(database, tmp_path, Split(), Moment(before.watermark["seq"], NOW))
    assert again
    assert not any(relation == "buy" for relation, *_ in named_triples(again))


def test_the_person_who_has_two_ids_has_one_clock(database: Database, tmp_path: Path) -> None:
    """Of ten exposures under two ids, GRAPH has the first 45 %: five, of either id."""
    log = [shown(n, NOW - DAY + n * 3600, user="12"[n % 2], item=str(n)) for n in range(10)]
    log.append(event("merge", "m", "user/2", "user/1"))
    post_world(database, log, now=NOW)
    sealed = seal(database, tmp_path, Split(protocol="per_user_time"))
    assert sealed
    rows = named_interactions(sealed)
    assert {head for _, head, *_ in rows} == {("user", "1")}
    assert [span for *_, span in rows] == [0] * 5 + [1, 2, 3] + [4] * 2


PLANTED = st.sampled_from(["click", "buy", "friend", "retract", "hide", "set_attributes", "told"])


@given(log=streams(), planted=st.lists(PLANTED, min_size=1, max_size=8))
@_SETTINGS
def test_what_is_planted_after_the_cut_changes_no_triple(
    database: Database, tmp_path: Path, log: list[dict[str, Any]], planted: list[str]
) -> None:
    """Nor a label that was known; only rows of their own are added."""
    empty(database)
    post_world(database, log, now=NOW + DAY)
    before = seal(database, tmp_path, Split())
    if not before:
        return
    later = [
        event(
            name,
            f"planted{n}",
            "item/1" if name == "told" else "user/1",
            {"set_attributes": None, "friend": "user/2", "told": "user/2"}.get(name, "item/2"),
            event_time=NOW + 3 * 3600,
            action_source="structure"
            if name == "set_attributes"
            else "offsite"
            if name in ("buy", "told")
            else "onsite",
            **({"relation": "click"} if name == "retract" else {}),
            **({"properties": {"age": 99}} if name == "set_attributes" else {}),
        )
        for n, name in enumerate(planted)
    ]
    post_world(database, later, now=NOW + DAY)
    after = seal(database, tmp_path, Split())
    assert after
    names = set(names_of(before))
    assert [t for t in named_triples(after) if {t[1], t[2]} <= names] == named_triples(before)
    assert len(named_triples(after)) == len(named_triples(before))
    # A purchase that comes late may still lie in the week after a click.
    kept, known = (
        [row[:6] + row[7:] for row in named_interactions(sealed) if row[0] < NOW + 3 * 3600]
        for sealed in (after, before)
    )
    assert kept == known
