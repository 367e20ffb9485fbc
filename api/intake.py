"""Chunks of numbered rows into the log: one transaction each.

Takes rows that a reader made, gives their verdicts once they are committed; never reads a file or
a request. It has two halves, so that whoever calls it may prepare a chunk in one thread while the
one before is appended in another.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import time
from typing import NamedTuple

from api.gathering import Gathering
from api.reading.lines import Rows, Unmade
from api.schemas import Schemas
from graphsvc.ingest import Batch, Rules, Verdict, prepare
from graphsvc.schema import Schema

#: A row's number, and what became of it.
Numbered = tuple[int, Verdict]


class Prepared(NamedTuple):
    """A chunk that was checked, under which schema and when."""

    rows: Rows
    batch: Batch
    schema: Schema
    now: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """The way of chunks into one database, under one set of rules."""

    gathering: Gathering
    schemas: Schemas
    rules: Rules

    def prepare(self, rows: Rows) -> Prepared:
        """Check the events of a chunk; needs no database."""
        return self._prepared(rows, self.schemas.present)

    def append(self, prepared: Prepared) -> list[Numbered]:
        """The verdicts, in the order of the rows, of a chunk that is committed by now."""

        def write(schema: Schema) -> list[Verdict]:
            fits = schema.version == prepared.schema.version
            ready = prepared if fits else self._prepared(prepared.rows, schema)
            return self.gathering.append(ready.schema, ready.batch, now=ready.now)

        asked = iter(self.schemas.under(write))
        return [
            (number, value.verdict if isinstance(value, Unmade) else next(asked))
            for number, value in prepared.rows
        ]

    def run(self, chunks: Iterator[Rows]) -> Iterator[tuple[Rows, list[Numbered]]]:
        """Every chunk with its verdicts; the next one is read and checked meanwhile."""

        def advance() -> Prepared | None:
            rows = next(chunks, None)
            return None if rows is None else self.prepare(rows)

        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as beside:
            prepared = beside.submit(advance).result()
            while prepared is not None:
                following = beside.submit(advance)
                yield prepared.rows, self.append(prepared)
                prepared = following.result()

    def _prepared(self, rows: Rows, schema: Schema) -> Prepared:
        now = int(time())
        events = [value for _, value in rows if not isinstance(value, Unmade)]
        return Prepared(rows, prepare(schema, events, now=now, rules=self.rules), schema, now)
