"""How large a request may be.

Takes requests, answers 413 to a body that declares, or turns out, to be too large; never keeps one.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

_TITLE = "Content too large"


class BoundedBodies:
    """Pure ASGI middleware: by `Content-Length` before anything is read, else while it is read."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app = app
        self.most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        should = f"the body should be at most {self.most_bytes} bytes; send smaller batches"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most_bytes:
            await problem(413, _TITLE, should)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most_bytes:
                raise HTTPException(413, should)
            return message

        await self.app(scope, counted, send)
