"""Every request by an id, told to the caller and beside every line of the log; a line per request.

Takes requests, adds headers to answers; never logs an address, a body or a key: of a path its
route's template is told.
"""

import logging
import re
import time
from collections.abc import Mapping
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.logs import Told, trace_id

HEADER = "X-Trace-ID"
_log = logging.getLogger("graphsvc.requests")
#: Hexadecimal digits and dashes, as of a UUID: nobody's name has that form.
_GIVEN = re.compile(rb"[0-9A-Fa-f-]{16,64}")
_FIRST_ERROR = 400
#: What comes by hundreds a second from whoever asks too much; `/metrics` counts it.
_REFUSED = (429, 503)
#: What browsers should not do with what comes from here. A server behind TLS adds HSTS itself.
_ALWAYS: Mapping[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
_POLICY = b"content-security-policy"
_DATA = b"default-src 'none'; frame-ancestors 'none'"
#: The page of the documentation has scripts in it.
_PAGES = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
#: Those at `/ui` are compiled in the browser.
_VIEWS = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class TracedRequests:
    """Pure ASGI middleware, around all others: an id, safe headers, a line of the log."""

    def __init__(self, app: ASGIApp, told: Told) -> None:
        self.app = app
        self.told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own, status, began = _id_of(scope), 500, time.perf_counter()
        reset = trace_id.set(own)

        async def traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _headers(message["headers"], own, scope["path"])
            await send(message)

        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await traced(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001  nobody else answers it with an id and headers
            answer = problems.unexpected(scope, error)
            if not begun:
                await answer(scope, receive, traced)
        finally:
            self._tell(scope, status, time.perf_counter() - began)
            trace_id.reset(reset)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        if self.told == "none" or (self.told == "errors" and not _worth_telling(status)):
            return
        fields = {
            "method": scope["method"],
            "route": getattr(scope.get("route"), "path", "none"),
            "status": status,
            "ms": round(seconds * 1e3, 2),
        }
        if key := scope.get("state", {}).get("key"):
            fields["key"] = key
        _log.info("answered", extra={"fields": fields})


def _worth_telling(status: int) -> bool:
    return status >= _FIRST_ERROR and status not in _REFUSED


def _id_of(scope: Scope) -> str:
    name = HEADER.lower().encode()
    for header, value in scope["headers"]:
        if header == name and _GIVEN.fullmatch(value):
            return str(value.decode())
    return token_hex(16)


def _headers(given: list[tuple[bytes, bytes]], own: str, path: str) -> list[tuple[bytes, bytes]]:
    """Those of an answer, and all that it does not say itself."""
    said = {name.lower(): value for name, value in given}
    policy = _PAGES if said.get(b"content-type", b"").startswith(b"text/html") else _DATA
    if path.startswith("/ui/"):
        policy = _VIEWS
    wanted = {**_ALWAYS, _POLICY: policy, HEADER.lower().encode(): own.encode()}
    return [*given, *((name, value) for name, value in wanted.items() if name not in said)]
