"""MovieLens as events: four small files with every case in them."""

from pathlib import Path

import pytest

from graphsvc.datasets import MovieLensCounts, movielens
from graphsvc.db import Database
from graphsvc.errors import DatasetMissing
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema

FILES = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t7\t5\t881250949\n1\t8\t3\t881250948\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\ttechnician\t85711\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '7\tLe "Café"\t1995\tComedy Drama\n8\tunknown\t\t\n',
    "kg": "head_id:token\trelation_id:token\ttail_id:token\n"
    "m.1\tfilm.film.genre\tm.9\n"
    "m.9\tfilm.film_genre.films_in_this_genre\tm.1\n"  # the other direction
    "m.1\tfilm.film.genre\tm.9\n"  # again
    "m.1\tfilm.film.sequel\tm.2\n"
    "m.1\tfilm.film.sequel\tm.3\n"  # not in the catalog
    "m.2\tfilm.film.prequel\tm.1\n"
    "m.9\tfilm.film.genre\tm.9\n",  # no film
    "link": "item_id:token\tentity_id:token\n7\tm.1\n8\tm.2\n",
}


def write(folder: Path) -> Path:
    for part, text in FILES.items():
        (folder / f"ml-100k.{part}").write_text(text, encoding="utf-8")
    return folder


def test_ratings_triples_and_attributes_become_events(tmp_path: Path) -> None:
    counts = MovieLensCounts()
    events = list(movielens(write(tmp_path), counts))
    assert [
        (e["event_name"], e["actor"]["id"], e.get("object", {}).get("id"), e["event_time"])
        for e in events
    ] == [
        ("set_attributes", "1", None, 881250948),
        ("set_attributes", "7", None, 881250948),
        ("set_attributes", "8", None, 881250948),
        ("genre", "7", "m.9", 881250948),
        ("sequel", "7", "8", 881250948),
        ("impression", "1", "8", 881250948),
        ("impression", "1", "7", 881250949),
        ("click", "1", "7", 881250949),
    ]
    assert [e["properties"] for e in events[:3]] == [
        {"age": 24, "gender": "M", "occupation": "technician"},
        {"title": 'Le "Café"', "year": 1995, "genres": ["Comedy", "Drama"]},
        {"title": "unknown", "genres": []},
    ]
    assert counts == MovieLensCounts(
        attributes=3,
        structure=2,
        ratings=2,
        clicks=1,
        skipped_relation=2,
        skipped_type=2,
        skipped_repeated=1,
    )


def test_every_event_fits_the_film_schema_once(database: Database, tmp_path: Path) -> None:
    events = list(movielens(write(tmp_path)))
    for status in ("accepted", "duplicate"):
        with database.transaction() as connection:
            verdicts = ingest(
                connection,
                load_schema("film"),
                events,
                now=1_767_225_600,
                rules=Rules(backfill=True),
            )
        assert {verdict.status for verdict in verdicts} == {status}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "ml-100k.link").unlink()
    with pytest.raises(DatasetMissing, match=r"ml-100k\.link is not there"):
        list(movielens(tmp_path))
