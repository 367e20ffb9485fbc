"""Export: a graph one can redo by hand, a slow twin, the same bytes everywhere, and no leak."""

import json
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import (
    ADS,
    DAY,
    NOW,
    PROTOCOLS,
    SHARES,
    START,
    consent_said,
    hand_made_log,
    post,
    raw,
    rows_of,
    seal,
    triples_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_export import Slow, named_interactions, named_triples
from sqlalchemy import delete, update

from graphsvc.db import Database
from graphsvc.errors import GraphError, NotEnoughData
from graphsvc.export import Split
from graphsvc.snapshot import Snapshot, Span
from graphsvc.tables import metadata, sequences


def test_a_small_graph_by_hand(database: Database, tmp_path: Path) -> None:
    post(database, hand_made_log())
    snapshot = seal(database, tmp_path, Split(protocol="global_time", shares=SHARES))
    # 2 of 6 exposures are 32 % and more, then one each.
    assert snapshot.watermark == {"seq": 12, "as_of": START + 14 * DAY, "observed": NOW}
    assert snapshot.graph_end == START + 14 * DAY
    decayed = 1 + 2 ** -((14 * DAY - 60) / (14 * DAY))
    assert triples_of(snapshot) == [
        ("u1", "click", "a1", pytest.approx(log2(1 + decayed)), START + 14 * DAY),
        ("a1", "ad_of_product", "p1", 1.0, START + 99 * DAY),
    ]
    exposure, outcome = 0, 1
    assert rows_of(snapshot) == [
        ("u1", "a1", exposure, START, 1, Span.GRAPH),
        ("u1", "a1", outcome, START + 60, -1, Span.GRAPH),
        ("u1", "a1", exposure, START + 14 * DAY, 1, Span.GRAPH),
        ("u1", "a1", outcome, START + 14 * DAY, -1, Span.GRAPH),
        ("u2", "a2", exposure, START + 20 * DAY, 0, Span.TRAIN),
        ("u2", "a2", outcome, START + 20 * DAY + 1801, -1, Span.VALID),
        ("u1", "a2", exposure, START + 21 * DAY, 0, Span.VALID),
        ("u2", "a1", exposure, START + 22 * DAY, 1, Span.CALIBRATE),
        ("u2", "a1", outcome, START + 22 * DAY + 1800, -1, Span.TEST),
        ("u1", "a2", exposure, START + 30 * DAY, 0, Span.TEST),
    ]
    assert {name: (t.start, t.stop) for name, t in snapshot.types.items()} == {
        "ad": (0, 2),
        "advertiser": (2, 2),
        "campaign": (2, 2),
        "category": (2, 2),
        "product": (2, 3),
        "user": (3, 5),
    }
    assert snapshot.ids.tolist() == ["a1", "a2", "p1", "u1", "u2"]


def test_per_user_cuts_by_hand(database: Database, tmp_path: Path) -> None:
    log = [raw("impression", START + day, "u1", f"a{day}") for day in range(6)]
    log += [raw("impression", START + 100 + day, "u2", f"a{day}") for day in (0, 0, 1)]
    log[7]["event_id"] = "another of the same second"
    log += [raw("click", START + time, "u1", "a9") for time in (1, 2)]
    log += [raw("click", START + 500, "u3", "a9")]  # never shown anything: all of it is GRAPH
    post(database, log)
    snapshot = seal(database, tmp_path, Split(protocol="per_user_time", shares=SHARES))
    assert snapshot.graph_end == 0, "everybody's is another"
    spans = {(row[0], row[3] - START): Span(row[5]) for row in rows_of(snapshot)}
    assert [spans["u1", day] for day in range(6)] == [
        Span.GRAPH,
        Span.GRAPH,
        Span.TRAIN,
        Span.VALID,
        Span.CALIBRATE,
        Span.TEST,
    ]
    # Of u2's three, the two of one second stay together; past them lie 2/3 >= 66 %.
    assert (spans["u2", 100], spans["u2", 101]) == (Span.GRAPH, Span.CALIBRATE)
    assert [(head, tail, time) for head, _, tail, _, time in triples_of(snapshot)] == [
        ("u1", "a9", START + 1),
        ("u3", "a9", START + 500),
    ]
    assert snapshot.watermark["as_of"] == START + 100


def test_attributes_and_ids_are_sorted_by_code_point(
    both_databases: tuple[Database, Database], tmp_path: Path
) -> None:
    users = ["a", "B", "Z", "é", "_", "10", "9", "\N{GRINNING FACE}", "\uffee", "a b", "aB"]
    log = hand_made_log()
    for user in users:
        event = raw("click", START, user, "a1") | {"event_name": "set_attributes"}
        event |= {"action_source": "structure", "object": None, "event_id": f"s-{user}"}
        log.append(event | {"properties": {"interests": [user], "age": None, "country": "DE"}})
    sealed = []
    for number, database in enumerate(both_databases):
        post(database, log)
        sealed.append(seal(database, tmp_path / str(number), Split(shares=SHARES)))
    assert sealed[0].digest == sealed[1].digest
    found = sealed[0].types["user"]
    assert sealed[0].ids[found.start : found.stop].tolist() == sorted([*users, "u1", "u2"])
    rows, names, values, times = sealed[0].attributes()
    assert set(names) == {"age", "country", "interests"}
    assert set(values[names == "age"]) == {"null"}  # taken away
    assert set(times) == {START}
    assert [sealed[0].ids[row] for row in rows[names == "interests"]] == sorted(users)
    assert [json.loads(v)[0] for v in values[names == "interests"]] == sorted(users)


def test_only_the_most_recent_200_tails_of_a_head(database: Database, tmp_path: Path) -> None:
    log = hand_made_log()
    log += [raw("click", START - 300 + n, "u1", f"b{n:03}") for n in range(250)]
    log += [raw("ad_of_product", START, "a1", f"p{n:03}") for n in range(250)]
    post(database, log)
    triples = triples_of(seal(database, tmp_path, Split(shares=SHARES)))
    clicked = sorted(tail for _, relation, tail, *_ in triples if relation == "click")
    assert clicked == ["a1", *(f"b{n:03}" for n in range(51, 250))]
    assert sum(relation == "ad_of_product" for _, relation, *_ in triples) == 251


def test_events_before_the_window_make_no_edge(database: Database, tmp_path: Path) -> None:
    as_of = START + 14 * DAY
    log = hand_made_log()
    log.append(raw("click", as_of - 90 * DAY, "u1", "on time"))
    log.append(raw("click", as_of - 90 * DAY - 1, "u1", "late"))
    post(database, log)
    tails = {tail for _, _, tail, *_ in triples_of(seal(database, tmp_path, Split(shares=SHARES)))}
    assert "on time" in tails
    assert "late" not in tails


def test_blocks_do_not_show(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = hand_made_log() + [raw("click", START + n % 7, "u1", f"b{n % 5}", n) for n in range(40)]
    post(database, log)
    whole = seal(database, tmp_path, Split(shares=SHARES))
    monkeypatch.setattr("graphsvc.columns.BLOCK", 3)
    blocks = seal(database, tmp_path, Split(shares=SHARES))
    assert blocks.digest == whole.digest


def test_progress_reaches_its_total(database: Database, tmp_path: Path) -> None:
    post(database, hand_made_log())
    told: list[tuple[int, int]] = []
    seal(
        database,
        tmp_path,
        Split(shares=SHARES),
        progress=lambda done, total: told.append((done, total)),
    )
    # 4 clicks and the other 2 edges are read for the graph, 6 exposures and 4 outcomes as rows.
    assert told[-1] == (16, 16)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_too_little_data_is_said_with_numbers(
    database: Database, tmp_path: Path, protocol: Any
) -> None:
    with pytest.raises(NotEnoughData, match="at least 5 impression events, the log holds 0"):
        seal(database, tmp_path, Split(protocol=protocol))
    post(database, [raw("impression", START, "u1", f"a{n}") for n in range(5)])
    with pytest.raises(NotEnoughData, match="GRAPH 5, TRAIN 0, VALID 0, CALIBRATE 0, TEST 0"):
        seal(database, tmp_path, Split(protocol=protocol))
    assert not list(tmp_path.glob("snapshot/*"))
    assert not list(tmp_path.glob(".draft*"))


@pytest.mark.parametrize(
    "shares", [(0.4, 0.2, 0.2, 0.2), (0.5, 0.5, 0.0, 0.0, 0.0), (0.4, 0.2, 0.2, 0.2, 0.1)]
)
def test_shares_that_are_none(shares: Any) -> None:
    with pytest.raises(GraphError):
        Split(shares=shares)


_NAMES = st.sampled_from(["impression"] * 6 + ["click"] * 4 + ["checkout", "hide", "ad_of_product"])
_AGREES = st.sampled_from([True, None])
_SAID = st.tuples(st.sampled_from(["opt_out", "opt_in"]), st.integers(0, 120 * DAY))
_TIMES = st.one_of(st.integers(0, 40).map(lambda n: n * 600), st.integers(0, 120 * DAY))


@st.composite
def _logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    person = st.integers(1, 3)
    drawn = draw(st.lists(st.tuples(_NAMES, _TIMES, person, person, _AGREES), min_size=14))
    log = [
        raw(name, START + time, f"x{actor}", f"y{target}", number)
        | ({"consent": agrees} if ADS.events[name].source == "onsite" else {})
        for number, (name, time, actor, target, agrees) in enumerate(drawn)
    ]
    # First: what an opt-out has taken does not come back, whatever is said later.
    said = draw(st.lists(st.tuples(_SAID, person), max_size=2))
    words = [consent_said(name, START + time, f"x{actor}") for (name, time), actor in said]
    return [*words, *log]


@given(log=_logs(), protocol=st.sampled_from(PROTOCOLS), cut=st.integers(0, 8))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_random_logs_equal_the_slow_twin_and_leak_nothing(
    both_databases: tuple[Database, Database],
    tmp_path: Path,
    log: list[dict[str, Any]],
    protocol: Any,
    cut: int,
) -> None:
    split = Split(protocol=protocol)
    digests = []
    for number, database in enumerate(both_databases):
        with database.transaction() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not sequences:
                    connection.execute(delete(table))
            connection.execute(update(sequences).values(last=0))
        post(database, log[:cut])
        post(database, log[cut:])
        try:
            snapshot = seal(database, tmp_path / str(number), split)
        except NotEnoughData:
            digests.append("")
            continue
        digests += [snapshot.digest]
        assert seal(database, tmp_path / f"again{number}", split).digest == snapshot.digest
        slow = Slow(ADS, log, split, NOW)
        triples, found = slow.triples(), named_triples(snapshot)
        assert [t[:3] + t[4:] for t in found] == [t[:3] + t[4:] for t in triples]
        np.testing.assert_allclose([t[3] for t in found], [t[3] for t in triples], rtol=1e-6)
        assert named_interactions(snapshot) == slow.interactions()
        check_nothing_leaks(log, snapshot)
    assert digests[0] == digests[1]


def check_nothing_leaks(log: list[dict[str, Any]], snapshot: Snapshot) -> None:
    """Every person's edge has an event in GRAPH that made it; nothing later has touched it."""
    last = {}
    for head, _, event, time, _, span in rows_of(snapshot):
        if event == 0 and span == Span.GRAPH:
            last[head] = max(last.get(head, 0), time)
    if snapshot.split["protocol"] == "global_time":
        last = dict.fromkeys(snapshot.ids, max(last.values()))
    later = {
        (e["actor"]["id"], e["event_name"], e["object"]["id"], e["event_time"])
        for e in log
        if e["object"] and e["event_time"] > last.get(e["actor"]["id"], NOW)
    }
    for head, relation, tail, _, time in triples_of(snapshot):
        if ADS.events[relation].source != "structure":
            assert (head, relation, tail, time) not in later
