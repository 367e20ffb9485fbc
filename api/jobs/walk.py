"""A job's walk through its steps: each is durable, tells how far it is, and can be stopped.

Takes a step's work, gives its result, from the record if it has finished before; holds no logic of
a job. A step that fails says why in one sentence that names it. Three things end a step early: the
job was cancelled (within a second, where the step ticks), the worker was killed (the step runs
again at the next start), and an error. While the database is away a step waits for it and then
runs again, since it may not have told what it sealed; a few times, then that is an error too.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time
from typing import TypeVar

from dbos import DBOS
from dbos import error as dbos_error

from api.errors import ApiError
from api.jobs.job import sentence
from api.jobs.queue import JobQueue
from api.jobs.steps import Tick, Workshop
from api.logs import raised
from graphsvc import erasures, joblog, progress, succession
from graphsvc.errors import ArtifactDamaged, ArtifactMissing, DatabaseUnavailable, GraphError
from kge.errors import KgeError
from ranking.errors import RankingError

_log = logging.getLogger("graphsvc.jobs")
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_PINGS = 1.0
#: A database that answers and yet fails the step each time, e.g. for want of a lock, may do so for
#: ever.
_MOST_RERUNS = 3
#: Their messages are sentences for people.
_VANISHED = (ArtifactMissing, ArtifactDamaged, FileNotFoundError)
_TOLD = (ApiError, GraphError, KgeError, RankingError)

#: What the job's log says.
_STOPPED = "stopped before its end; nothing of it was kept"
_AWAY = f"failed: the database did not answer, {_MOST_RERUNS + 1} times"

Result = TypeVar("Result")
#: A line of the job's log: how grave, and what.
Says = tuple[joblog.Level, str]


class StepFailed(Exception):
    """A step failed; its name and the reason follow."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One job's way through its steps, in a workflow."""

    shop: Workshop
    jobs: JobQueue
    job_id: str
    order: tuple[str, ...]
    #: What steps gave names artifacts as they are called now; not where that is what is told.
    renews: bool = True

    def step(self, name: str, work: Callable[[Tick], Result]) -> Result:
        """Do a step unless it is done; its result should be JSON.

        Raises `StepFailed`.
        """
        result = DBOS.run_step({"name": name}, self._run, name, work)
        return self._renewed(result) if self.renews else result

    def _renewed(self, result: Result) -> Result:
        """What a step gave, with what became of artifacts since."""
        while True:
            try:
                with self.shop.database.reading() as connection:
                    now: Result = succession.renewed(connection, result)
            except DatabaseUnavailable:
                self._wait_for_database()
            else:
                return now

    def _run(self, name: str, work: Callable[[Tick], Result]) -> Result:
        reruns, why = 0, ""
        known: tuple[int, int] | None = None
        while True:
            try:
                known = self._succeeded()
                return self._once(name, work, again=why)
            except dbos_error.DBOSWorkflowCancelledError:
                raise
            except Exception as error:
                why = "" if reruns == _MOST_RERUNS else self._begins_anew(name, error, known)
                if not why:
                    reason, says = self._reason(name, error)
                    raise self._failed(name, reason, says=says) from error
                reruns += 1

    def _begins_anew(self, name: str, error: Exception, known: tuple[int, int] | None) -> str:
        """Why a step that was broken off may well succeed, once it may; "" where it may not."""
        if isinstance(error, DatabaseUnavailable):
            _log.warning("job %s waits at %s: %s", self.job_id, name, sentence(error))
            self._wait_for_database()
            return "the database did not answer"
        if isinstance(error, _VANISHED) and known != self._succeeded():
            # What it read is gone, and its successor opens in its stead.
            _log.warning("job %s begins %s anew: somebody was erased", self.job_id, name)
            return "what it read has a successor, since somebody was erased"
        return ""

    def _reason(self, name: str, error: Exception) -> tuple[str, str]:
        """Why a step failed, and what the log of the job says instead, where not that."""
        if isinstance(error, DatabaseUnavailable):
            return sentence(error), _AWAY
        if isinstance(error, _TOLD):
            return sentence(error), ""
        _log.error("job %s failed at %s, unexpectedly", self.job_id, name, exc_info=error)
        return f"{type(error).__name__}: {sentence(error)}", _unforeseen(error)

    def _succeeded(self) -> tuple[int, int]:
        """How far erasures are: what a step has read may be gone where one has gone on since."""
        with self.shop.database.reading() as connection:
            return succession.count(connection), erasures.taken_out(connection)

    def _once(self, name: str, work: Callable[[Tick], Result], *, again: str) -> Result:
        begun = monotonic()
        says: Says = ("warning", f"begun again: {again}") if again else ("info", "begun")
        self._tell(name, "running", says=says)
        try:
            result = work(_Ticker(self, name).tick)
            self.stop_if_cancelled()
        except dbos_error.DBOSWorkflowCancelledError:
            self._tell(name, "cancelled", note=_STOPPED, says=("warning", _STOPPED))
            raise
        said = f"done in {monotonic() - begun:,.1f} s"
        self._tell(name, "done", done=1, total=1, says=("info", said))
        return result

    def stop_if_cancelled(self) -> None:
        """Leave the step at once if its job no longer runs: it was cancelled, or even resumed."""
        if self.jobs.status(self.job_id).status != "PENDING":
            # The library parks an execution that ends like this, and records no result of it.
            raise dbos_error.DBOSWorkflowCancelledError(f"job {self.job_id} was cancelled")

    def _failed(self, name: str, reason: str, *, says: str = "") -> StepFailed:
        """The error of the job; it names the step, also where the step cannot be told.

        `says`: what the job's log says instead, of an error whose words are not ours.
        """
        _log.warning("job %s failed at %s: %s", self.job_id, name, reason)
        for _ in range(1 + _MOST_RERUNS):
            try:
                self._tell(name, "failed", note=reason, says=("error", says or f"failed: {reason}"))
                break
            except DatabaseUnavailable:
                self._wait_for_database()
            except GraphError as error:  # e.g. for want of room, which may be why it failed
                _log.warning("job %s: that could not be written: %s", self.job_id, sentence(error))
                break
        return StepFailed(f"{name}: {reason}")

    def _wait_for_database(self) -> None:
        while True:
            sleep(_SECONDS_BETWEEN_PINGS)
            try:
                self.shop.database.ping()
                self.jobs.status(self.job_id)
            except DatabaseUnavailable:
                continue
            return

    def _tell(
        self,
        name: str,
        state: str,
        *,
        done: int = 0,
        total: int = 0,
        note: str = "",
        says: Says | None = None,
    ) -> None:
        """How far a step is, and, where `says` is there, a line of the job's log."""
        now = int(time())
        with self.shop.database.transaction() as connection:
            progress.write(
                connection,
                self.job_id,
                name,
                position=self.order.index(name),
                state=state,
                done=done,
                total=total,
                note=note,
                detail={},
                now=now,
            )
            if says is not None:
                joblog.add(connection, self.job_id, joblog.Line(now, says[0], name, says[1]))


def _unforeseen(error: Exception) -> str:
    """The class of an error that nobody foresaw and where it was raised; its words may be data."""
    told = raised((type(error), error, error.__traceback__))
    place = told["at"][-1] if told["at"] else "an unknown place"
    where = "/".join(Path(place).parts[-2:])
    return f"failed unexpectedly: {told['class']} at {where}; the worker's log has the calls"


class _Ticker:
    """What a step calls as often as it likes; it looks up at most twice a second."""

    def __init__(self, walk: Walk, name: str) -> None:
        self._walk, self._name, self._last = walk, name, 0.0

    def tick(self, done: int, total: int, note: str) -> None:
        if monotonic() - self._last < _SECONDS_BETWEEN_LOOKS:
            return
        self._last = monotonic()
        try:
            self._walk._tell(self._name, "running", done=done, total=total, note=note)  # noqa: SLF001
            self._walk.stop_if_cancelled()
        except DatabaseUnavailable:
            # Training needs no database; its end does, and waits for it.
            _log.warning("job %s: progress could not be written", self._walk.job_id)
