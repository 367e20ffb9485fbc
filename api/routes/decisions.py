"""Decisions: what the gate said of candidates, against which champion, and by which numbers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from graphsvc import decisions
from graphsvc.ids import DIGEST

router = APIRouter(prefix="/v1/decisions", tags=["artifacts"])

Said = Literal["passed", "refused", "not decided"]
RankerOf = Annotated[
    str | None, Query(pattern=DIGEST.pattern, description="of this candidate alone")
]


class PairOut(BaseModel):
    """A ranker and the bundle that it reads."""

    ranker: str = Field(examples=["3f" * 32])
    bundle: str = Field(examples=["4a" * 32])


class DecisionOut(BaseModel):
    """What the gate said of a candidate, and why."""

    id: str = Field(examples=["5c" * 32])
    decision: Said = Field(examples=["passed"])
    rule: Literal["champion", "first", "live"] = Field(
        examples=["champion"],
        description="champion: against what was live. first: nothing was. live: the candidate was.",
    )
    reason: str = Field(examples=["no loss beyond the margins: auc gains +0.0100 ..."])
    candidate: PairOut
    champion: PairOut | None
    snapshot: str = Field(description="whose test rows it rests on")
    job: str | None
    created_at: int = Field(examples=[1767225600])


class DecisionDetail(DecisionOut):
    """A decision with all numbers behind it; see docs/promotion.md."""

    numbers: dict[str, Any]


class DecisionPage(BaseModel):
    """A page of decisions, newest first; `next` is null at the end."""

    items: list[DecisionOut]
    next: str | None = Field(examples=[None])


@router.get("", summary="What the gate decided, newest first")
def get_decisions(
    services: ServicesOf,
    decision: Annotated[Said | None, Query()] = None,
    ranker: RankerOf = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> DecisionPage:
    with services.database.reading() as connection:
        page = decisions.page(
            connection,
            decision=decision,
            ranker=ranker,
            limit=limit,
            after=cursors.decode(cursor),
        )
    return DecisionPage(
        items=[DecisionOut(**columns(row)) for row in page.items], next=cursors.encode(page.next)
    )


@router.get("/{id}", summary="One decision with all numbers behind it")
def get_decision(
    services: ServicesOf,
    id_: Annotated[str, Path(alias="id", pattern=DIGEST.pattern, examples=["5c" * 32])],
) -> DecisionDetail:
    with services.database.reading() as connection:
        row = decisions.decision(connection, id_)
    return DecisionDetail(**columns(row), numbers=dict(row.numbers))


def columns(row: decisions.DecisionRow) -> Mapping[str, Any]:
    """A row as it is shown, without its numbers."""
    champion = None
    if row.champion_ranker and row.champion_bundle:
        champion = {"ranker": row.champion_ranker, "bundle": row.champion_bundle}
    return {
        "id": row.id,
        "decision": row.decision,
        "rule": row.rule,
        "reason": row.reason,
        "candidate": {"ranker": row.ranker, "bundle": row.bundle},
        "champion": champion,
        "snapshot": row.snapshot,
        "job": row.job_id,
        "created_at": row.created_at,
    }
