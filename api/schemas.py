"""The schema of this process, which follows the one in the database.

Takes the database, gives the version that holds; never changes it. A process may be behind for as
long as a poll takes; nothing is written under an outdated version, because ingest asks the database
which one holds, and work that was refused for it is done again.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from graphsvc import versions
from graphsvc.db import Database
from graphsvc.errors import SchemaOutdated
from graphsvc.schema import Schema

_log = logging.getLogger("graphsvc.schema")

Result = TypeVar("Result")

#: How often work is tried while the schema changes. Each try that is lost has seen one more change,
#: so who loses all of them writes while somebody changes the schema again and again.
TRIES = 20


class Schemas:
    """Holds the present schema of this process. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._present: Schema | None = None
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def present(self) -> Schema:
        """The schema as this process knows it; raises `SchemaMissing` before the first."""
        return self._present or self.refresh()

    def refresh(self) -> Schema:
        """The schema that holds now."""
        with self._reading:  # two reads side by side could end in the wrong order
            with self._database.reading() as connection:
                known = self._present
                if known is None or versions.version(connection) != known.version:
                    known = versions.current(connection)
            self._present = known
            return known

    def under(self, work: Callable[[Schema], Result]) -> Result:
        """Do some work under the present schema, and again if it turns out to be outdated.

        Raises `SchemaOutdated` if the schema changes as often as the work is tried.
        """
        for _ in range(TRIES - 1):
            try:
                return work(self.present)
            except SchemaOutdated:
                self.refresh()
        return work(self.present)

    def follow(self, seconds: float) -> None:
        """Refresh now, and every `seconds` in a thread until `stop`.

        Where that fails, the schema that is known keeps being used; the reason is logged once.
        """
        told: set[str] = set()

        def poll() -> None:
            try:
                self.refresh()
                told.clear()
            except Exception as error:  # noqa: BLE001  whatever it was, the next poll tries again
                if str(error) not in told:
                    told.add(str(error))
                    _log.warning("cannot follow the schema: %s", error)

        def keep_polling() -> None:
            while not self._stop.wait(seconds):
                poll()

        poll()
        self._thread = threading.Thread(target=keep_polling, name="follow-schema", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread of `follow`."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
