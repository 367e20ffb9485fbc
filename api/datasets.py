"""The data sets that the command line knows by name.

Takes a name and where the files lie, gives events with the schema that they need, in a file or in
the graph; the graph's schema has to have what they need already.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import orjson

from api.demo.data import fetch
from api.errors import Invalid
from api.gathering import Gathering
from api.intake import Intake
from api.reading.lines import CHUNK_ROWS, Rows
from api.schemas import Schemas
from api.settings import read_settings
from graphsvc.datasets import (
    RETAILROCKET_SCHEMA,
    RetailRocketCounts,
    as_toml,
    movielens,
    read_triples,
    retailrocket,
)
from graphsvc.db import Database
from graphsvc.ingest import STATUSES, Rules
from graphsvc.schema import load_schema, parse_schema, to_document

NAMES = ("ml-100k", "retailrocket", "triples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Events, the document of their schema, and what else is to be said of them."""

    events: Iterator[dict[str, Any]]
    schema: Mapping[str, Any]
    #: Asked when the events were taken, since some of it is counted meanwhile.
    about: Callable[[], dict[str, Any]] = dict


def named(
    name: str, source: Path | None, held_out: Sequence[Path], *, prefix: str | None
) -> Dataset:
    """A data set by name. Raises `Invalid`, or `DatasetMissing` if files are missing."""
    if name == "ml-100k":
        folder = fetch(source, read_settings().cache_dir)
        return Dataset(events=movielens(folder), schema=to_document(load_schema("film")))
    if name not in NAMES:
        raise Invalid(f"name should be one of {', '.join(NAMES)}, received {name!r}")
    if source is None:
        raise Invalid(f"{name} should be given --from, which says where its files lie")
    if name == "retailrocket":
        counts = RetailRocketCounts()
        return Dataset(
            events=retailrocket(source, counts),
            schema=RETAILROCKET_SCHEMA,
            about=lambda: _about_shop(counts),
        )
    found = read_triples(source, held_out, prefix=prefix)
    about = {"triples": dict(found.counts), "unseen_entities": found.unseen}
    return Dataset(events=found.events(), schema=found.schema(), about=lambda: about)


def schema_beside(to: Path) -> Path:
    """Where the schema of events is written that go to a file."""
    return to.with_name(f"{to.name.removesuffix('.ndjson')}.schema.toml")


def write(dataset: Dataset, to: Path) -> dict[str, Any]:
    """Write the events, and the schema beside them; gives what was written."""
    parse_schema(dataset.schema)  # what is written can be used
    beside = schema_beside(to)
    beside.write_text(as_toml(dataset.schema), encoding="utf-8")
    written = 0
    with to.open("wb") as stream:
        for event in dataset.events:
            stream.write(orjson.dumps(event) + b"\n")
            written += 1
    return {"events": written, "file": str(to), "schema": str(beside), **dataset.about()}


def put(
    dataset: Dataset, database: Database, tick: Callable[[int, int, str], None]
) -> dict[str, int]:
    """Ingest the events, of whatever age; gives how many got which verdict."""
    schemas = Schemas(database)
    needed = parse_schema(dataset.schema)
    lacking = sorted(set(needed.events) - set(schemas.present.events))
    if lacking:
        raise Invalid(
            f"the graph's schema {schemas.present.name!r} should declare {', '.join(lacking[:10])}"
            "; `--to FILE` writes the schema that is needed"
        )
    intake = Intake(gathering=Gathering(database), schemas=schemas, rules=Rules(backfill=True))
    counts = Counter[str]()
    for _, numbered in intake.run(_chunks(dataset.events)):
        counts.update(verdict.status for _, verdict in numbered)
        tick(counts.total(), 0, "events")
    return {status: counts[status] for status in STATUSES}


def _about_shop(counts: RetailRocketCounts) -> dict[str, Any]:
    told: dict[str, Any] = {"times": "made up: the files hold none"}
    if counts.timed:
        told = {"times": "as published", "repeated_rows": counts.repeated}
    told["skipped_rows"] = counts.skipped_row
    return told | ({"first_skipped": counts.first_skipped} if counts.skipped_row else {})


def _chunks(events: Iterator[dict[str, Any]]) -> Iterator[Rows]:
    numbered = zip(count(1), events, strict=False)
    while rows := list(islice(numbered, CHUNK_ROWS)):
        yield rows
