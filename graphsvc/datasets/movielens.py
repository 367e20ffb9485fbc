"""MovieLens-100k with its linked Freebase graph.

Takes a folder of files that are on disk already, gives raw events of the schema `film`.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphsvc.builtin import SET_ATTRIBUTES
from graphsvc.errors import DatasetMissing
from graphsvc.schema import load_schema

#: A rating of at least this is also a click.
LIKED = 4.0

_NAME = "ml-100k"
_PARTS = ("inter", "user", "item", "kg", "link")
_DOMAIN = "film.film."

Raw = dict[str, Any]


@dataclass(slots=True)
class MovieLensCounts:
    """How many events the files gave, and how many triples were left out, and why."""

    attributes: int = 0
    structure: int = 0
    ratings: int = 0
    clicks: int = 0
    #: The other direction of a triple that is kept, or a relation that the schema does not have.
    skipped_relation: int = 0
    #: A triple with an end of another type, e.g. a sequel that is not in the catalog.
    skipped_type: int = 0
    #: A triple that the file holds again.
    skipped_repeated: int = 0


def movielens(folder: Path, counts: MovieLensCounts | None = None) -> Iterator[Raw]:
    """MovieLens-100k with its linked Freebase graph as events of the schema `film`.

    First the attributes, then the triples, then the ratings by time. A rating is an `impression`
    and, from `LIKED` up, a `click` of the same second. What is timeless has the time of the first
    rating. `counts` is filled while the events are taken. Raises `DatasetMissing`.
    """
    counts = counts if counts is not None else MovieLensCounts()
    ratings = sorted(
        (int(float(time)), user, film, float(rating))
        for user, film, rating, time in _read(folder, "inter")
    )
    start = ratings[0][0]
    yield from _attributes(folder, start, counts)
    yield from _triples(folder, start, counts)
    for time, user, film, rating in ratings:
        counts.ratings += 1
        yield _rating("impression", time, user, film)
        if rating >= LIKED:
            counts.clicks += 1
            yield _rating("click", time, user, film)


def _rating(name: str, time: int, user: str, film: str) -> Raw:
    return {
        "event_id": f"ml-{user}-{film}",
        "event_name": name,
        "event_time": time,
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
        "object": {"type": "film", "id": film},
    }


def _attributes(folder: Path, time: int, counts: MovieLensCounts) -> Iterator[Raw]:
    for user, age, gender, occupation, _zip in _read(folder, "user"):
        values = {"age": int(age), "gender": gender, "occupation": occupation}
        yield _set_attributes("user", user, time, values)
        counts.attributes += 1
    for film, title, year, genres in _read(folder, "item"):
        values = {"title": title, "genres": genres.split()}
        if year.isdecimal():
            values["year"] = int(year)
        yield _set_attributes("film", film, time, values)
        counts.attributes += 1


def _set_attributes(type_: str, id_: str, time: int, values: Raw) -> Raw:
    return {
        "event_id": f"ml-{type_}-{id_}",
        "event_name": SET_ATTRIBUTES,
        "event_time": time,
        "action_source": "structure",
        "actor": {"type": type_, "id": id_},
        "properties": values,
    }


def _triples(folder: Path, time: int, counts: MovieLensCounts) -> Iterator[Raw]:
    declared = load_schema("film").events
    films = {freebase: film for film, freebase in _read(folder, "link")}
    seen: set[tuple[str, str, str]] = set()
    for head, path, tail in _read(folder, "kg"):
        name = path.removeprefix(_DOMAIN)
        relation = declared.get(name) if name != path else None
        if relation is None:
            counts.skipped_relation += 1
            continue
        actor, target = _node(head, films), _node(tail, films)
        if (actor["type"], target["type"]) != (relation.head, relation.tail):
            counts.skipped_type += 1
            continue
        if (head, name, tail) in seen:
            counts.skipped_repeated += 1
            continue
        seen.add((head, name, tail))
        counts.structure += 1
        yield {
            "event_id": f"kg-{head}-{tail}",
            "event_name": name,
            "event_time": time,
            "action_source": "structure",
            "actor": actor,
            "object": target,
        }


def _node(freebase: str, films: dict[str, str]) -> Raw:
    if freebase in films:
        return {"type": "film", "id": films[freebase]}
    return {"type": "thing", "id": freebase}


def _read(folder: Path, part: str) -> Iterator[list[str]]:
    path = folder / f"{_NAME}.{part}"
    if not path.is_file():
        parts = ", ".join(f"{_NAME}.{name}" for name in _PARTS)
        raise DatasetMissing(f"{folder.name}/ should hold {parts}; {path.name} is not there")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)  # the names of the columns
        yield from rows
