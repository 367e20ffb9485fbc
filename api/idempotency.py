"""Answering a request once, however often it is sent: the header Idempotency-Key.

Takes requests with that header, gives a repetition the answer that was given before; never runs two
that bear the same key side by side. What is kept is per API key. See `docs/promises.md` for what a
repetition can count on.
"""

import asyncio
import hashlib
import logging
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import TypeVar

import orjson
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.deps import Services
from api.errors import ApiError, KeyReused, KeyUnderWay
from api.problems import answer_to
from graphsvc import idempotency, keys
from graphsvc.db import Connection
from graphsvc.errors import GraphError
from graphsvc.idempotency import Answer, Known, Request

_log = logging.getLogger("graphsvc.idempotency")

HEADER = "Idempotency-Key"
#: Methods that change something.
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Larger answers are not kept, so the request runs again when it is repeated.
MOST_ANSWER_BYTES = 1024 * 1024
#: Printable ASCII.
KEY_PATTERN = r"^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$"

_KEY = re.compile(KEY_PATTERN)
_RENEWED_SECONDS = idempotency.RESERVED_SECONDS / 3
_PRUNED_EVERY = 64
#: These belong to one sending of the answer.
_NOT_KEPT = frozenset({"content-length", "date", "server", "connection", "transfer-encoding"})

Result = TypeVar("Result")


@dataclass(slots=True)
class _Turn:
    """A request that is ours to run."""

    request: Request
    since: int


@dataclass(slots=True)
class _Held:
    """An answer that is held back until it is kept, as long as it is small."""

    send: Send
    start: Message | None = None
    body: bytearray = field(default_factory=bytearray)
    passed_on: bool = False

    async def take(self, message: Message) -> None:
        """What the app sends."""
        if self.passed_on:
            await self.send(message)
        elif message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if len(self.body) > MOST_ANSWER_BYTES:
                await self.give(more=message.get("more_body", False))
        else:
            await self.send(message)

    async def give(self, *, more: bool = False) -> None:
        """Send what was held back."""
        self.passed_on = True
        if self.start:
            await self.send(self.start)
            body = {"type": "http.response.body", "body": bytes(self.body), "more_body": more}
            await self.send(body)


class Idempotent:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, streams: frozenset[str] = frozenset()) -> None:
        self.app = app
        #: Paths whose routes say themselves what the header means for them.
        self.streams = streams
        self._reserved = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] not in METHODS
            or scope["path"] in self.streams
            or HEADER not in (headers := Headers(scope=scope))
        ):
            await self.app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        try:
            name = _name_of(headers)
            api_key = await _with(services, lambda c: keys.verify(c, _presented(headers)))
            if api_key is None:  # the app says what is wrong with it
                await self.app(scope, receive, send)
                return
            body = await _body_of(receive)
            request = Request(api_key, name, _digest(scope, body))
            now = int(time())
            known = await self._reserve(services, request, now)
            if known.answer:
                await _replay(known.answer, send)
                return
            if known.state != "ours":
                raise _refusal(known)
        except (ApiError, GraphError, HTTPException) as error:
            await answer_to(error)(scope, receive, send)
            return
        await self._run(services, _Turn(request, now), scope, _again(body, receive), send)

    async def _run(
        self, services: Services, turn: _Turn, scope: Scope, receive: Receive, send: Send
    ) -> None:
        held = _Held(send)
        renewing = asyncio.create_task(_keep_renewing(services, turn))
        try:
            await self.app(scope, receive, held.take)
        except BaseException:
            renewing.cancel()
            await _settle(services, turn, None)
            raise
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        await _settle(services, turn, _answer_of(held))
        if not held.passed_on:
            await held.give()

    async def _reserve(self, services: Services, request: Request, now: int) -> Known:
        keep_seconds = round(services.settings.idempotency_hours * 3600)
        self._reserved += 1
        prunes = self._reserved % _PRUNED_EVERY == 1

        def work(connection: Connection) -> Known:
            known = idempotency.reserve(connection, request, now=now, keep_seconds=keep_seconds)
            if prunes:
                most = services.settings.idempotency_answers
                idempotency.prune(connection, before=now - keep_seconds, most=most)
            return known

        return await _with(services, work)


def _name_of(headers: Headers) -> str:
    names = headers.getlist(HEADER)
    if len(names) != 1 or not _KEY.fullmatch(names[0]):
        raise ApiError(f"{HEADER} should be 1 to 255 printable ASCII characters, once")
    return names[0]


def _presented(headers: Headers) -> str:
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and credentials:
        return credentials.strip()
    return headers.get("x-api-key", "")


async def _body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError("the connection ended before the body did")
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the app; then whatever else comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _digest(scope: Scope, body: bytes) -> str:
    state = hashlib.sha256()
    for part in (
        scope["method"].encode(),
        scope.get("raw_path") or scope["path"].encode(),
        scope.get("query_string", b""),
        body,
    ):
        state.update(len(part).to_bytes(8) + part)
    return state.hexdigest()


def _refusal(known: Known) -> ApiError:
    return KeyReused() if known.state == "another" else KeyUnderWay()


def _answer_of(held: _Held) -> Answer | None:
    """What is kept of an answer; None if it may be asked for again."""
    if held.passed_on or held.start is None or held.start["status"] >= 500:
        return None
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in held.start["headers"]
        if name.decode("latin-1").lower() not in _NOT_KEPT
    ]
    kinds = [value for name, value in headers if name.lower() == "content-type"]
    packed = orjson.dumps(headers) + b"\n" + bytes(held.body)
    return Answer(held.start["status"], kinds[0] if kinds else "", zlib.compress(packed, 1))


async def _replay(answer: Answer, send: Send) -> None:
    packed, _, body = zlib.decompress(answer.body).partition(b"\n")
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(packed)
    ]
    headers += [
        (b"content-length", str(len(body)).encode()),
        (b"idempotent-replayed", b"true"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _settle(services: Services, turn: _Turn, answer: Answer | None) -> None:
    """Keep the answer, or let the request be run again."""

    def work(connection: Connection) -> None:
        if answer is None:
            idempotency.release(connection, turn.request, since=turn.since)
        else:
            now = int(time())
            idempotency.keep(connection, turn.request, answer, since=turn.since, now=now)

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
            renewed = idempotency.renew(connection, turn.request, since=turn.since, now=now)
            turn.since = now if renewed else turn.since
            return renewed

        with suppress(GraphError):  # tried again; two failures in a row are still in time
            if not await _with(services, work):
                return


async def _with(services: Services, work: Callable[[Connection], Result]) -> Result:
    """Do something in a transaction, in a thread."""

    def within() -> Result:
        with services.database.transaction() as connection:
            return work(connection)

    return await to_thread.run_sync(within)
