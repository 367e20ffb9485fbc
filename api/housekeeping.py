"""Cleaning up behind ingestion and scoring, a little at a time, whether or not there is traffic.

Takes a database, deletes ids of events that can no longer be asked for, and answers, kept to be
joined or to be given again, and lines of jobs, that are too old or too many, and gives back the
room in memory that nobody has any more; never anything else.
Each server process does it: the parts are small, and twice is harmless.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import randrange
from time import time

from api import heap
from graphsvc import answers, dedupe, idempotency, joblog
from graphsvc.db import Database
from graphsvc.errors import GraphError

_log = logging.getLogger("graphsvc.housekeeping")

_HOUR_SECONDS, _DAY_SECONDS = 3600, 86_400
_MIB = 1 << 20
#: Between two prunes of answers while there is more to remove, so that others write as well.
_BREATH_SECONDS = 0.1


@dataclass(slots=True)
class Housekeeping:
    """A thread that every `seconds` removes old answers, and cleans up one part of the ids.

    All of the ids take some hours.
    """

    database: Database
    #: How long and how many answers are kept.
    answers_days: float
    answers_rows: int
    #: How long answers to keyed requests are kept, how many, and of what size together.
    keyed_hours: float
    keyed_rows: int
    keyed_mib: int
    #: Writes down when keys were last used.
    write_used: Callable[[], None]
    seconds: float = 60.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def clean(self, part: int) -> int:
        """Delete what has expired in one part; gives the number of rows."""
        with self.database.transaction() as connection:
            return dedupe.forget(connection, now=int(time()), part=part)

    def prune(self, now: int) -> int:
        """Remove answers that are too old or too many, piece by piece: how many went."""
        before = now - round(self.answers_days * _DAY_SECONDS)
        with self.database.reading() as connection:
            upto = max((before, ""), answers.last_beyond(connection, self.answers_rows))

        def piece() -> int:
            with self.database.transaction() as connection:
                return answers.prune(connection, upto=upto)

        return self._all(piece)

    def prune_keyed(self, now: int) -> int:
        """The same for answers to requests with an Idempotency-Key."""
        before = now - round(self.keyed_hours * _HOUR_SECONDS)

        def piece() -> int:
            with self.database.transaction() as connection:
                return idempotency.prune(
                    connection,
                    before=before,
                    most=self.keyed_rows,
                    most_bytes=self.keyed_mib * _MIB,
                )

        return self._all(piece)

    def prune_lines(self) -> int:
        """The same for lines of jobs' logs beyond as many as are kept."""

        def piece() -> int:
            with self.database.transaction() as connection:
                return joblog.prune(connection, most=joblog.MOST)

        return self._all(piece)

    def start(self) -> None:
        """Begin, anywhere: servers that are started often must not clean the same part only."""
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
            self._tried(self.write_used)

    def _run(self) -> None:
        part = randrange(dedupe.PARTS)
        while not self._stop.wait(self.seconds):
            if self._tried(partial(self.clean, part)):
                part = (part + 1) % dedupe.PARTS
            self._tried(self.write_used)
            now = int(time())
            self._tried(partial(self.prune, now))
            self._tried(partial(self.prune_keyed, now))
            self._tried(self.prune_lines)
            self._tried(heap.give_back)

    def _all(self, prune: Callable[[], int]) -> int:
        """Prune piece after piece until nothing is left, or until it ends: how many went."""
        went = 0
        while some := prune():
            went += some
            if self._stop.wait(_BREATH_SECONDS):
                break
        return went

    def _tried(self, work: Callable[[], object]) -> bool:
        """Whether it went well; where the database is away, the next round tries again."""
        try:
            work()
        except GraphError as error:
            _log.warning("cannot clean up: %s", error)
        except Exception:  # noqa: BLE001  the thread has to live on
            _log.exception("cannot clean up")
        else:
            return True
        return False
