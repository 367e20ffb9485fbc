"""A job as people see it.

Takes the job library's row and the progress of its steps, gives a state and, where it did not end
well, the reason in a sentence; never changes either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dbos._sys_db import WorkflowStatus

from graphsvc.progress import StepProgress

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]

_STATES: Mapping[str, JobState] = {
    "DELAYED": "waiting",
    "ENQUEUED": "waiting",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}
#: What the library calls a job that waits or runs.
ACTIVE = ["DELAYED", "ENQUEUED", "PENDING"]
#: A job whose worker died more often while it ran is not started again by itself; in each step of a
#: retrain it may die once.
MOST_RECOVERIES = 11
#: The step of progress that tells what was done to the job, rather than what it did.
QUEUE_STEP = "queue"
#: Its state while a job is being queued for another version of the worker.
MOVING = "moving"
_LONGEST_REASON = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job's state, the step it is in, and its result or the reason why it has none."""

    id: str
    name: str
    state: JobState
    step: str | None
    progress: tuple[StepProgress, ...]
    request: Any
    result: Any
    error: str | None
    created_at: int
    updated_at: int


def job_of(status: WorkflowStatus, steps: Sequence[StepProgress]) -> Job:
    """A job, of its row and of what is known of its steps."""
    state = _STATES[status.status]
    if any(step.state == MOVING for step in steps):
        steps = [step for step in steps if step.state != MOVING]
        state = "waiting" if state == "cancelled" else state
    if state in ("cancelled", "failed"):
        # One that was under way has not told its end: it is about to, or its worker has gone.
        steps = [replace(s, state=state) if s.state == "running" else s for s in steps]
    return Job(
        id=status.workflow_id,
        name=status.name,
        state=state,
        step=steps[-1].step if steps else None,
        progress=tuple(steps),
        request=request_of(status),
        result=status.output if state == "done" else None,
        error=_reason(status, state, steps),
        created_at=(status.created_at or 0) // 1000,
        # The queue writes when a job begins and ends, a step whenever it comes further.
        updated_at=max([(status.updated_at or 0) // 1000, *(step.updated_at for step in steps)]),
    )


def request_of(status: WorkflowStatus) -> Any:
    """What was asked for; None if the row holds nothing that this version reads."""
    arguments = status.input["args"] if isinstance(status.input, dict) else ()
    return arguments[0] if arguments else None


def sentence(error: BaseException) -> str:
    """An error's first line, of bounded length."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return first[:_LONGEST_REASON]


def _reason(status: WorkflowStatus, state: JobState, steps: Sequence[StepProgress]) -> str | None:
    if status.error is not None:
        return sentence(status.error)
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        at = steps[-1].step if steps else "start"
        return (
            f"{at}: the worker ended {MOST_RECOVERIES + 1} times while this job ran, perhaps for "
            "want of memory; mend that, then resume the job"
        )
    failed = [step for step in steps if step.state == "failed"]
    if state == "cancelled" and failed:
        return f"{failed[-1].step}: {failed[-1].note}"
    return None
