"""The header Idempotency-Key over real HTTP: one request, one answer."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from time import sleep, time
from typing import Any

import httpx
import pytest
from planted import START, click

from api.gathering import Gathering
from api.kept import MOST_ANSWER_BYTES
from graphsvc import idempotency
from graphsvc.db import Database
from graphsvc.errors import DatabaseUnavailable
from graphsvc.idempotency import Request

_fresh = itertools.count()
EVENTS = "/v1/events?backfill=true"


@pytest.fixture
def name() -> str:
    return f"name-{next(_fresh)}"


def event(name: str, n: int = 0) -> dict[str, Any]:
    return click("idem", "d1", START, f"{name}-{n}")


def post(http: httpx.Client, name: str, body: Any, path: str = EVENTS) -> httpx.Response:
    return http.post(path, json=body, headers={"Idempotency-Key": name})


def test_a_repetition_gets_the_same_answer(http: httpx.Client, name: str) -> None:
    body = {"events": [event(name)]}
    first, second = post(http, name, body), post(http, name, body)
    assert first.json()["accepted"] == 1  # run again, it would be a duplicate
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert http.post(EVENTS, json=body).json()["duplicate"] == 1


def test_headers_come_again_too(http: httpx.Client, name: str) -> None:
    path = "/v1/retrains"
    first, second = (post(http, name, {"arms": ["none"]}, path) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotent-replayed"] == "true"
    http.post(f"/v1/jobs/{first.json()['job']}/cancel")


def test_refusals_are_answers_as_well(http: httpx.Client, name: str, problem: Any) -> None:
    body = {"head": {"type": "user", "id": "u1"}, "candidates": []}
    problem(post(http, name, body, "/v1/score"), 422)
    again = post(http, name, body, "/v1/score")
    problem(again, 422)
    assert again.headers["idempotent-replayed"] == "true"


def test_puts_have_it_too(http: httpx.Client, name: str) -> None:
    path, headers = "/v1/entities/user/idem", {"Idempotency-Key": name}
    first = http.put(path, json={"attributes": {"age": 1}}, headers=headers)
    assert first.is_success, first.text
    assert http.put(path, json={"attributes": {"age": 2}}).is_success
    again = http.put(path, json={"attributes": {"age": 1}}, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert http.get(path).json()["attributes"]["age"] == 2


@pytest.mark.parametrize("change", ["body", "query", "path", "method"])
def test_the_same_name_for_another_request(
    http: httpx.Client, name: str, problem: Any, change: str
) -> None:
    body, headers = {"events": [event(name)]}, {"Idempotency-Key": name}
    assert post(http, name, body).is_success
    other = {
        "body": lambda: post(http, name, {"events": [event(name, 1)]}),
        "query": lambda: post(http, name, body, "/v1/events"),
        "path": lambda: post(http, name, body, "/v1/score"),
        "method": lambda: http.put(EVENTS, json=body, headers=headers),
    }[change]()
    assert "another request" in problem(other, 422)["detail"]


def test_callers_do_not_share_names(http: httpx.Client, trained: Any, name: str) -> None:
    body = {"events": [event(name)]}
    assert post(http, name, body).json()["accepted"] == 1
    database = Database(trained.settings.graph_url)
    from graphsvc import keys

    with database.transaction() as connection:
        key = keys.create(connection, name="second", now=START)
    database.dispose()
    headers = {"Idempotency-Key": name, "X-API-Key": key}
    with trained.open() as other:
        assert other.post(EVENTS, json=body, headers=headers).json()["duplicate"] == 1
        # Without a valid key nothing is looked up, and nothing kept.
        wrong = headers | {"X-API-Key": "wrong"}
        assert other.post(EVENTS, json=body, headers=wrong).status_code == 401


def test_many_at_once_and_one_runs(http: httpx.Client, trained: Any, name: str) -> None:
    body = {"events": [event(name, n) for n in range(500)]}

    def ask(_n: int) -> httpx.Response:
        with trained.open() as own:
            own.headers.update(http.headers)
            return post(own, name, body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert {answer.json()["accepted"] for answer in done} == {500}
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1
    for answer in answers:
        if answer not in done:
            assert answer.status_code == 409
            assert answer.headers["retry-after"] == "1"
    assert post(http, name, body).content == done[0].content


def test_one_who_died_does_not_block_for_ever(
    http: httpx.Client, trained: Any, name: str, problem: Any, monkeypatch: Any
) -> None:
    """What a server leaves that was killed between reserving and answering: a reservation."""
    body = {"events": [event(name)]}
    kept: list[Request] = []
    real = idempotency.release
    monkeypatch.setattr(idempotency, "keep", lambda _c, request, *_a, **_k: kept.append(request))
    assert post(http, name, body).json()["accepted"] == 1
    monkeypatch.undo()
    answer = post(http, name, body)
    assert "still under way" in problem(answer, 409)["detail"]
    assert answer.headers["retry-after"] == "1"

    now = int(time())
    database = Database(trained.settings.graph_url)
    with database.transaction() as connection:
        for since in range(now - 30, now + 1):
            real(connection, kept[0], since=since)
        reserved = now - idempotency.RESERVED_SECONDS
        idempotency.reserve(connection, kept[0], now=reserved, keep_seconds=60)
    database.dispose()
    assert post(http, name, body).json()["duplicate"] == 1  # what the dead one did holds


def test_a_renewal_that_fails_is_tried_again(
    http: httpx.Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a request runs for long: its commit is lost, and the next one holds."""
    tries: list[bool] = []
    real, ingesting = idempotency.renew, Gathering.append

    def renew(*given: Any, **named: Any) -> bool:
        renewed = real(*given, **named)
        tries.append(renewed)
        if len(tries) == 1:
            raise DatabaseUnavailable("gone before the commit")
        return renewed

    def slowly(*given: Any, **named: Any) -> Any:
        sleep(1.5)
        return ingesting(*given, **named)

    monkeypatch.setattr(idempotency, "renew", renew)
    monkeypatch.setattr(Gathering, "append", slowly)
    monkeypatch.setattr("api.idempotency._RENEWED_SECONDS", 0.4)
    body = {"events": [event(name)]}
    first = post(http, name, body)
    assert first.json()["accepted"] == 1
    assert tries[:2] == [True, True]
    assert post(http, name, body).content == first.content


def test_large_answers_are_not_kept(http: httpx.Client, name: str) -> None:
    """They come whole, as ever; they are only not remembered."""
    candidates = [f"{n:04}" + "\N{GRINNING FACE}" * 252 for n in range(1000)]
    body = {"head": {"type": "user", "id": "u1"}, "candidates": candidates}
    for _ in range(2):
        answer = post(http, name, body, "/v1/score")
        assert len(answer.content) > MOST_ANSWER_BYTES
        assert {item["id"] for item in answer.json()["scores"]} == set(candidates)
        assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("bad", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_names_that_are_none(http: httpx.Client, problem: Any, bad: str) -> None:
    headers = {b"Idempotency-Key": bad.encode("latin-1")}
    answer = http.post(EVENTS, json={"events": [event("bad")]}, headers=headers)
    assert "1 to 255 printable" in problem(answer, 400)["detail"]


def test_the_longest_name_and_two_names(http: httpx.Client, name: str, problem: Any) -> None:
    longest = name.ljust(255, "x")
    assert post(http, longest, {"events": [event(name)]}).is_success
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(http.post(EVENTS, json={"events": [event(name)]}, headers=twice), 400)


def test_too_large_a_body_stays_too_large(
    http: httpx.Client, trained: Any, name: str, problem: Any
) -> None:
    def pieces() -> Any:
        for _ in range(trained.settings.max_body_bytes // 2**20 + 1):
            yield b"x" * 2**20

    problem(http.post(EVENTS, content=pieces(), headers={"Idempotency-Key": name}), 413)


def test_reading_has_no_use_for_it(http: httpx.Client, name: str) -> None:
    answers = [http.get("/v1/graph", headers={"Idempotency-Key": name}) for _ in range(2)]
    assert all("idempotent-replayed" not in answer.headers for answer in answers)
