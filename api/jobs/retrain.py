"""The retrain, step by step: snapshot, embed, index, rank, judge, promote.

Takes a retrain request, gives digests; holds no logic of its own. A worker that is killed goes on
behind the last finished step.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import Any

from dbos import DBOS

from api.jobs import steps
from api.jobs.promotion import promote as promote_trio
from api.jobs.requests import JobName, RetrainRequest
from api.jobs.steps import Tick, Workshop
from graphsvc import progress

_log = logging.getLogger("graphsvc.jobs")
_SECONDS_BETWEEN_WRITES = 0.5


def register(shop: Workshop) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Declare the workflow and its steps; call once, before the executor is launched."""

    @DBOS.step(name="snapshot")
    def snapshot(body: dict[str, Any]) -> str:
        request = RetrainRequest.model_validate(body)
        with _told(shop, "snapshot", 0) as tick:
            return steps.snapshot(shop, request, tick, _job_id())

    @DBOS.step(name="embed")
    def embed(source: str, seed: int) -> str:
        with _told(shop, "embed", 1) as tick:
            return steps.embed(shop, source, seed=seed, tick=tick, job_id=_job_id())

    @DBOS.step(name="index")
    def index(bundle: str) -> str:
        with _told(shop, "index", 2) as tick:
            return steps.index(shop, bundle, tick, _job_id())

    @DBOS.step(name="rank")
    def rank(parents: list[str], arm: str, seed: int, position: int) -> str:
        with _told(shop, f"rank_{arm}", position) as tick:
            return steps.rank(
                shop,
                (parents[0], parents[1]),
                arm=arm,
                seed=seed,
                tick=tick,
                job_id=_job_id(),
            )

    @DBOS.step(name="judge")
    def judge(parents: list[str], rankers: dict[str, str], seed: int, position: int) -> str:
        with _told(shop, "judge", position) as tick:
            return steps.judge(
                shop,
                (parents[0], parents[1]),
                rankers,
                seed=seed,
                tick=tick,
                job_id=_job_id(),
            )

    @DBOS.step(name="promote")
    def promote(rankers: dict[str, str], position: int) -> dict[str, Any]:
        with _told(shop, "promote", position):
            best = steps.best_on_valid(shop, list(rankers.values()))
            live = promote_trio(shop.database, best, reason=f"best on valid, job {_job_id()}")
            return {"ranker": best, "generation": live.generation}

    @DBOS.workflow(name=JobName.RETRAIN.value, max_recovery_attempts=5)
    def retrain(body: dict[str, Any]) -> dict[str, Any]:
        request = RetrainRequest.model_validate(body)
        sealed = snapshot(body)
        bundle = embed(sealed, request.seed)
        built = index(bundle)
        rankers: dict[str, str] = {
            arm: rank([sealed, bundle], arm, request.seed, 3 + position)
            for position, arm in enumerate(request.arms)
        }
        after = 3 + len(rankers)
        report = judge([sealed, bundle], rankers, request.seed, after)
        promoted = promote(rankers, after + 1) if request.promote else None
        return {
            "snapshot": sealed,
            "bundle": bundle,
            "index": built,
            "rankers": rankers,
            "report": report,
            "promoted": promoted,
        }

    return retrain


def _job_id() -> str:
    return str(DBOS.workflow_id)


@contextmanager
def _told(shop: Workshop, step: str, position: int) -> Iterator[Tick]:
    """Write a step's progress for whoever looks at the job, at most twice a second."""
    job_id, last = _job_id(), 0.0

    def write(state: str, done: int, total: int, note: str) -> None:
        with shop.database.transaction() as connection:
            progress.write(
                connection,
                job_id,
                step,
                position=position,
                state=state,
                done=done,
                total=total,
                note=note,
                detail={},
                now=int(time()),
            )

    def tick(done: int, total: int, note: str) -> None:
        nonlocal last
        if monotonic() - last >= _SECONDS_BETWEEN_WRITES:
            last = monotonic()
            write("running", done, total, note)

    write("running", 0, 0, "")
    try:
        yield tick
    except Exception as error:
        write("failed", 0, 0, str(error)[:500])
        _log.warning("job %s failed at %s: %s", job_id, step, error)
        raise
    write("done", 1, 1, "")
