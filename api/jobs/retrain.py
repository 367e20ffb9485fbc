"""The retrain, from the moment it is of to the promotion; `RetrainRequest.steps` names its steps.

Takes a retrain request, gives digests; holds no logic of its own. A refresh goes another way behind
the check, see `refresh.py`. A worker that is killed goes on
behind the last finished step. The first step chooses the moment and nothing else, so that a
snapshot that has to be taken again is the same one, whatever has come since.
"""

from collections.abc import Callable
from typing import Any

from dbos import DBOS

from api.jobs import steps
from api.jobs.check import check as check_leaks
from api.jobs.check import unseen
from api.jobs.embedding import embed
from api.jobs.forward import export_candidate
from api.jobs.gate import Candidate, gate, promote_judged
from api.jobs.job import MOST_RECOVERIES
from api.jobs.map import mapping
from api.jobs.pretraining import pretrain
from api.jobs.queue import JobQueue
from api.jobs.refresh import refresh
from api.jobs.requests import JobName, RetrainRequest
from api.jobs.steps import Tick, Workshop
from api.jobs.walk import Walk


def register(shop: Workshop, jobs: JobQueue) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Declare the workflow; call once, before the executor is launched."""

    @DBOS.workflow(name=JobName.RETRAIN.value, max_recovery_attempts=MOST_RECOVERIES)
    def retrain(body: dict[str, Any]) -> dict[str, Any]:
        # The steps' names and their order stand in RetrainRequest.steps as well.
        request = RetrainRequest.model_validate(body)
        job = str(DBOS.workflow_id)
        walk = Walk(shop, jobs, job, request.steps)

        moment = walk.step("moment", lambda _tick: steps.moment(shop, request))
        sealed = walk.step(
            "snapshot", lambda tick: steps.snapshot(shop, request, tick, job, at=moment)
        )
        leaks = walk.step("check", _check(shop, request, sealed))
        begun: dict[str, Any] = {"moment": moment, "snapshot": sealed, "leaks": leaks}
        if "cvr" in _heads(shop, request):
            begun["unseen"] = unseen(shop, sealed)
        if request.refresh:
            return begun | refresh(walk, request, sealed, moment["live"])
        bundle = walk.step(
            "embed",
            lambda tick: embed(
                shop,
                sealed,
                seed=request.seed,
                tick=tick,
                job_id=job,
                item_only=request.item_only,
            ),
        )
        built = walk.step("index", lambda tick: steps.index(shop, bundle, tick, job))
        drawn = walk.step("map", mapping(shop, bundle, job))

        parents = (sealed, bundle)
        tables = _pretrained(walk, request, parents)
        carried = moment["live"]["ranker"] if request.carry else None
        trained = _ranking(shop, request, (*parents, *tables), job, carried=carried)
        rankers: dict[str, str] = {
            arm: walk.step(f"rank_{arm}", trained(arm)) for arm in request.arms
        }
        report = walk.step(
            "judge",
            lambda tick: steps.judge(
                shop, parents, rankers, seed=request.seed, tick=tick, job_id=job
            ),
        )
        return {
            **begun,
            "bundle": bundle,
            "index": built,
            "map": drawn,
            **({"tables": tables} if tables else {}),
            "rankers": rankers,
            "report": report,
            **_ended(walk, request, lambda: _candidate(shop, sealed, bundle, rankers)),
        }

    return retrain


def _heads(shop: Workshop, request: RetrainRequest) -> tuple[str, ...]:
    """What the rankers are to answer; a refresh trains none."""
    return () if request.refresh else request.dials(shop.settings.ranker).heads.names


def _check(shop: Workshop, request: RetrainRequest, snapshot: str) -> Callable[[Tick], Any]:
    """The step that looks for leaks, in what the rankers are to answer."""
    heads = _heads(shop, request)
    return lambda tick: check_leaks(
        shop, snapshot, allowed=request.allow_leaks, tick=tick, heads=heads
    )


def _pretrained(walk: Walk, request: RetrainRequest, parents: tuple[str, str]) -> list[str]:
    """The tables that rankers are to read; none where none were asked for."""
    shop, job, choice, seed = walk.shop, walk.job_id, request.pretraining, request.seed
    if choice is None:
        return []
    return walk.step(
        "pretrain",
        lambda tick: pretrain(shop, parents, choice, seed=seed, tick=tick, job_id=job),
    )


def _ranking(
    shop: Workshop,
    request: RetrainRequest,
    parents: tuple[str, ...],
    job: str,
    *,
    carried: str | None,
) -> Callable[[str], Callable[[Tick], str]]:
    """For an arm, the step that trains it. `carried`: the ranker whose ID rows it begins with."""

    def of(arm: str) -> Callable[[Tick], str]:
        how = steps.How(arm, request.seed, request.ranker, request.training, carried)
        return lambda tick: steps.rank_as(shop, parents, how, tick=tick, job_id=job)

    return of


def _ended(
    walk: Walk, request: RetrainRequest, candidate: Callable[[], Candidate]
) -> dict[str, Any]:
    """The steps behind the judge: what the gate says, the exported network, the promotion."""
    shop, job = walk.shop, walk.job_id
    decided = walk.step("gate", lambda tick: gate(shop, candidate(), tick=tick, job_id=job))
    forward = walk.step("export", export_candidate(shop, decided, job))
    ended: dict[str, Any] = {"decision": decided, "promoted": None}
    why = request.why_promoted(decided["decision"])
    if why is not None:
        ended = walk.step("promote", lambda _tick: promote_judged(shop, decided, job, why=why))
    return {"forward": forward, **ended}


def _candidate(shop: Workshop, snapshot: str, bundle: str, rankers: dict[str, str]) -> Candidate:
    """The arm that the gate is asked about: chosen on valid, before anyone looks at test."""
    return Candidate(snapshot, bundle, steps.best_on_valid(shop, list(rankers.values())))
