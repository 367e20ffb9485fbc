"""Writes beyond ingestion, written down twice: before they are done, and what became of them.

Takes requests whose caller is known, appends rows; never holds up
what it writes down, once that is asked for. Whoever does the write says what it was (`tell`).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from time import time
from typing import Any

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.audit_rows import BROKEN, became
from api.deps import Services
from api.logs import trace_id
from api.scopes import AUDITED
from graphsvc import audit
from graphsvc.db import Connection, Database
from graphsvc.ids import NAME, EntityId

#: Ids of keys and jobs, and digests: nobody's name has that form.
_PLAIN = re.compile("[0-9a-f-]{16,64}")
_OTHER = "(not kept)"
#: What whoever does a write has told of it; None where nobody writes it down.
_told: ContextVar[dict[str, Any] | None] = ContextVar("told", default=None)


def tell(about: Mapping[str, Any]) -> None:
    """Say what a write was about, for the row of what became of it; ids of people never."""
    told = _told.get()
    if told is not None:
        told.update(about)


@contextmanager
def telling() -> Iterator[dict[str, Any]]:
    """What is told in the block, by whoever does the write."""
    told = dict[str, Any]()
    reset = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(reset)


async def note(request: Request, services: Services, key: str, route: tuple[str, str]) -> None:
    """Write down that somebody asks for a write. Raises `DatabaseUnavailable`: then nobody does it.

    `route`: method and template.
    """
    if route not in AUDITED:
        return
    work = partial(asked, services.database, key, route, dict(request.path_params))
    request.state.audited = await to_thread.run_sync(work)


class AuditedRequests:
    """Pure ASGI middleware: what became of each request that `note` has written down."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = BROKEN

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with telling() as told:
            try:
                await self.app(scope, receive, noted)
            finally:
                number = scope.get("state", {}).get("audited")
                if number is not None:
                    database = scope["app"].state.services.database
                    with CancelScope(shield=True):  # also where whoever asked has gone
                        work = partial(became, database, number, status, told)
                        await to_thread.run_sync(work)


def asked(database: Database, key: str, route: tuple[str, str], path: Mapping[str, Any]) -> int:
    """Write down that a key asks for a route, in a transaction of its own: the row's number."""
    with database.transaction() as connection:
        return audit.asked(
            connection,
            key,
            " ".join(route),
            _about(connection, path),
            now=int(time()),
            trace_id=trace_id.get() or None,
        )


def _about(connection: Connection, path: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a path, as far as it can be nobody's name; it was not checked yet."""
    if "type" in path:
        entity = EntityId(str(path["type"]), str(path["id"]))
        known = entity.type if NAME.fullmatch(entity.type) else _OTHER
        return {"type": known, "subject": audit.subject(connection, entity)}
    return {
        name: str(value) if _PLAIN.fullmatch(str(value)) else _OTHER for name, value in path.items()
    }
