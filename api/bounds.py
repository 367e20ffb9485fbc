"""How large a request may be: its address, its headers, its body.

Takes requests, answers 413, 414 or 431 to one that declares, or turns out, to be too large, and 422
to a body that is packed; never keeps one. A body that is a stream is bounded, and unpacked, by the
route that reads it.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

#: Longest path and query together, in bytes.
MOST_ADDRESS_BYTES = 16 * 1024
#: How gzip begins. JSON never does.
_GZIP = b"\x1f\x8b"
_PACKED = (
    "the body should be plain JSON, and this one is gzip (it begins with 1f 8b): send it unpacked, "
    "or events as lines to POST /v1/events/bulk, which takes gzip with the header "
    "Content-Encoding: gzip"
)
#: All names and values of the headers together, in bytes.
MOST_HEADER_BYTES = 32 * 1024


class BoundedRequests:
    """Pure ASGI middleware: by `Content-Length` before anything is read, else while it is read."""

    def __init__(
        self, app: ASGIApp, most_bytes: int, streams: frozenset[str] = frozenset()
    ) -> None:
        self.app = app
        self.most_bytes = most_bytes
        #: Paths whose bodies are not bounded here.
        self.streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if wrong := _head_too_large(scope):
            status, title, should = wrong
            await problem(status, title, should)(scope, receive, send)
            return
        if scope["path"] in self.streams:
            await self.app(scope, receive, send)
            return
        should = f"the body should be at most {self.most_bytes} bytes; send smaller batches"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most_bytes:
            await problem(413, "Content too large", should)(scope, receive, send)
            return
        read, begun = 0, b""

        async def counted() -> Message:
            nonlocal read, begun
            message = await receive()
            body = message.get("body", b"")
            read += len(body)
            if len(begun) < len(_GZIP):
                begun += body[: len(_GZIP)]
                if begun.startswith(_GZIP):
                    raise HTTPException(422, _PACKED)
            if read > self.most_bytes:
                raise HTTPException(413, should)
            return message

        await self.app(scope, counted, send)


def _head_too_large(scope: Scope) -> tuple[int, str, str] | None:
    address = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    if address > MOST_ADDRESS_BYTES:
        should = f"path and query should be at most {MOST_ADDRESS_BYTES} bytes, received {address}"
        return 414, "Address too long", should
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers > MOST_HEADER_BYTES:
        should = f"the headers should be at most {MOST_HEADER_BYTES} bytes, received {headers}"
        return 431, "Headers too large", should
    return None
