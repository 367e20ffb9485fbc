"""Leaks: a planted one is found and named, a clean world has none."""

from pathlib import Path
from typing import Any

import pytest
from moments import WORLD, post_world
from semantics import DAY, NOW, event

from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import LeakFound
from graphsvc.export import Split, export_snapshot
from graphsvc.leaks import find_leaks, leak_rows, refuse_leaks
from graphsvc.schema import Schema, load_schema, parse_schema, to_document
from graphsvc.snapshot import Snapshot, SnapshotDraft

START = NOW - 5 * DAY
#: A world in which somebody derives a fact about people and items from what they clicked.
_DOCUMENT = to_document(WORLD)
OWNS = {"head": "item", "tail": "user", "source": "structure"}
LIKED = parse_schema(_DOCUMENT | {"relations": _DOCUMENT["relations"] | {"owned_by": OWNS}})


def clean_log() -> list[dict[str, Any]]:
    """Twenty exposures, an hour apart; every second one is clicked, the first pair again late."""
    log = []
    for n in range(20):
        item = f"item/{n % 10}"
        log.append(event("shown", f"s{n}", "user/1", item, event_time=START + 3600 * n))
        if n % 2 == 0:
            log.append(event("click", f"c{n}", "user/1", item, event_time=START + 3600 * n + 5))
    return log


def owned(item: str) -> dict[str, Any]:
    return event("owned_by", f"o-{item}", item, "user/1") | {"action_source": "structure"}


def seal(database: Database, folder: Path, schema: Schema, log: list[dict[str, Any]]) -> Snapshot:
    post_world(database, log, now=NOW, schema=schema)
    with database.reading() as connection:
        return export_snapshot(connection, ArtifactStore(folder), schema, Split())


def found(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    return {leak.relation: (leak.leaked, leak.edges) for leak in find_leaks(snapshot)}


def test_a_clean_world_has_none(database: Database, tmp_path: Path) -> None:
    """Though pairs that end well later were clicked in GRAPH before: that is what is known."""
    snapshot = seal(database, tmp_path, LIKED, clean_log())
    # 9 exposures are GRAPH's; the click after the last of them is later than the cut.
    assert found(snapshot) == {"click": (0, 4), "buy": (0, 0), "told": (0, 0), "owned_by": (0, 0)}
    refuse_leaks(find_leaks(snapshot))
    rows = {(row.metric, row.model): row.value for row in leak_rows(snapshot, find_leaks(snapshot))}
    assert rows["leaked_edges", "all"] == 0


def test_a_fact_that_was_made_of_labels_is_found(database: Database, tmp_path: Path) -> None:
    # Item 0 ends well again in a later span (n = 10); item 1 never does.
    snapshot = seal(database, tmp_path, LIKED, [*clean_log(), owned("item/0"), owned("item/1")])
    assert found(snapshot)["owned_by"] == (1, 2)
    leaks = find_leaks(snapshot)
    with pytest.raises(LeakFound, match=r"owned_by: 1 of 2 edges \(50\.0%\).* allow_leaks"):
        refuse_leaks(leaks)
    rows = {(row.metric, row.model): row.value for row in leak_rows(snapshot, leaks)}
    assert rows["leaked_edges", "all"] == 1
    assert rows["leaked_edges", "owned_by"] == 1
    assert rows["leaked_share", "owned_by"] == 0.5
    assert rows["leaked_share", "click"] == 0.0


@pytest.mark.parametrize(("late", "leaked"), [(0, 0), (1, 1)])
def test_an_edge_that_is_newer_than_the_persons_graph_is_found(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int, leaked: int
) -> None:
    """A fault of the export, played: the click on item 0 has a later time."""
    write = SnapshotDraft.write
    cut = START + 3600 * 8  # the last exposure of GRAPH

    def faulty(self: SnapshotDraft, table: str, columns: Any) -> None:
        if table == "triples":
            columns = columns | {"time": columns["time"] * 0 + cut + late}
            columns = {name: column[:1] for name, column in columns.items()}
        write(self, table, columns)

    monkeypatch.setattr(SnapshotDraft, "write", faulty)
    assert found(seal(database, tmp_path, LIKED, clean_log()))["click"] == (leaked, 1)


ADS = to_document(load_schema("ads"))
#: Somebody derives who owns a product from who bought it.
BOUGHT_BY = {"head": "product", "tail": "user", "source": "structure"}
SHOP = parse_schema(ADS | {"relations": ADS["relations"] | {"bought_by": BOUGHT_BY}})


def done(name: str, number: int, time: int, *ends: str) -> dict[str, Any]:
    declared = SHOP.events[name]
    actor, target = (
        {"type": type_, "id": id_}
        for type_, id_ in zip((declared.head, declared.tail), ends, strict=True)
    )
    return {
        "event_id": f"{name}-{number}",
        "event_name": name,
        "event_time": time,
        "action_source": declared.source,
        "actor": actor,
        "object": target,
        "consent": True,
    }


def test_what_was_made_of_purchases_is_found(database: Database, tmp_path: Path) -> None:
    """Ad n leads to product n. Of clicks behind GRAPH those on ads 2 and 1 were bought, on 4 not.

    What was bought in GRAPH is an edge of that time, and gives nothing away.
    """
    start = NOW - 30 * DAY
    log = [done("ad_of_product", n, start, f"a{n}", f"p{n}") for n in range(5)]
    for n in range(20):
        time, ad = start + 3600 * n, n % 5
        log.append(done("impression", n, time, "u", f"a{ad}"))
        if n % 2 == 0:
            log.append(done("click", n, time + 5, "u", f"a{ad}"))
        if n % 4 == 0:
            log.append(done("checkout", n, time + 10, "u", f"p{ad}"))
    log += [done("bought_by", n, start, f"p{n}", "u") for n in (2, 4)]
    log.append(done("page_visit", 0, start + 9 * DAY, "somebody else", "p0"))
    log.append(done("save", 0, start + 9 * DAY, "somebody else", "a0"))
    counts = found(seal(database, tmp_path, SHOP, log))
    assert counts["bought_by"] == (1, 2)
    # Of the purchases at 0, 4 and 8 the last one is later than the cut.
    assert counts["checkout"] == (0, 2)
    assert counts["click"] == (0, 4)
    assert "ad_of_product" not in counts
