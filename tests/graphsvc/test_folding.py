"""The edges that a vector is solved from: recent, within their windows, and not too many."""

from math import log2
from pathlib import Path

import pytest
from dated import ADS, NOW, dated

from graphsvc import folding, triples
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.export import Split, export_snapshot
from graphsvc.folding import (
    NO_OUTCOMES,
    FoldEdge,
    Outcomes,
    count_edges,
    fold_edges,
    fold_outcomes,
)
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.tail import named


def post(database: Database, *events: tuple[str, str, str, int]) -> None:
    """Events as (name, actor, object, days before now)."""
    batch = dated(*events)
    with database.transaction() as connection:
        ingest(connection, ADS, batch, now=NOW, rules=Rules(backfill=True))


def folded(database: Database, type_: str, id_: str, **options: object) -> list[FoldEdge]:
    with database.reading() as connection:
        key = named(connection, EntityId(type_, id_)).key
        return fold_edges(connection, ADS, type_=type_, key=key, as_of=NOW, **options)


def outcomes(database: Database, type_: str, id_: str, **options: object) -> Outcomes:
    with database.reading() as connection:
        key = named(connection, EntityId(type_, id_)).key
        return fold_outcomes(connection, ADS, type_=type_, key=key, as_of=NOW, **options)


def test_recent_and_within_their_windows(database: Database) -> None:
    post(
        database,
        ("click", "u1", "a1", 14),
        ("click", "u1", "a1", 0),
        ("click", "u2", "a1", 95),  # the window is 90 days
        ("save", "u1", "a1", 0),
        ("impression", "u1", "a1", 0),
        ("ad_of_product", "a1", "p1", 900),
    )
    found = folded(database, "ad", "a1")
    u1 = EntityId("user", "u1")
    assert [(e.relation, e.other, e.inverse, e.times) for e in found] == [
        ("click", u1, True, 2),
        ("save", u1, True, 1),
        ("ad_of_product", EntityId("product", "p1"), False, 1),  # structure has no window
    ]
    assert found[0].weight == pytest.approx(log2(1 + 1.5))  # half-life 14 days
    assert outcomes(database, "user", "u1") == (("a1",), (2,))
    assert outcomes(database, "ad", "a1") == NO_OUTCOMES, "ads do not click"


def test_each_relation_and_direction_has_its_most_recent(database: Database) -> None:
    post(
        database,
        *(("click", f"u{n}", "a1", n) for n in range(4)),
        *(("save", f"u{n}", "a1", 30 + n) for n in range(4)),
        *(("ad_of_product", "a1", f"p{n}", 50 + n) for n in range(4)),
    )
    found = [(e.relation, e.other.id) for e in folded(database, "ad", "a1", limit=2)]
    recent = [("click", "u0"), ("click", "u1"), ("save", "u0"), ("save", "u1")]
    assert found == [*recent, *(("ad_of_product", f"p{n}") for n in range(4))]
    assert len(folded(database, "product", "p1", limit=1)) == 1


def test_who_is_solved_again_is_so_from_the_edges_that_training_settles_from(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triples, "MOST_TAILS", 3)
    post(
        database,
        *((name, "u1", f"a{n}", 30 + n) for name in ("click", "save") for n in range(5)),
        *(("page_visit", "u1", f"p{n}", 40 + n) for n in range(2)),
        *(("impression", f"u{n}", "a1", 20 - n) for n in range(10)),
    )
    with database.reading() as connection:
        snapshot = export_snapshot(connection, ArtifactStore(tmp_path), ADS, Split())
    edges, names = snapshot.triples(), [relation.name for relation in snapshot.relations]
    own = snapshot.ids[edges.head] == "u1"
    trained = {
        (names[code], snapshot.ids[tail])
        for code, tail in zip(edges.relation[own], edges.tail[own], strict=True)
    }
    found = folded(database, "user", "u1", limit=3)
    assert {(edge.relation, edge.other.id) for edge in found} == trained
    assert len(trained) == 3 + 3 + 2


def test_edges_are_counted_that_a_fold_in_leaves_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(
        database,
        *(("click", f"u{n}", "a1", n) for n in range(7)),
        *(("click", f"u{n}", "a1", 95) for n in range(7, 9)),  # the window is 90 days
        *(("save", "u0", f"a{n}", 0) for n in range(1, 5)),
    )

    def counted(type_: str, id_: str, limit: int) -> dict[str, int]:
        found = folded(database, type_, id_, limit=limit)
        with database.reading() as connection:
            key = named(connection, EntityId(type_, id_)).key
            return count_edges(connection, ADS, found, type_=type_, key=key, as_of=NOW, limit=limit)

    assert counted("ad", "a1", 200) == {"click": 7, "save": 1}
    assert counted("ad", "a1", 3) == {"click": 7, "save": 1}
    assert counted("user", "u0", 2) == {"click": 1, "save": 2}, "heads have no more in training"
    monkeypatch.setattr(folding, "_MOST_COUNTED", 5)
    assert counted("ad", "a1", 3) == {"click": 5, "save": 1}


def test_a_hub_is_looked_at_in_part(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_LOOKED_AT", 2)
    post(
        database,
        *(("click", f"u{n}", "hub", 20 - n) for n in range(20)),
        ("save", "u0", "hub", 30),
    )
    found = folded(database, "ad", "hub", limit=3)
    # Of the six users named last, the three who clicked last; of another relation its own.
    assert [edge.other.id for edge in found] == ["u19", "u18", "u17", "u0"]
    assert len(folded(database, "ad", "hub", limit=20)) == 21
