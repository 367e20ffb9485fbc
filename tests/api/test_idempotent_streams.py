"""Idempotency-Key on a bulk stream: hashed as it goes by, answered again as it was."""

import gzip
import itertools
import os
from collections.abc import Iterator
from time import sleep
from typing import Any

import httpx
import orjson
import pytest
from planted import START, click
from raw_stream import Raw
from running import eventually

from api.kept import MOST_ANSWER_BYTES
from api.routes.bulk import PATH
from graphsvc.db import Database, wait_for_writers

_fresh = itertools.count()


@pytest.fixture
def name() -> str:
    return f"stream-{next(_fresh)}"


def lines_of(name: str, n: int) -> bytes:
    events = [click(f"{name}-u", "d1", START + i, f"{name}-{i}") for i in range(n)]
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


def post(http: httpx.Client, name: str, body: Any, **headers: str) -> httpx.Response:
    headers |= {"Idempotency-Key": name}
    return http.post(PATH, content=body, params={"backfill": "true"}, headers=headers)


def summary_of(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return orjson.loads(answer.content.splitlines()[-1])["summary"]


def replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


def test_a_repetition_gets_the_first_verdicts(http: httpx.Client, name: str) -> None:
    body = lines_of(name, 7000)  # some chunks
    first, again = (post(http, name, body) for _ in range(2))
    assert summary_of(first)["accepted"] == 7000
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    # In other pieces it is the same stream; under no name, or another, it runs again.
    pieces = (body[i : i + 999] for i in range(0, len(body), 999))
    assert post(http, name, pieces).content == first.content
    assert summary_of(post(http, f"{name}-other", body))["duplicate"] == 7000


def test_an_empty_stream_is_one_as_well(http: httpx.Client, name: str, problem: Any) -> None:
    first, again = (post(http, name, b"") for _ in range(2))
    assert again.content == first.content
    assert replayed(again)
    problem(post(http, name, lines_of(name, 1)), 422)


@pytest.mark.parametrize("change", ["more", "less", "query", "path"])
def test_the_same_name_for_another_stream(
    http: httpx.Client, name: str, problem: Any, change: str
) -> None:
    body, headers = lines_of(name, 2), {"Idempotency-Key": name}
    assert summary_of(post(http, name, body))["complete"]
    other = {
        "more": lambda: post(http, name, body + b"\n"),
        "less": lambda: post(http, name, body[:-1]),
        "query": lambda: http.post(PATH, content=body, headers=headers),
        "path": lambda: http.post("/v1/events", content=body, headers=headers),
    }[change]()
    assert "another request" in problem(other, 422)["detail"]


def test_whoever_left_before_the_answer_can_ask_for_it(
    http: httpx.Client, trained: Any, name: str
) -> None:
    """The one case that events' own ids do not cover: what were the verdicts?"""
    first, rest = lines_of(name, 1), b"".join(lines_of(name, 3).splitlines(keepends=True)[1:])
    database = Database(trained.settings.graph_url)
    with Raw(trained, f"Idempotency-Key: {name}") as raw:
        raw.part(first)
        assert raw.line()["status"] == "accepted"
        with database.transaction() as connection:
            wait_for_writers(connection)  # as everybody else does from here on
            raw.part(rest)
            raw.part(b"")
            sleep(0.5)  # the server reads it
            raw.close()
            sleep(0.2)
    database.dispose()
    body = first + rest

    def asked() -> httpx.Response | None:
        answer = post(http, name, body)
        return answer if answer.status_code == 200 else None

    answer = eventually("an answer", asked, seconds=10)
    assert replayed(answer)
    assert summary_of(answer)["accepted"] == 3


def test_a_stream_that_is_under_way(
    http: httpx.Client, trained: Any, name: str, problem: Any
) -> None:
    body = lines_of(name, 2)
    with Raw(trained, f"Idempotency-Key: {name}") as raw:
        raw.part(body)
        assert raw.line()["status"] == "accepted"  # verdicts do not wait for the end
        answer = post(http, name, body)
        assert "still under way" in problem(answer, 409)["detail"]
        raw.part(b"")
        assert [raw.line()["line"], raw.line()["summary"]["accepted"]] == [2, 2]
        assert raw.ended()
    assert replayed(post(http, name, body))


def test_what_was_not_taken_whole_runs_again(
    http: httpx.Client, trained: Any, name: str, problem: Any
) -> None:
    body = lines_of(name, 3)
    with Raw(trained, f"Idempotency-Key: {name}") as raw:
        raw.part(body)
        assert raw.line()["status"] == "accepted"  # and then it breaks
    eventually("a free name", lambda: post(http, name, body).status_code == 200, seconds=10)

    packed = gzip.compress(lines_of(f"{name}-b", 9))
    for status in ("accepted", "duplicate"):
        half = post(http, f"{name}-b", packed[:-8], **{"Content-Encoding": "gzip"})
        assert not summary_of(half)["complete"]
        assert not replayed(half)
        assert summary_of(half)[status] == 9
    whole = [post(http, f"{name}-b", packed, **{"Content-Encoding": "gzip"}) for _ in range(2)]
    assert [summary_of(answer)["duplicate"] for answer in whole] == [9, 9]
    assert replayed(whole[1])


def test_a_refusal_says_nothing_of_the_stream(http: httpx.Client, name: str, problem: Any) -> None:
    for _ in range(2):
        answer = post(http, name, b"", **{"Content-Encoding": "br"})
        problem(answer, 415)
        assert not replayed(answer)
    assert summary_of(post(http, name, lines_of(name, 1)))["accepted"] == 1


def test_answers_that_are_too_large_to_keep(http: httpx.Client, name: str) -> None:
    """It is their size in the database that counts, and these cannot be packed."""
    ids = [os.urandom(96).hex() for _ in range(12_000)]
    body = b"".join(
        orjson.dumps(click(f"{name}-u", "d1", START + i, each)) + b"\n"
        for i, each in enumerate(ids)
    )
    assert sum(map(len, ids)) > 2 * MOST_ANSWER_BYTES
    first, again = (post(http, name, body) for _ in range(2))
    assert (summary_of(first)["accepted"], summary_of(again)["duplicate"]) == (12_000, 12_000)
    assert not replayed(again)


def test_a_repetition_is_as_bounded_as_the_stream(
    http: httpx.Client, trained: Any, name: str, problem: Any
) -> None:
    assert summary_of(post(http, name, lines_of(name, 1)))["complete"]

    def endless() -> Iterator[bytes]:
        for _ in range(trained.settings.max_bulk_bytes // 2**20 + 2):
            yield b" " * 2**20

    problem(post(http, name, endless()), 413)
