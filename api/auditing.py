"""Writes beyond ingestion, written down twice: before they are done, and what became of them.

Takes requests whose caller is known and verbs of the command line, appends rows; never holds up
what it writes down, once that is asked for.
"""

import logging
from collections.abc import Mapping
from functools import partial
from time import time
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.deps import Services
from api.logs import trace_id
from api.scopes import AUDITED
from graphsvc import audit
from graphsvc.db import Connection, Database
from graphsvc.errors import GraphError
from graphsvc.ids import EntityId

_log = logging.getLogger("graphsvc.audit")
#: Of a request that no answer came to.
_BROKEN = 500


async def note(request: Request, services: Services, key: str, route: tuple[str, str]) -> None:
    """Write down that somebody asks for a write. Raises `DatabaseUnavailable`: then nobody does it.

    `route`: method and template.
    """
    if route not in AUDITED:
        return
    work = partial(_asked, services.database, key, " ".join(route), dict(request.path_params))
    request.state.audited = await to_thread.run_sync(work)


def by_command(connection: Connection, verb: str, about: Mapping[str, Any]) -> None:
    """Write down a verb of the command line, in the transaction that does it."""
    audit.asked(connection, audit.COMMAND_LINE, f"graphsvc {verb}", about, now=int(time()))


class AuditedRequests:
    """Pure ASGI middleware: what became of each request that `note` has written down."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = _BROKEN

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            number = scope.get("state", {}).get("audited")
            if number is not None:
                database = scope["app"].state.services.database
                await to_thread.run_sync(partial(_became, database, number, status))


def _asked(database: Database, key: str, action: str, about: Mapping[str, Any]) -> int:
    with database.transaction() as connection:
        if "type" in about:
            entity = EntityId(str(about["type"]), str(about["id"]))
            about = {"type": entity.type, "subject": audit.subject(connection, entity)}
        return audit.asked(
            connection, key, action, about, now=int(time()), trace_id=trace_id.get() or None
        )


def _became(database: Database, number: int, status: int) -> None:
    try:
        with database.transaction() as connection:
            audit.became(connection, number, status, now=int(time()))
    except GraphError as error:
        # It was answered already; that it was asked for stays written down.
        _log.error("the outcome %d of row %d is not written: %s", status, number, error)
