"""RetailRocket and triples as events: small files of the same shape, with every case in them."""

import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from graphsvc.datasets import (
    RETAILROCKET_SCHEMA,
    RetailRocketCounts,
    as_toml,
    read_triples,
    retailrocket,
)
from graphsvc.db import Database
from graphsvc.errors import DatasetMissing
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import parse_schema

ROWS = {"view": "1\t1\t1\n1\t2\t1\n2\t1\t1\n", "add_to_cart": "1\t2\t1\n", "purchase": "1\t2\t1\n"}
HEADER = "visitorid\titemid\tevent\n"
PUBLISHED = (
    "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n"
    "1433221332118,257597,view,355908,\n"  # the same second, another view
    "1433222276276,599528,transaction,356475,4000\n"
    "1433221999827,111016,view,318965\n"  # a cell is missing
    "1433193500981,158090,addtocart,10572,\n"  # earlier than the row before
    "1433221332117,257597,view,355908,\n"  # again
    "1433221332117,257597,look,355908,\n"
)


def shop(folder: Path, *, packed: bool) -> Path:
    inner = folder / "RetailRocket_Ecommerce"
    inner.mkdir()
    for name, rows in ROWS.items():
        (inner / f"{name}_ecommerce.dat").write_text(HEADER + rows)
    if not packed:
        return folder
    with zipfile.ZipFile(folder / "shop.zip", "w") as archive:
        for file in inner.iterdir():
            archive.write(file, f"RetailRocket_Ecommerce/{file.name}")
    return folder / "shop.zip"


def verdicts(database: Database, schema: dict[str, Any], events: list[Any]) -> list[str]:
    with database.transaction() as connection:
        found = ingest(
            connection,
            parse_schema(schema),
            events,
            now=1_767_225_600,
            rules=Rules(backfill=True),
        )
    return [verdict.status for verdict in found]


@pytest.mark.parametrize("packed", [False, True])
def test_a_shop_in_a_folder_or_a_zip(database: Database, tmp_path: Path, packed: bool) -> None:
    events = list(retailrocket(shop(tmp_path, packed=packed)))
    start = events[0]["event_time"]
    assert [
        (e["event_name"], e["actor"]["id"], e["object"]["id"], e["event_time"] - start)
        for e in events
    ] == [
        ("view", "1", "1", 0),
        ("view", "1", "2", 1),
        ("view", "2", "1", 2),
        ("add_to_cart", "1", "2", 3),
        ("purchase", "1", "2", 4),
    ]
    for status in ("accepted", "duplicate"):
        assert verdicts(database, RETAILROCKET_SCHEMA, events) == [status] * 5


@pytest.mark.parametrize("place", ["file", "folder", "zip"])
def test_the_published_shop_has_times(database: Database, tmp_path: Path, place: str) -> None:
    shop(tmp_path, packed=False)  # the derivative lies beside it
    file = tmp_path / "archive" / "events.csv"
    file.parent.mkdir()
    file.write_text(PUBLISHED)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(file, "archive/events.csv")
    source = {"file": file, "folder": tmp_path, "zip": tmp_path / "archive.zip"}[place]
    counts = RetailRocketCounts()
    events = list(retailrocket(source, counts))
    assert [(e["event_id"], e["event_name"], e["event_time"]) for e in events] == [
        ("rr-view-1433221332117-257597-355908", "view", 1433221332),
        ("rr-view-1433221332118-257597-355908", "view", 1433221332),
        ("rr-purchase-1433222276276-599528-356475-t4000", "purchase", 1433222276),
        ("rr-add_to_cart-1433193500981-158090-10572", "add_to_cart", 1433193500),
        ("rr-view-1433221332117-257597-355908-r2", "view", 1433221332),
    ]
    assert events[2]["actor"] == {"type": "visitor", "id": "599528"}
    assert events[2]["object"] == {"type": "item", "id": "356475"}
    assert counts == RetailRocketCounts(
        events=5, repeated=1, skipped_row=2, first_skipped="events.csv, line 5"
    )
    assert list(retailrocket(source)) == events, "the ids are the same every time"
    for status in ("accepted", "duplicate"):
        assert verdicts(database, RETAILROCKET_SCHEMA, events) == [status] * 5


def test_a_shop_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match=r"events\.csv.*view_ecommerce\.dat"):
        retailrocket(tmp_path)
    with pytest.raises(DatasetMissing, match=r"neither events\.csv nor view_ecommerce\.dat"):
        retailrocket(tmp_path / "none")
    (tmp_path / "events.csv").write_text("time,who\n1,2\n")
    with pytest.raises(DatasetMissing, match=r"should begin with the line timestamp.*'time,who'"):
        list(retailrocket(tmp_path))
    (tmp_path / "events.csv").write_text(PUBLISHED.partition("\n")[0])
    assert not list(retailrocket(tmp_path))


def test_only_the_training_file_becomes_events(database: Database, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(
        "/m/1\t/film/film/genre\t/m/9\n/m/2\t/film/film/genre\t/m/9\n"
        "/m/1\t/film/film/genre\t/m/9\n/m/1\t2nd\t/m/2\n"
    )
    (tmp_path / "valid.txt").write_text("/m/1\t/only/valid\t/m/3\n")
    found = read_triples(tmp_path / "train.txt", [tmp_path / "valid.txt"])
    events = list(found.events())
    assert [(e["event_name"], e["actor"]["id"], e["object"]["id"]) for e in events] == [
        ("film_film_genre", "/m/1", "/m/9"),
        ("film_film_genre", "/m/2", "/m/9"),
        ("film_film_genre", "/m/1", "/m/9"),
        ("r_2nd", "/m/1", "/m/2"),
    ]
    assert dict(found.counts) == {"train.txt": 4, "valid.txt": 1}
    assert found.unseen == 1
    assert set(found.schema()["relations"]) == {"film_film_genre", "r_2nd", "only_valid"}
    assert verdicts(database, found.schema(), events) == [
        "accepted",
        "accepted",
        "duplicate",
        "accepted",
    ]


def test_types_by_prefix_split_a_relation(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(
        "user:1\tlikes\tfilm:a\nuser:1\tlikes\tuser:2\nplain\tknows\tfilm:a:b\n"
    )
    found = read_triples(tmp_path / "t.tsv", [], prefix=":")
    events = list(found.events())
    assert [e["event_name"] for e in events] == ["likes_user_film", "likes_user_user", "knows"]
    assert events[2]["actor"] == {"type": "entity", "id": "plain"}
    assert events[2]["object"] == {"type": "film", "id": "a:b"}
    assert set(found.schema()["entities"]) == {"entity", "film", "user"}


def test_names_that_would_be_the_same_or_too_long(tmp_path: Path) -> None:
    long = "x" * 100
    relations = ["a.b", "a/b", long, long + "y", "...", "\N{GREEK SMALL LETTER PI}"]
    (tmp_path / "t.tsv").write_text("".join(f"h\t{r}\tt\n" for r in relations))
    found = read_triples(tmp_path / "t.tsv", [])
    names = list(found.names.values())
    assert len(set(names)) == len(relations)
    assert names[0] == "a_b"
    assert max(map(len, names)) == 64
    parse_schema(found.schema())


@pytest.mark.parametrize("text", ["a\tb\n", "a\tb\tc\td\n", "a\t\tc\n"])
def test_a_line_that_is_no_triple_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\tc\n" + text)
    with pytest.raises(DatasetMissing, match=r"t\.tsv, line 2"):
        read_triples(tmp_path / "t.tsv", [])
    with pytest.raises(DatasetMissing, match="is not there"):
        read_triples(tmp_path / "none.tsv", [])


def test_a_schema_as_toml_is_the_same_schema() -> None:
    assert tomllib.loads(as_toml(RETAILROCKET_SCHEMA)) == RETAILROCKET_SCHEMA
