"""Events from a file of JSON lines.

Takes a path, gives verdicts batch by batch; each batch is one transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import orjson

from api.settings import Settings
from graphsvc.db import Database
from graphsvc.ingest import Verdict, ingest
from graphsvc.schema import load_schema


@dataclass(frozen=True, slots=True)
class BatchRead:
    """The verdicts of a batch by line number, and how far the file is."""

    verdicts: Sequence[tuple[int, Verdict]]
    bytes_read: int
    bytes_total: int


def read_events(
    database: Database, settings: Settings, file: Path, *, batch: int
) -> Iterator[BatchRead]:
    """Ingest a file in batches. A line that is not JSON is an event that gets rejected."""
    schema, total = load_schema(settings.schema_name), file.stat().st_size
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
                with database.transaction() as connection:
                    verdicts = ingest(connection, schema, events, now=int(time()))
                yield BatchRead(list(zip(lines, verdicts, strict=True)), done, total)
                lines, events = [], []


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode(errors="replace")  # no event has this shape, so the verdict says so
