"""A log of ads that one can export by hand, and what its snapshot says, ends by their ids."""

from pathlib import Path
from typing import Any

from slow_export import named_interactions, named_triples

from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.export import Split, export_snapshot
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.snapshot import Snapshot

ADS = load_schema("ads")
DAY = 86_400
START = 1_700_000_000
NOW = START + 1000 * DAY
#: Six exposures are cut into 2, 1, 1, 1 and 1.
SHARES = (0.32, 0.17, 0.17, 0.17, 0.17)
PROTOCOLS = ("global_time", "per_user_time")


def raw(name: str, time: int, actor: str, target: str, number: int = 0) -> dict[str, Any]:
    declared = ADS.events[name]
    return {
        "event_id": f"{name}-{time}-{actor}-{target}-{number}",
        "event_name": name,
        "event_time": time,
        "action_source": declared.source,
        "actor": {"type": declared.head, "id": actor},
        "object": {"type": declared.tail, "id": target},
        "consent": True,
    }


def post(database: Database, log: list[dict[str, Any]]) -> None:
    with database.transaction() as connection:
        verdicts = ingest(connection, ADS, log, now=NOW, rules=Rules(backfill=True))
    wrong = [one for one in verdicts if one.status not in ("accepted", "duplicate")]
    assert {one.code for one in wrong} <= {"opted_out"}


def seal(database: Database, folder: Path, split: Split, **how: Any) -> Snapshot:
    with database.reading() as connection:
        return export_snapshot(connection, ArtifactStore(folder), ADS, split, **how)


def triples_of(snapshot: Snapshot) -> list[tuple[str, str, str, float, int]]:
    """(head, relation, tail, weight, time), ends by id."""
    return [
        (head[1], relation, tail[1], weight, time)
        for relation, head, tail, weight, time in named_triples(snapshot)
    ]


def rows_of(snapshot: Snapshot) -> list[tuple[str, str, int, int, int, int]]:
    """(head, tail, event, time, label, span), ends by id."""
    return [
        (head[1], tail[1], event, time, label, span)
        for time, head, tail, event, _, _, _, label, span in named_interactions(snapshot)
    ]


def hand_made_log() -> list[dict[str, Any]]:
    """Six impressions of two users; u1 clicks on a1 twice, 14 days (a half-life) apart."""
    return [
        raw("ad_of_product", START + 99 * DAY, "a1", "p1"),  # timeless: its time does not matter
        raw("impression", START, "u1", "a1"),
        raw("click", START + 60, "u1", "a1"),
        raw("impression", START + 14 * DAY, "u1", "a1"),
        raw("click", START + 14 * DAY, "u1", "a1"),
        raw("checkout", START + 14 * DAY + 1, "u1", "p1"),  # after GRAPH's last exposure
        raw("impression", START + 20 * DAY, "u2", "a2"),
        raw("click", START + 20 * DAY + 1801, "u2", "a2"),  # a second too late for the label
        raw("impression", START + 21 * DAY, "u1", "a2"),
        raw("impression", START + 22 * DAY, "u2", "a1"),
        raw("click", START + 22 * DAY + 1800, "u2", "a1"),
        raw("impression", START + 30 * DAY, "u1", "a2"),
    ]


def consent_said(name: str, time: int, actor: str) -> dict[str, Any]:
    """An opt-out or an opt-in."""
    event = raw("click", time, actor, "") | {
        "event_name": name,
        "event_id": f"{name}-{time}-{actor}",
    }
    return event | {"action_source": "onsite", "object": None, "consent": None}
