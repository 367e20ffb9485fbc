"""POST /v1/retrains: ask for a new trio."""

from typing import Annotated

from fastapi import APIRouter, Body, Response, status
from pydantic import BaseModel, Field

from api.auditing import tell
from api.deps import ServicesOf
from api.jobs.moments import (
    refuse_conversions,
    refuse_facets,
    refuse_idle,
    refuse_training,
    refuse_unusable,
    refuse_without_live,
)
from api.jobs.requests import JobName, RetrainRequest

router = APIRouter(prefix="/v1", tags=["jobs"])


class Enqueued(BaseModel):
    """The job that will do it; look at it under `/v1/jobs/{id}`."""

    job: str = Field(examples=["7c1e4d62-6f0e-4f0e-9d5a-0c1b2a3f4e5d"])
    existing: bool = Field(
        description="Whether it was there before: an identical one that waits or runs, and that "
        "sees all that a new one would see.",
        examples=[False],
    )


@router.post(
    "/retrains",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Ask for a retrain; an identical one that waits or runs and sees as much is returned "
    "instead",
)
def post_retrain(
    services: ServicesOf,
    response: Response,
    body: Annotated[
        RetrainRequest, Body(examples=[{"split": "global_time", "arms": ["attention"]}])
    ] = RetrainRequest(),  # noqa: B008  frozen, so one default serves all
) -> Enqueued:
    refuse_unusable(services.store, body.as_of, name="body.as_of")
    refuse_without_live(services.database, services.store, body)
    refuse_facets(services.database, services.settings.facets)
    refuse_idle(body.ranker, services.settings.ranker)
    refuse_conversions(services.database, body, services.settings.ranker)
    refuse_training(services.database, body)
    asked = services.jobs.enqueue(JobName.RETRAIN, body)
    tell({"job": asked.job, "asked": body.model_dump(mode="json")})
    response.headers["Location"] = f"/v1/jobs/{asked.job}"
    return Enqueued(job=asked.job, existing=asked.existing)
