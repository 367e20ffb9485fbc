"""What is too large is refused with what would have been small enough, at the very byte."""

import gzip
from typing import Any

import httpx
import orjson
import pytest
from planted import START, click

from api.bounds import MOST_ADDRESS_BYTES, MOST_HEADER_BYTES
from api.routes.events import MOST_EVENTS
from graphsvc.events import MAX_PROPERTIES_DEPTH

pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


def test_the_body_to_the_byte(http: httpx.Client, trained: Any, problem: Any) -> None:
    most = trained.settings.max_body_bytes
    body = orjson.dumps({"events": [click("bounds", "d1", START, "bounds-0")]})
    fits = body + b" " * (most - len(body))
    assert http.post("/v1/events?backfill=true", content=fits).status_code == 200
    assert str(most) in problem(http.post("/v1/events", content=fits + b" "), 413)["detail"]

    def unsized() -> Any:
        yield fits
        yield b" "

    problem(http.post("/v1/events", content=unsized()), 413)


def test_the_number_of_events(http: httpx.Client, problem: Any) -> None:
    events = [click("bounds", "d1", START, f"many-{n}") for n in range(MOST_EVENTS + 1)]
    path = "/v1/events?backfill=true"
    assert http.post(path, json={"events": events[:-1]}).json()["accepted"] == MOST_EVENTS
    says = problem(http.post(path, json={"events": events}), 422)["detail"]
    assert f"1 to {MOST_EVENTS} events, received {MOST_EVENTS + 1}" in says
    problem(http.post(path, json={"events": []}), 422)


def test_the_depth_of_properties(http: httpx.Client) -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}

    events = [
        click("bounds", "d1", START, f"deep-{depth}") | {"properties": nested(depth)}
        for depth in (MAX_PROPERTIES_DEPTH, MAX_PROPERTIES_DEPTH + 1)
    ]
    fits, over = http.post("/v1/events?backfill=true", json={"events": events}).json()["verdicts"]
    assert fits["status"] == "accepted"
    assert (over["status"], over["code"]) == ("rejected", "too_large")
    assert f"at most {MAX_PROPERTIES_DEPTH} deep" in over["message"]


def test_the_depth_of_a_body(http: httpx.Client, problem: Any) -> None:
    deep = b"[" * 200_000
    problem(http.post("/v1/events", content=deep), 422)
    line = deep + b"]" * len(deep)
    answer = http.post("/v1/events/bulk", content=line[:250_000])
    assert orjson.loads(answer.content.splitlines()[0])["status"] == "rejected"


def test_a_packed_body_is_told_how_to_be_sent(http: httpx.Client, problem: Any) -> None:
    packed = gzip.compress(orjson.dumps({"events": [click("packed", "d1", START, "packed-0")]}))
    for path in ("/v1/events", "/v1/score", "/v1/retrains"):
        for more in ({}, {"Content-Encoding": "gzip"}, {"Idempotency-Key": f"packed{path}"}):
            headers = {"Content-Type": "application/json", **more}
            refused = problem(http.post(path, content=packed, headers=headers), 422)
            assert "begins with 1f 8b" in refused["detail"]
            assert "Content-Encoding: gzip" in refused["detail"]
        by_bytes = (packed[at : at + 1] for at in range(len(packed)))
        assert "1f 8b" in problem(http.post(path, content=by_bytes, headers=headers), 422)["detail"]


def test_the_address_and_the_headers(http: httpx.Client, problem: Any) -> None:
    path = "/v1/jobs"
    room = MOST_ADDRESS_BYTES - len(path) - len("x=")
    assert "query.x" in problem(http.get(f"{path}?x={'y' * room}"), 422)["detail"], "it was read"
    assert (
        str(MOST_ADDRESS_BYTES) in problem(http.get(f"{path}?x={'y' * (room + 1)}"), 414)["detail"]
    )

    request = http.build_request("GET", path, headers={"X-Filler": ""})
    taken = sum(len(name) + len(value) for name, value in request.headers.raw)
    fill = "y" * (MOST_HEADER_BYTES - taken)
    assert http.get(path, headers={"X-Filler": fill}).status_code == 200
    problem(http.get(path, headers={"X-Filler": fill + "y"}), 431)
