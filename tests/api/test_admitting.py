"""What a server has under way is bounded: by hand, with an app that waits until it is told."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from api.admitting import AdmittedRequests
from graphsvc.keys import Caller

MIB = 1 << 20
#: Keys that were verified a moment ago, by what is presented.
KNOWN = {key: Caller(f"id of {key}", frozenset({"score"}), None) for key in "abcd"}
APP = SimpleNamespace(
    state=SimpleNamespace(services=SimpleNamespace(known_keys=SimpleNamespace(recall=KNOWN.get)))
)


GIVEN: dict[str, Any] = {"most": 4, "most_mib": 1, "streams": frozenset({"/v1/events/bulk"})}


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
        "app": APP,
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
        await work(AdmittedRequests(held, **GIVEN | bounds), held)

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
        with pytest.raises(HTTPException, match="the bodies that this server reads") as refused:
            await _ask(app, "b", bytes(5), bytes(6))
        assert refused.value.status_code == 503
        assert app.bytes == MIB - 10, "what was read of it is let go"
        tasks += await _begin(held, [_ask(app, "b", bytes(10)), _ask(app, "c")])
        held.go_on.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200, 200, 200]
        assert app.bytes == 0

    _run(work)


def test_a_stream_of_any_length_passes() -> None:
    async def work(app: AdmittedRequests, held: Held) -> None:
        held.go_on.set()
        parts = [bytes(MIB)] * 3
        assert (await _ask(app, "a", *parts, path="/v1/events/bulk"))[0] == 200
        with pytest.raises(HTTPException):
            await _ask(app, "a", *parts)

    _run(work)


def test_whoever_has_no_key_is_one_caller_by_address() -> None:
    """However many keys they make up."""

    async def work(app: AdmittedRequests, held: Held) -> None:
        tasks = await _begin(held, [_ask(app, "made up"), _ask(app, "")])
        assert (await _ask(app, "another"))[0] == 503
        assert dict(app.of) == {"address 10.0.0.1": 2}
        tasks += await _begin(held, [_ask(app, "a")])
        assert app.of["key id of a"] == 1
        held.go_on.set()
        await asyncio.gather(*tasks)

    _run(work)


def test_a_body_that_does_not_come_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.admitting.BODY_SECONDS", 0.05)

    async def work(app: AdmittedRequests, _held: Held) -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        scope = {"type": "http", "path": "/v1/score", "headers": [], "app": APP}
        with pytest.raises(HTTPException, match=r"should be there within 0\.05 s") as refused:
            await app(scope, never, never)
        assert refused.value.status_code == 408
        assert app.under_way == 0

    _run(work)
