"""Cleaning up behind ingestion, a little at a time.

Takes a database, deletes ids of events that can no longer be asked for; never anything else. Each
server process does it: the parts are small, and twice is harmless.
"""

import logging
import threading
from dataclasses import dataclass, field
from random import randrange
from time import time

from graphsvc import dedupe
from graphsvc.db import Database
from graphsvc.errors import GraphError

_log = logging.getLogger("graphsvc.housekeeping")


@dataclass(slots=True)
class Housekeeping:
    """A thread that cleans up one part of the table every `seconds`, all of it in some hours."""

    database: Database
    seconds: float = 60.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def clean(self, part: int) -> int:
        """Delete what has expired in one part; gives the number of rows."""
        with self.database.transaction() as connection:
            return dedupe.forget(connection, now=int(time()), part=part)

    def start(self) -> None:
        """Begin, anywhere: servers that are started often must not clean the same part only."""

        def work() -> None:
            part = randrange(dedupe.PARTS)
            while not self._stop.wait(self.seconds):
                try:
                    self.clean(part)
                    part = (part + 1) % dedupe.PARTS
                except GraphError as error:  # the database is away; the same part comes next
                    _log.warning("cannot clean up: %s", error)

        self._thread = threading.Thread(target=work, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
