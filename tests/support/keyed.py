"""Requests with an Idempotency-Key, repeated later: what was answered once is answered again.

Takes a life, posts events under a key of their own, by batch or by stream, or repeats an earlier
such request, however many kills, retrains and opt-outs lie between.
"""

import json
import time
from typing import Any, NamedTuple

import httpx
from model import Life, verdicts_of


class Keyed(NamedTuple):
    """A request under a key, and what was answered."""

    path: str
    body: bytes
    key: str
    answer: bytes


def keyed(alive: Life) -> None:
    """Half of the time something new, and asked for again at once; else something earlier."""
    if alive.keyed and alive.chance.random() < 0.5:
        _repeat(alive, alive.chance.choice(alive.keyed))
        return
    events = alive.world.batch(int(time.time()), alive.chance.randint(1, 20))
    streamed = alive.chance.random() < 0.5
    alive.note("keyed", events=events, streamed=streamed)
    expected = alive.oracle.post(events, now=int(time.time()))
    if streamed:
        path, body = "/v1/events/bulk", "".join(f"{json.dumps(event)}\n" for event in events)
    else:
        path, body = "/v1/events", json.dumps({"events": events})
    key = f"key-{alive.summary.operations}"
    answer = _send(alive, path, body.encode(), key)
    assert answer.status_code == 200, answer.text
    assert "idempotent-replayed" not in answer.headers
    alive.compare(events, verdicts_of(_told(answer, streamed=streamed)), expected)
    alive.keyed.append(Keyed(path, body.encode(), key, answer.content))
    _repeat(alive, alive.keyed[-1])


def _repeat(alive: Life, request: Keyed) -> None:
    alive.note("repeat", key=request.key)
    again = _send(alive, request.path, request.body, request.key)
    assert (again.status_code, again.content) == (200, request.answer), again.text
    assert again.headers["idempotent-replayed"] == "true"
    other = _send(alive, request.path, request.body + b"\n", request.key)
    assert other.status_code == 422, other.text


def _send(alive: Life, path: str, body: bytes, key: str) -> httpx.Response:
    return alive.http.post(path, content=body, headers={"Idempotency-Key": key})


def _told(answer: httpx.Response, *, streamed: bool) -> Any:
    if not streamed:
        return answer.json()
    *verdicts, last = [json.loads(line) for line in answer.content.splitlines()]
    assert last["summary"]["complete"], last
    return {"verdicts": verdicts}
