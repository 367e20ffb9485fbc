"""Keeping answers: a thread of each server writes them down a moment after they were given.

Takes answers, gives them to the database a few at a time; never makes anybody wait, and never
fails an answer. Best effort: what finds the queue full, or the database away for long, is dropped
and counted, and a killed server loses the last quarter of a second.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, Full, Queue

from graphsvc import answers
from graphsvc.answers import Answer
from graphsvc.db import Database
from graphsvc.errors import GraphError

_log = logging.getLogger("graphsvc.answers")

_FLUSH_SECONDS = 0.25
#: Answers that wait at most; each holds up to 1000 candidates.
_MOST_WAITING = 2_000
_MOST_AT_ONCE = 500


@dataclass(slots=True)
class AnswerLog:
    """Writes answers down behind the requests' backs."""

    database: Database
    #: Told how many answers were written and how many were dropped; e.g. counters.
    on_written: Callable[[int], object] = lambda _n: None
    on_dropped: Callable[[int], object] = lambda _n: None
    _waiting: Queue[Answer] = field(default_factory=lambda: Queue(_MOST_WAITING))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def put(self, answer: Answer) -> None:
        """Let an answer be written soon; dropped if too many wait."""
        try:
            self._waiting.put_nowait(answer)
        except Full:
            self.on_dropped(1)

    def start(self) -> None:
        """Write in a thread until `stop`."""
        self._thread = threading.Thread(target=self._run, name="answer-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    def flush(self) -> int:
        """Write what waits now: how many. What cannot be written is dropped."""
        written = 0
        while some := self._take():
            try:
                with self.database.transaction() as connection:
                    written += answers.write(connection, some)
                self.on_written(len(some))
            except GraphError as error:
                self.on_dropped(len(some))
                _log.warning("%d answers are not kept: %s", len(some), error)
                break
        return written

    def _take(self) -> list[Answer]:
        some: list[Answer] = []
        try:
            while len(some) < _MOST_AT_ONCE:
                some.append(self._waiting.get_nowait())
        except Empty:
            pass
        return some

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._work()
        self._work()

    def _work(self) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001  the thread has to live on
            _log.exception("answers could not be kept")
