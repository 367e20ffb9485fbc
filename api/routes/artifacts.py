"""Artifacts: what was sealed, from what, how good it is, and making a trio live."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.auth import KeyOf
from api.deps import ServicesOf
from api.errors import Invalid
from api.routes import cursors
from api.routes.promotions import ByHand, TrioOut, by_hand
from graphsvc import ledger
from graphsvc.ids import DIGEST
from ranking.bundle import certificate_of

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

Kind = Literal[
    "snapshot", "bundle", "index", "ranker", "report", "table", "forward", "erasure", "map"
]
DigestOf = Annotated[str, Path(alias="digest", pattern=DIGEST.pattern, examples=["3f" * 32])]


class ArtifactOut(BaseModel):
    """An artifact's row in the ledger."""

    digest: str
    kind: Kind
    state: Literal["sealed", "live", "retired"]
    parents: dict[str, str]
    metrics: dict[str, Any]
    summary: dict[str, Any] = Field(
        examples=[{"arm": "attention"}], description="the short values of its payload"
    )
    job: str | None
    created_at: int = Field(examples=[1767225600])


class ArtifactDetail(ArtifactOut):
    """An artifact with its dials and its room's payload; a report's figures are in `payload`."""

    dials: dict[str, Any]
    payload: dict[str, Any]


class ArtifactPage(BaseModel):
    """A page of artifacts, newest first; `next` is null at the end."""

    items: list[ArtifactOut]
    next: str | None = Field(examples=[None])


class Certificate(RootModel[dict[str, Any]]):
    """How far each group may be from a classifier of its own, as it was sealed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"schema": "graphsvc.fairness/1", "groups": {"f": {"r": 0.1, "tau": 0.08}}}
            ]
        }
    )


@router.get("", summary="Artifacts, newest first")
def get_artifacts(
    services: ServicesOf,
    kind: Annotated[Kind | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> ArtifactPage:
    with services.database.reading() as connection:
        page = ledger.artifacts(connection, kind=kind, limit=limit, after=cursors.decode(cursor))
    return ArtifactPage(
        items=[ArtifactOut(**_columns(row)) for row in page.items],
        next=cursors.encode(page.next),
    )


@router.get("/{digest}", summary="One artifact with its lineage, dials and figures")
def get_artifact(services: ServicesOf, digest: DigestOf) -> ArtifactDetail:
    with services.database.reading() as connection:
        row = ledger.artifact(connection, digest)
    sealed = services.store.open(row.kind, digest, verify=False)
    return ArtifactDetail(**_columns(row), dials=dict(sealed.dials), payload=dict(sealed.payload))


@router.get("/{digest}/certificate", summary="What a ranker certifies about groups of people")
def get_certificate(services: ServicesOf, digest: DigestOf) -> Certificate:
    """404 for a ranker that was not trained by group, since it certifies nothing."""
    with services.database.reading() as connection:
        kind = ledger.artifact(connection, digest).kind
    sealed = services.store.open(kind, digest, verify=False)
    return Certificate(certificate_of(sealed))


@router.post("/{digest}/promote", summary="Make a ranker and its bundle and index live")
def post_promote(
    services: ServicesOf,
    key: KeyOf,
    digest: DigestOf,
    body: ByHand = ByHand(),  # noqa: B008  never changed
) -> TrioOut:
    """As `POST /v1/promotions`. Promoting an earlier ranker is how one rolls back."""
    with services.database.reading() as connection:
        kind = ledger.artifact(connection, digest).kind
    if kind != "ranker":
        raise Invalid(f"digest should be a ranker's, received a {kind}'s")
    return by_hand(services, key, digest, body)


def _columns(row: ledger.ArtifactRow) -> dict[str, Any]:
    return {
        "digest": row.digest,
        "kind": row.kind,
        "state": row.state,
        "parents": dict(row.parents),
        "metrics": dict(row.metrics),
        "summary": dict(row.summary),
        "job": row.job_id,
        "created_at": row.created_at,
    }
