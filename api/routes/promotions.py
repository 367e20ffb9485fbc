"""Promotions: which trio was made live when, by whom and why; and making one live by hand."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.auditing import tell
from api.auth import KeyOf
from api.deps import ServicesOf
from api.jobs.promotion import promote_by_hand
from api.jobs.requests import REASON
from api.routes import cursors
from graphsvc import ledger
from graphsvc.ids import DIGEST

router = APIRouter(prefix="/v1/promotions", tags=["artifacts"])


class ByHand(BaseModel):
    """Why a ranker is promoted, kept with the promotion; and beside which bundle."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        pattern=REASON,
        description="Why. It may only be left out where the gate let this ranker and bundle pass "
        "over what is live now.",
        examples=["the new schema has no champion to compare with"],
    )
    bundle: str | None = Field(
        default=None,
        pattern=DIGEST.pattern,
        description="another bundle of the same frame; by default the one it was trained on",
        examples=[None],
    )


class PromotionIn(ByHand):
    """The ranker to promote, why, and beside which bundle."""

    ranker: str = Field(pattern=DIGEST.pattern, examples=["3f" * 32])


class TrioOut(BaseModel):
    """The trio that is live from this generation on."""

    generation: int = Field(examples=[2])
    bundle: str
    index: str
    ranker: str


class PromotionOut(TrioOut):
    """A promotion: what, why, by whom, and what the gate had said of it."""

    reason: str = Field(examples=["passed the gate, job 0199c1e2"])
    promoted_by: str | None = Field(
        examples=["key 0123456789abcdef"],
        description="a job, an API key by its id, or the command line; null in old rows",
    )
    decision: str | None = Field(
        examples=["5c" * 32],
        description="of the gate on this ranker and bundle; null where it had not been asked",
    )
    created_at: int = Field(examples=[1767225600])


class PromotionPage(BaseModel):
    """A page of promotions, newest first; `next` is null at the end."""

    items: list[PromotionOut]
    next: str | None = Field(examples=[None])


@router.get("", summary="Promotions, newest first: which trio, when, by whom and why")
def get_promotions(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> PromotionPage:
    with services.database.reading() as connection:
        page = ledger.promotion_page(connection, limit=limit, after=cursors.decode(cursor))
    return PromotionPage(
        items=[PromotionOut(**asdict(row)) for row in page.items], next=cursors.encode(page.next)
    )


@router.post("", summary="Make a ranker and its bundle and index live, by hand")
def post_promotion(services: ServicesOf, key: KeyOf, body: PromotionIn) -> TrioOut:
    """So one overrules the gate, which needs a reason, or rolls back. Harmless to repeat."""
    return by_hand(services, key, body.ranker, body)


def by_hand(services: ServicesOf, key: str, ranker: str, body: ByHand) -> TrioOut:
    """Promote because the holder of a key says so."""
    live = promote_by_hand(
        services.database, ranker, reason=body.reason, by=f"key {key}", bundle=body.bundle
    )
    tell(asdict(live) | {"reason": body.reason})
    return TrioOut(**asdict(live))
