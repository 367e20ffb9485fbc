"""Answering a request once, however often it is sent: the header Idempotency-Key.

Takes requests with that header, gives a repetition the answer that was given before; never runs two
that bear the same key side by side. What is kept is per API key. A stream is not held to be hashed
before it runs: it is reserved by what is known of it, and hashed as it goes by. See
`docs/promises.md` for what a repetition can count on.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from time import time
from typing import Any, TypeVar

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import caller_of, presented_in
from api.deps import Services
from api.errors import ApiError, KeyReused, KeyUnderWay, StreamTooLarge, TooMany
from api.kept import UNFINISHED, UNREAD, Held, Streamed, replay
from api.problems import answer_to
from api.scopes import READ
from graphsvc import idempotency
from graphsvc.db import Connection
from graphsvc.errors import GraphError
from graphsvc.idempotency import Answer, Known, Request
from graphsvc.keys import Caller

_log = logging.getLogger("graphsvc.idempotency")

HEADER = "Idempotency-Key"
#: Methods that change something.
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Printable ASCII.
KEY_PATTERN = r"^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$"

_KEY = re.compile(KEY_PATTERN)
#: Each try may wait for the database for half a minute.
_RENEWED_SECONDS = idempotency.RESERVED_SECONDS / 6

Result = TypeVar("Result")


@dataclass(slots=True)
class _Turn:
    """A request that is ours to run; its digest grows while its body is read."""

    request: Request
    digest: Any
    since: int


class Idempotent:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, streams: frozenset[str] = frozenset()) -> None:
        self.app = app
        #: Paths whose bodies and answers are of any length.
        self.streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] not in METHODS
            or HEADER not in (headers := Headers(scope=scope))
        ):
            await self.app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        try:
            name = _name_of(headers)
            caller = await _caller(services, scope)
            if caller is None:  # the app says what is wrong with the key
                await self.app(scope, receive, send)
                return
            digest = _head_digest(scope)
            streamed = scope["path"] in self.streams
            if not streamed:
                receive = await _read_first(receive, digest)
            request = Request(caller.id, name, digest.hexdigest())
            now = int(time())
            known = await self._reserve(services, request, now)
            if known.answer:
                _refuse_too_often(services, caller)
                if streamed:
                    await _read_through(receive, digest, services.settings.max_bulk_bytes)
                if digest.hexdigest() != known.request:
                    raise KeyReused
                await replay(known.answer, send)
                return
            if known.state != "ours":
                raise KeyReused if known.state == "another" else KeyUnderWay
        except (ApiError, GraphError, HTTPException) as error:
            await answer_to(error)(scope, receive, send)
            return
        turn = _Turn(request, digest, now)
        if streamed:
            outgoing = Streamed(send)
            scope[UNREAD] = outgoing.take_unread
            await self._run(services, turn, scope, _hashed(receive, digest), outgoing)
        else:
            await self._run(services, turn, scope, receive, Held(send))

    async def _run(
        self,
        services: Services,
        turn: _Turn,
        scope: Scope,
        receive: Receive,
        outgoing: Held | Streamed,
    ) -> None:
        renewing = asyncio.create_task(_keep_renewing(services, turn))
        try:
            await self.app(scope, receive, outgoing.take)
        except BaseException:
            renewing.cancel()
            await _settle(services, turn, None)
            raise
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        await _settle(services, turn, None if scope.get(UNFINISHED) else outgoing.answer())
        await outgoing.give()

    async def _reserve(self, services: Services, request: Request, now: int) -> Known:
        keep_seconds = round(services.settings.idempotency_hours * 3600)

        def work(connection: Connection) -> Known:
            return idempotency.reserve(connection, request, now=now, keep_seconds=keep_seconds)

        return await _with(services, work)


async def _caller(services: Services, scope: Scope) -> Caller | None:
    """Whose key came with a request, if it is good for anything."""
    client = scope.get("client")
    presented = presented_in(Headers(scope=scope))
    caller = await caller_of(services, presented, str(client[0]) if client else "")
    return None if caller is None or caller.expired(time()) else caller


def _refuse_too_often(services: Services, caller: Caller) -> None:
    """What was kept is read; whoever reads it has a rate for that."""
    if wait := services.rates.wait(caller.id, READ):
        raise TooMany("kept answers are asked for too often", retry_after=ceil(wait))


def _name_of(headers: Headers) -> str:
    names = headers.getlist(HEADER)
    if len(names) != 1 or not _KEY.fullmatch(names[0]):
        raise ApiError(f"{HEADER} should be 1 to 255 printable ASCII characters, once")
    return names[0]


def _head_digest(scope: Scope) -> Any:
    """A digest of the request up to its body, which is to be added as it is."""
    digest = hashlib.sha256()
    for part in (
        scope["method"].encode(),
        scope.get("raw_path") or scope["path"].encode(),
        scope.get("query_string", b""),
    ):
        digest.update(len(part).to_bytes(8) + part)
    return digest


async def _read_first(receive: Receive, digest: Any) -> Receive:
    """Read and hash the body; gives it once more, for the app, then whatever else comes."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError("the connection ended before the body did")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    digest.update(body)
    messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _read_through(receive: Receive, digest: Any, most: int) -> None:
    """Read and hash a body that nobody needs."""
    taken = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError("the connection ended before the body did")
        body = message.get("body", b"")
        digest.update(body)
        taken += len(body)
        if taken > most:
            raise StreamTooLarge(f"the stream should be at most {most} bytes")
        more = message.get("more_body", False)


def _hashed(receive: Receive, digest: Any) -> Receive:
    """The body as it comes, hashed on the way."""

    async def passing() -> Message:
        message = await receive()
        digest.update(message.get("body", b""))
        return message

    return passing


async def _settle(services: Services, turn: _Turn, answer: Answer | None) -> None:
    """Keep the answer, or let the request be run again."""

    def work(connection: Connection) -> None:
        if answer is None:
            idempotency.release(connection, turn.request, since=turn.since)
        else:
            now = int(time())
            digest = turn.digest.hexdigest()
            if not idempotency.keep(
                connection, turn.request, answer, since=turn.since, now=now, digest=digest
            ):
                _log.warning("an answer was not kept: its reservation had run out")

    try:
        await asyncio.shield(_with(services, work))
    except GraphError as error:
        # The request was run and has its answer. The reservation runs out by itself.
        _log.warning("an answer could not be kept: %s", error)


async def _keep_renewing(services: Services, turn: _Turn) -> None:
    while True:
        await asyncio.sleep(_RENEWED_SECONDS)
        now = int(time())

        def work(connection: Connection, now: int = now) -> bool:
            return idempotency.renew(connection, turn.request, since=turn.since, now=now)

        try:
            renewed = await _with(services, work)
        except GraphError as error:  # tried again; two in a row are still in time
            _log.warning("a reservation could not be renewed: %s", error)
            continue
        if not renewed:
            return
        turn.since = now


async def _with(services: Services, work: Callable[[Connection], Result]) -> Result:
    """Do something in a transaction, in a thread."""

    def within() -> Result:
        with services.database.transaction() as connection:
            return work(connection)

    return await to_thread.run_sync(within)
