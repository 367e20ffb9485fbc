"""The door of the page: who has no session is sent to sign in, with a key.

Takes requests under `/ui`, lets them pass, or answers 303, 401 or 403; never puts a key or an id of
a person into an address or a log.
"""

from http.cookies import CookieError, SimpleCookie
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import caller_of
from api.deps import Services
from api.errors import TooMany
from api.ui import plain
from api.ui.sessions import Sessions

ROOT, LOGIN, LOGOUT = "/ui", "/ui/login", "/ui/logout"
COOKIE = "graphsvc_session"
_MOST_BYTES = 1024
_TOO_MANY = 429
#: What websockets are closed with: there is no session, or it is asked from elsewhere.
_NO_SESSION, _ELSEWHERE = 4401, 4403


class Entrance:
    """Pure ASGI middleware in front of the page."""

    def __init__(self, app: ASGIApp, sessions: Sessions, origin: str) -> None:
        self.app = app
        self.sessions = sessions
        self.origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        guarded = path == ROOT or path.startswith(f"{ROOT}/")
        if scope["type"] not in ("http", "websocket") or not guarded:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _from_here(headers, self.origin):
            await _refuse(scope, receive, send, _ELSEWHERE)
            return
        scope.setdefault("state", {})["session"] = self.sessions.find(token_of(headers))
        if path in (LOGIN, LOGOUT) or scope["state"]["session"]:
            await self.app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, _NO_SESSION)


def token_of(headers: Headers) -> str:
    """The token that a browser sent; "" where it has none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def router(sessions: Sessions, origin: str) -> APIRouter:
    """The routes of signing in and out; `origin`: of a proxy in front, or empty."""
    made = APIRouter(include_in_schema=False)

    @made.get(LOGIN)
    async def form() -> Response:
        return HTMLResponse(plain.sign_in())

    @made.post(LOGIN)
    async def sign_in(request: Request) -> Response:
        wrong, status, key = await _key_of(request)
        if wrong:
            headers = {"Retry-After": "1"} if status == _TOO_MANY else {}
            return HTMLResponse(plain.sign_in(wrong), status_code=status, headers=headers)
        answer = RedirectResponse(ROOT + "/", status_code=303)
        # There is no TLS of ours: whether there is any is known of the proxy alone.
        secure = origin.startswith("https:")
        how: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": secure}
        answer.set_cookie(COOKIE, sessions.begin(key), path=ROOT, **how)
        return answer

    @made.post(LOGOUT)
    async def sign_out(request: Request) -> Response:
        sessions.end(token_of(request.headers))
        answer = RedirectResponse(LOGIN, status_code=303)
        answer.delete_cookie(COOKIE, path=ROOT)
        return answer

    return made


async def _key_of(request: Request) -> tuple[str, int, str]:
    """Why nobody is let in, and as which status; or the id of the key that was sent."""
    services: Services = request.app.state.services
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return "That is no key.", 413, ""
    presented = parse_qs(body.decode(errors="replace")).get("key", [""])[0].strip()
    try:
        address = request.client.host if request.client else ""
        caller = await caller_of(services, presented, address)
    except TooMany as error:
        return str(error), _TOO_MANY, ""
    if caller is None:
        return "That key is not valid.", 401, ""
    if caller.expired(time()):
        return "That key has expired.", 401, ""
    if not caller.may("read"):
        return "That key lacks the scope read, without which there is nothing to show.", 403, ""
    services.known_keys.used(caller.id)
    return "", 0, caller.id


def _from_here(headers: Headers, ours: str) -> bool:
    """Whether a browser sends this from one of our own pages; only browsers say where from."""
    origin = headers.get("origin")
    if origin is None or (ours and origin == ours):
        return True
    return urlsplit(origin).netloc == headers.get("host", "")


async def _refuse(scope: Scope, receive: Receive, send: Send, why: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": why})
        return
    answer: Response
    if why == _ELSEWHERE:
        answer = PlainTextResponse("asked from another site", status_code=403)
    elif scope["method"] == "GET" and not scope["path"].startswith(f"{ROOT}/_nicegui"):
        answer = RedirectResponse(LOGIN, status_code=303)
    else:
        answer = PlainTextResponse("sign in first", status_code=401)
    await answer(scope, receive, send)
