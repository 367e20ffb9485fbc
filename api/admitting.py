"""How much a server process has under way: requests, and bytes of their bodies.

Takes requests, answers 503 with `Retry-After` to those beyond what it may have, so that nothing
waits without end and memory stays what it is; never makes one wait. Half of it is any one caller's
at most, so that whoever asks too much leaves room for the others.
"""

import hashlib
from collections import Counter

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

#: Whether the server is up is told in any case.
_ALWAYS = "/health/"
_MIB = 1 << 20
_RETRY = {"Retry-After": "1"}
_TITLE = "Too busy"


class AdmittedRequests:
    """Pure ASGI middleware; asked in one event loop, so its numbers need no lock."""

    def __init__(self, app: ASGIApp, most: int, most_mib: int) -> None:
        self.app = app
        self.most, self.each = most, max(1, most // 2)
        self.most_bytes = most_mib * _MIB
        #: Requests under way, of each caller and together, and bytes read of their bodies.
        self.of: Counter[bytes] = Counter()
        self.under_way = self.bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_ALWAYS):
            await self.app(scope, receive, send)
            return
        caller = _caller(scope)
        if why := self._full(caller):
            await problem(503, _TITLE, why, headers=_RETRY)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            size = len(message.get("body", b""))
            read += size
            self.bytes += size
            if self.bytes > self.most_bytes:
                raise HTTPException(
                    503, "bodies of other requests fill this server; try again", headers=_RETRY
                )
            return message

        self.under_way += 1
        self.of[caller] += 1
        try:
            await self.app(scope, counted, send)
        finally:
            self.under_way -= 1
            self.bytes -= read
            self.of[caller] -= 1
            if not self.of[caller]:
                del self.of[caller]

    def _full(self, caller: bytes) -> str:
        if self.under_way >= self.most:
            return f"{self.most} requests are under way, as many as this server does; try again"
        if self.of[caller] >= self.each:
            return f"{self.each} requests of yours are under way, as many as one caller may have"
        return ""


def _caller(scope: Scope) -> bytes:
    """Who asks: by what is presented as a key, else by address. No key is kept."""
    for name, value in scope["headers"]:
        if name in (b"authorization", b"x-api-key"):
            return hashlib.sha256(value).digest()
    client = scope.get("client")
    return str(client[0] if client else "").encode()
