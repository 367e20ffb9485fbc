"""API keys over HTTP: list, make, rotate, revoke. For `admin` alone."""

from dataclasses import asdict
from time import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, status
from pydantic import BaseModel, ConfigDict, Field

from api.auditing import tell
from api.deps import Services, ServicesOf
from api.jobs.requests import REASON
from api.kept import UNFINISHED
from graphsvc import keys

router = APIRouter(prefix="/v1/keys", tags=["operations"])

Scope = Literal["ingest", "read", "score", "train", "admin"]
_ID = "^[0-9a-f]{16}$"
_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS


class KeyOut(BaseModel):
    """What is known of a key; the secret is not."""

    id: str = Field(examples=["5f" * 8])
    name: str = Field(examples=["shop"])
    created_at: int = Field(examples=[1767225600])
    scopes: list[Scope] = Field(examples=[["ingest", "score"]])
    expires_at: int | None = Field(examples=[None])
    last_used_at: int | None = Field(examples=[1767225600], description="to the minute or so")


class KeysOut(BaseModel):
    """All keys, the oldest first."""

    items: list[KeyOut] = Field(examples=[[{"id": "5f" * 8, "name": "shop"}]])


class KeyIn(BaseModel):
    """What a key is for, what it is good for, and for how long."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        default="unnamed", min_length=1, max_length=200, pattern=REASON, examples=["shop"]
    )
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(keys.SCOPES))] = Field(
        default=["ingest", "read", "score", "train"]
    )
    expires_days: float | None = Field(
        default=None, ge=0.001, le=3650, allow_inf_nan=False, description="null: it does not end"
    )


class MadeOut(BaseModel):
    """A key, in clear text; nobody can read it again."""

    id: str = Field(examples=["5f" * 8])
    key: str


class RevokedOut(BaseModel):
    """The key that opens nothing any more."""

    revoked: str = Field(examples=["5f" * 8])


class RotateIn(BaseModel):
    """For how long the former key still opens."""

    model_config = ConfigDict(extra="forbid")

    grace_hours: float = Field(default=24.0, ge=0, le=24 * 31, allow_inf_nan=False, examples=[24.0])


@router.get("", summary="All keys, with what they are good for and when they were last used")
def get_keys(services: ServicesOf) -> KeysOut:
    with services.database.reading() as connection:
        found = keys.list_keys(connection)
    return KeysOut(items=[KeyOut(**{**asdict(key), "scopes": list(key.scopes)}) for key in found])


@router.post("", summary="Make a key; it is shown once", status_code=status.HTTP_201_CREATED)
def post_key(services: ServicesOf, request: Request, body: KeyIn) -> MadeOut:
    """With an Idempotency-Key it is made again: nobody keeps an answer that has a key in it."""
    request.scope[UNFINISHED] = True
    return made(services, body)


def made(services: Services, body: KeyIn) -> MadeOut:
    """A key of somebody's wish."""
    now = int(time())
    ends = None if body.expires_days is None else now + round(body.expires_days * _DAY_SECONDS)
    with services.database.transaction() as connection:
        key = keys.create(connection, name=body.name, now=now, scopes=body.scopes, expires_at=ends)
    found = MadeOut(id=key.split("_")[1], key=key)
    tell({"key": found.id, "scopes": list(body.scopes), "expires_at": ends})
    return found


@router.post("/{id}/rotate", summary="Another key for the same; the former ends a while later")
def post_rotate(
    services: ServicesOf,
    request: Request,
    id_: Annotated[str, Path(alias="id", pattern=_ID, examples=["5f" * 8])],
    body: RotateIn = RotateIn(),  # noqa: B008  never changed
) -> MadeOut:
    """As of making one, with an Idempotency-Key there is no answer to be given again."""
    request.scope[UNFINISHED] = True
    return rotated(services, id_, body)


def rotated(services: Services, id_: str, body: RotateIn) -> MadeOut:
    """Another key in the place of one."""
    grace = round(body.grace_hours * _HOUR_SECONDS)
    with services.database.transaction() as connection:
        key = keys.rotate(connection, id_, now=int(time()), grace=grace)
    found = MadeOut(id=key.split("_")[1], key=key)
    tell({"key": found.id})
    return found


@router.delete("/{id}", summary="Make a key worthless")
def delete_key(
    services: ServicesOf,
    id_: Annotated[str, Path(alias="id", pattern=_ID, examples=["5f" * 8])],
) -> RevokedOut:
    """In running servers within a second."""
    with services.database.transaction() as connection:
        keys.revoke(connection, id_)
    return RevokedOut(revoked=id_)
