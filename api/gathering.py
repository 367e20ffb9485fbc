"""Batches that wait for their turn at the log, written together.

Takes prepared batches from many threads, gives each its verdicts once they are committed; never
makes one wait for another to come. Whoever's turn it is writes all that wait by then in one
transaction, so the more requests there are, the fewer commits each of them costs.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable, NoSpace, SchemaOutdated
from graphsvc.ingest import Batch, Verdict, append, together
from graphsvc.schema import Schema

#: Events of one transaction; a single batch may have more.
MOST_EVENTS = 4000
#: These are nobody's fault: what failed for one of these would fail for each alone.
_FOR_ALL = (DatabaseUnavailable, NoSpace, SchemaOutdated)


@dataclass(slots=True, eq=False)
class _Turn:
    """A batch that waits, and what became of it."""

    schema: Schema
    batch: Batch
    now: int
    #: What names its events.
    names: set[bytes]
    taken: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    verdicts: list[Verdict] = field(default_factory=list)
    error: Exception | None = None


class Gathering:
    """The way of batches into one database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Turn] = []
        self._lock = threading.Lock()
        # On PostgreSQL one sends its rows while the one before it still writes.
        self._writing = threading.BoundedSemaphore(2 if database.is_postgresql else 1)

    def append(self, schema: Schema, batch: Batch, *, now: int) -> list[Verdict]:
        """The verdicts on a batch that is committed by now; raises what `ingest.append` raises."""
        turn = _Turn(schema, batch, now, batch.digests())
        with self._lock:
            self._waiting.append(turn)
        with self._writing:
            while not turn.taken:
                self._settle(self._next())
        turn.over.wait()
        if turn.error:
            raise turn.error
        return turn.verdicts

    def _settle(self, turns: Sequence[_Turn]) -> None:
        try:
            self._write(turns)
        except _FOR_ALL as error:
            for turn in turns:
                turn.error = error
        except Exception as error:  # noqa: BLE001  raised again for the one that it belongs to
            if len(turns) == 1:
                turns[0].error = error
            else:
                for turn in turns:
                    self._write_alone(turn)
        finally:
            for turn in turns:
                turn.over.set()

    def _next(self) -> list[_Turn]:
        """Those who have waited longest: of one schema, as many as fit, no event twice."""
        with self._lock:
            turns: list[_Turn] = []
            events, named = 0, set[bytes]()
            for turn in self._waiting:
                events += len(turn.batch.verdicts)
                if turns and (
                    turn.schema is not turns[0].schema
                    or events > MOST_EVENTS
                    or not named.isdisjoint(turn.names)
                ):
                    break
                named |= turn.names
                turn.taken = True
                turns.append(turn)
            del self._waiting[: len(turns)]
            return turns

    def _write(self, turns: Sequence[_Turn]) -> None:
        if not turns:  # others have taken them
            return
        batch = together([turn.batch for turn in turns])
        now = max(turn.now for turn in turns)
        with self._database.transaction() as connection:
            verdicts = append(connection, turns[0].schema, batch, now=now)
        start = 0
        for turn in turns:
            end = start + len(turn.batch.verdicts)
            turn.verdicts = verdicts[start:end]
            start = end

    def _write_alone(self, turn: _Turn) -> None:
        """As if nobody else had been there: what one holds must not spoil the others."""
        try:
            self._write([turn])
        except Exception as error:  # noqa: BLE001  raised in the thread that asked
            turn.error = error
