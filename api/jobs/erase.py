"""An erasure, from the tables to the certificate; `EraseRequest.steps` names its steps.

Takes all that was asked for and is not done, gives certificates; holds no logic of its own. It
runs beside a retrain: what that one seals meanwhile loses them when it is recorded. Killed
anywhere, it goes on behind the last finished step, and each step may be run twice.
"""

from collections.abc import Callable
from typing import Any

from dbos import DBOS

from api.jobs import erasing_steps as steps
from api.jobs.job import MOST_RECOVERIES
from api.jobs.queue import JobQueue
from api.jobs.requests import EraseRequest, JobName
from api.jobs.steps import Workshop
from api.jobs.walk import Walk


def register(shop: Workshop, jobs: JobQueue) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Declare the workflow; call once, before the executor is launched."""

    @DBOS.workflow(name=JobName.ERASE.value, max_recovery_attempts=MOST_RECOVERIES)
    def erase(body: dict[str, Any]) -> dict[str, Any]:
        # The steps' names and their order stand in EraseRequest.steps as well.
        request = EraseRequest.model_validate(body)
        job = str(DBOS.workflow_id)
        walk = Walk(shop, jobs, job, request.steps, renews=False)

        numbers = walk.step("tables", lambda tick: steps.tables(shop, tick))
        made = walk.step("artifacts", lambda tick: steps.artifacts(shop, numbers, tick))
        switched = walk.step(
            "switch", lambda tick: steps.switch(shop, numbers, made, tick=tick, job_id=job)
        )
        cleaned = walk.step("bytes", lambda tick: steps.remove(shop, numbers, switched, tick))
        certificate = walk.step(
            "certify",
            lambda tick: steps.certify(shop, numbers, cleaned, tick=tick, job_id=job),
        )
        return {
            "erasures": numbers,
            "certificate": certificate,
            "generation": switched["generation"],
        }

    return erase
