"""What a server has under way is bounded: by hand, with an app that waits until it is told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from api.admitting import AdmittedRequests

MIB = 1 << 20


class Held:
    """An app whose requests read their bodies, say so, and wait."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.came: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        self.came.put_nowait(None)
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def _ask(app: Any, key: str, *bodies: bytes, path: str = "/v1/score") -> tuple[int, dict]:
    scope = {
        "type": "http",
        "path": path,
        "method": "POST",
        "headers": [(b"x-api-key", key.encode())] if key else [],
        "client": ("10.0.0.1", 1),
    }
    waiting = [{"type": "http.request", "body": b, "more_body": True} for b in bodies]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    told: list[dict[str, Any]] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    await app(scope, receive, send)
    return told[0]["status"], dict(told[0]["headers"])


def _run(work: Callable[[AdmittedRequests, Held], Any], **bounds: int) -> None:
    async def main() -> None:
        held = Held()
        await work(AdmittedRequests(held, **{"most": 4, "most_mib": 1} | bounds), held)

    asyncio.run(main())


async def _begin(held: Held, asked: list[Any]) -> list[asyncio.Task]:
    """Let requests come as far as they come before they wait."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    for _ in tasks:
        await held.came.get()
    return tasks


def test_one_caller_leaves_room_for_others() -> None:
    async def work(app: AdmittedRequests, held: Held) -> None:
        tasks = await _begin(held, [_ask(app, "a"), _ask(app, "a")])
        status, headers = await _ask(app, "a")
        assert (status, headers[b"retry-after"]) == (503, b"1")
        tasks += await _begin(held, [_ask(app, "b"), _ask(app, "")])
        assert (await _ask(app, "c"))[0] == 503, "all places are taken"
        held.go_on.set()
        assert (await _ask(app, "", path="/health/live"))[0] == 200
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200] * 4
        assert (app.under_way, app.bytes, dict(app.of)) == (0, 0, {})
        assert (await _ask(app, "a"))[0] == 200, "there is room again"

    _run(work)


def test_whether_it_is_up_is_told_in_any_case() -> None:
    async def work(app: AdmittedRequests, held: Held) -> None:
        tasks = await _begin(held, [_ask(app, key) for key in "abcd"])
        tasks += await _begin(held, [_ask(app, "", path="/health/ready")])
        held.go_on.set()
        assert (await tasks[-1])[0] == 200
        await asyncio.gather(*tasks)

    _run(work)


def test_bodies_are_bounded_together() -> None:
    async def work(app: AdmittedRequests, held: Held) -> None:
        tasks = await _begin(held, [_ask(app, "a", bytes(MIB - 10))])
        with pytest.raises(HTTPException, match="bodies of other requests") as refused:
            await _ask(app, "b", bytes(5), bytes(6))
        assert refused.value.status_code == 503
        assert app.bytes == MIB - 10, "what was read of it is let go"
        tasks += [asyncio.ensure_future(_ask(app, "b", bytes(10)))]
        held.go_on.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200, 200]
        assert app.bytes == 0

    _run(work)


def test_a_caller_is_no_key() -> None:
    async def work(app: AdmittedRequests, held: Held) -> None:
        tasks = await _begin(held, [_ask(app, "gs_secret")])
        assert b"gs_secret" not in str(dict(app.of)).encode()
        held.go_on.set()
        await asyncio.gather(*tasks)

    _run(work)
