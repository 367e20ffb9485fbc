"""The second half of a refresh, from embed to promote; the live ranker stays.

Takes a walk that has its snapshot and the trio that was live, gives digests; never trains a ranker.
The live bundle is where the embedding begins, so that its vectors stay where they were and the
ranker goes on reading them.
"""

from typing import Any

from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.forward import export_candidate
from api.jobs.gate import Candidate, gate
from api.jobs.map import mapping
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop
from api.jobs.walk import Walk
from graphsvc.artifact import ArtifactStore
from graphsvc.ledger import Signed
from kge.bundle import open_bundle
from ranking.bundle import open_ranker
from ranking.errors import FrameMismatch


def refresh(
    walk: Walk, request: RetrainRequest, snapshot: str, live: dict[str, str]
) -> dict[str, Any]:
    """Do the steps behind `check`; `live` holds the digests that the step `moment` chose."""
    shop, job, ranker = walk.shop, walk.job_id, live["ranker"]
    bundle = walk.step(
        "embed",
        lambda tick: embed(
            shop, snapshot, seed=request.seed, tick=tick, job_id=job, previous=live["bundle"]
        ),
    )
    arm = walk.step("frame", lambda _tick: arm_that_reads(shop.store, ranker, bundle))
    built = walk.step("index", lambda tick: steps.index(shop, bundle, tick, job))
    drawn = walk.step("map", mapping(shop, bundle, job))
    report = walk.step(
        "judge",
        lambda tick: steps.judge(
            shop,
            (snapshot, bundle),
            {arm: ranker},
            seed=request.seed,
            tick=tick,
            job_id=job,
            refreshed=True,
        ),
    )
    # The live ranker with the new bundle, against itself with the one before.
    candidate = Candidate(snapshot, bundle, ranker)
    decided = walk.step("gate", lambda tick: gate(shop, candidate, tick=tick, job_id=job))
    # It may be one of before networks were exported.
    forward = walk.step("export", export_candidate(shop, decided, job))
    promoted = None
    why = request.why_promoted(decided["decision"])
    if why is not None:
        promoted = walk.step(
            "promote",
            lambda _tick: promote_over(
                shop, live, bundle, job, decision=decided["id"], why=f"refresh, {why}"
            ),
        )
    return {
        "bundle": bundle,
        "index": built,
        "map": drawn,
        "rankers": {arm: ranker},
        "report": report,
        "forward": forward,
        "decision": decided,
        "promoted": promoted,
    }


def arm_that_reads(store: ArtifactStore, ranker: str, bundle: str) -> str:
    """The arm of a ranker that can read a refreshed bundle. Raises `FrameMismatch`."""
    opened = open_bundle(store, bundle)
    try:
        return open_ranker(store, ranker, opened).arm
    except FrameMismatch as error:
        stayed = float(opened.artifact.metrics["frame_kept"])
        raise FrameMismatch(
            f"the live ranker cannot read the refreshed bundle, so nothing is promoted "
            f"({stayed:.3f} of the frame is kept); ask for a retrain without refresh. {error}"
        ) from error


def promote_over(
    shop: Workshop,
    live: dict[str, str],
    bundle: str,
    job: str,
    *,
    decision: str | None = None,
    why: str = "refresh",
) -> dict[str, Any]:
    """Promote the ranker of a trio with a newer bundle. Raises `PromotionRefused`.

    Only over that trio: whoever promoted another one meanwhile, if only an older bundle, meant it.
    """
    promoted = promote(
        shop.database,
        live["ranker"],
        bundle=bundle,
        reason=f"{why}, job {job}",
        once=True,
        while_live=live,
        signed=Signed(f"job {job}", decision),
    )
    return {"ranker": live["ranker"], "generation": promoted.generation}
