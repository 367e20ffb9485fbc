"""How much a server process has under way: requests, and bytes of their bodies.

Takes requests, answers 503 with `Retry-After` to those beyond what it may have, so that nothing
waits without end and memory stays what it is; never makes one wait. Half of the requests are any
one caller's at most, so that whoever asks too much leaves room for the others; and a body has to
come in time, so that nobody holds a place with nothing.
"""

import asyncio
from collections import Counter
from time import monotonic

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import presented_in
from api.problems import problem

#: Whether the server is up is told in any case.
_ALWAYS = "/health/"
_MIB = 1 << 20
_RETRY = {"Retry-After": "1"}
_TITLE = "Too busy"
#: In which a body has to be there, in seconds; of streams their route says how long they may pause.
BODY_SECONDS = 60.0


class AdmittedRequests:
    """Pure ASGI middleware; asked in one event loop, so its numbers need no lock."""

    def __init__(
        self, app: ASGIApp, most: int, most_mib: int, streams: frozenset[str] = frozenset()
    ) -> None:
        self.app = app
        self.most, self.each = most, max(1, most // 2)
        self.most_bytes = most_mib * _MIB
        #: Paths whose bodies pass through, and are bounded by their routes.
        self.streams = streams
        #: Requests under way, of each caller and together, and bytes read of their bodies.
        self.of: Counter[str] = Counter()
        self.under_way = self.bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_ALWAYS):
            await self.app(scope, receive, send)
            return
        caller = _caller(scope)
        if why := self._full(caller):
            await problem(503, _TITLE, why, headers=_RETRY)(scope, receive, send)
            return
        body = _Body(self, receive)
        self.under_way += 1
        self.of[caller] += 1
        try:
            passing = receive if scope["path"] in self.streams else body.receive
            await self.app(scope, passing, send)
        finally:
            self.under_way -= 1
            self.bytes -= body.read
            self.of[caller] -= 1
            if not self.of[caller]:
                del self.of[caller]

    def _full(self, caller: str) -> str:
        if self.under_way >= self.most:
            return f"{self.most} requests are under way, as many as this server does; try again"
        if self.of[caller] >= self.each:
            return f"{self.each} requests of yours are under way, as many as one caller may have"
        return ""


class _Body:
    """A body as it is read: counted, and in time."""

    def __init__(self, among: AdmittedRequests, receive: Receive) -> None:
        self._among, self._receive = among, receive
        self._until, self._whole = monotonic() + BODY_SECONDS, False
        self.read = 0

    async def receive(self) -> Message:
        if self._whole:  # whoever waits now waits for the other side to go
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408, f"the body should be there within {BODY_SECONDS:g} s; send it again"
            ) from None
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.read += size
        self._among.bytes += size
        if size and self._among.bytes > self._among.most_bytes:
            said = "the bodies that this server reads at the moment are too large; try again"
            raise HTTPException(503, said, headers=_RETRY)
        return message


def _caller(scope: Scope) -> str:
    """Who asks: the key, where it was verified a moment ago, else the address."""
    services = scope["app"].state.services
    known = services.known_keys.recall(presented_in(Headers(scope=scope)))
    client = scope.get("client")
    return f"key {known.id}" if known else f"address {client[0] if client else ''}"
