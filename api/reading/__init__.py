"""Events from a file of JSON lines.

Takes a path, gives verdicts batch by batch; each batch is one transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import orjson

from api.schemas import Schemas
from graphsvc.db import Database
from graphsvc.ingest import Verdict, ingest
from graphsvc.schema import Schema


@dataclass(frozen=True, slots=True)
class BatchRead:
    """The verdicts of a batch by line number, and how far the file is."""

    verdicts: Sequence[tuple[int, Verdict]]
    bytes_read: int
    bytes_total: int


def read_events(database: Database, file: Path, *, batch: int) -> Iterator[BatchRead]:
    """Ingest a file in batches. A line that is not JSON is an event that gets rejected."""
    schemas, total = Schemas(database), file.stat().st_size
    lines: list[int] = []
    events: list[Any] = []
    done = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            done += len(line)
            if line.strip():
                lines.append(number)
                events.append(_parsed(line))
            if len(events) == batch or (done == total and events):
                verdicts = schemas.under(partial(_write, database, events))
                yield BatchRead(list(zip(lines, verdicts, strict=True)), done, total)
                lines, events = [], []


def _write(database: Database, events: list[Any], schema: Schema) -> list[Verdict]:
    with database.transaction() as connection:
        return ingest(connection, schema, events, now=int(time()))


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode(errors="replace")  # no event has this shape, so the verdict says so
