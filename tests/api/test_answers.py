"""Answers to score requests are kept a moment later, and joined with what people did."""

import time
from typing import Any

import httpx
import pytest
from planted import click
from running import eventually

from api.answer_log import AnswerLog
from graphsvc import answers
from graphsvc.answers import Answer, Item
from graphsvc.db import Database
from graphsvc.ids import EntityId

U8 = {"type": "user", "id": "u8"}


def score(http: httpx.Client, *, headers: dict[str, str] | None = None, **fields: Any) -> dict:
    body = {"head": {"type": "user", "id": "u6"}, "candidates": ["d1", "d2", "c1"], **fields}
    answer = http.post("/v1/score", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kept(http: httpx.Client, request_id: str) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        answer = http.get(f"/v1/answers/{request_id}")
        return answer.json() if answer.status_code == 200 else None

    return eventually(f"answer {request_id} is kept", ask, seconds=5)


def impression(film: str, **fields: Any) -> dict[str, Any]:
    shown = click("u6", film, int(time.time()), f"shown-{film}-{time.monotonic_ns()}")
    return {**shown, "event_name": "impression", **fields}


def test_an_answer_is_kept_and_joined(http: httpx.Client) -> None:
    given = score(http)
    request = given["request_id"]
    assert len(request) == 32
    first, second, third = (item["id"] for item in given["scores"])
    now = int(time.time())
    events = [
        impression(first, request_id=request, position=0),
        impression(second, request_id=request, position=1),
        click("u6", second, now, f"clicked-{request}"),
    ]
    assert http.post("/v1/events", json={"events": events}).json()["accepted"] == 3
    found = kept(http, request)
    assert found["head"] == {"type": "user", "id": "u6"}
    assert (found["tail_type"], found["state"]) == ("film", "learned")
    for part in ("bundle", "index", "ranker"):
        assert found[part] == given[part]
    assert [(i["id"], i["position"], i["score"]) for i in found["items"]] == [
        (s["id"], n, pytest.approx(s["score"])) for n, s in enumerate(given["scores"])
    ]
    by_id = {item["id"]: item for item in found["items"]}
    assert by_id[second]["click"] == "positive"
    assert by_id[second]["click_time"] == now
    assert by_id[first]["click"] == "censored", "its half hour is not over"
    assert (by_id[third]["click"], by_id[third]["impression_time"]) == ("censored", None)


def test_the_caller_may_name_the_request(http: httpx.Client, problem) -> None:
    own = f"mine-{time.monotonic_ns()}"
    assert score(http, request_id=own)["request_id"] == own
    assert kept(http, own)["request_id"] == own
    assert score(http, headers={"X-Request-Id": f"{own}-2"})["request_id"] == f"{own}-2"
    both = score(http, request_id=f"{own}-3", headers={"X-Request-Id": "other"})
    assert both["request_id"] == f"{own}-3"
    body = {"head": {"type": "user", "id": "u6"}, "candidates": ["d1"], "request_id": "a b"}
    problem(http.post("/v1/score", json=body), 422)
    problem(http.get("/v1/answers/nobody-asked"), 404)


def test_answers_come_in_pages(http: httpx.Client, problem) -> None:
    named = {score(http)["request_id"] for _ in range(5)}
    for request in named:
        kept(http, request)
    seen, cursor = [], {}
    while True:
        page = http.get("/v1/answers", params={"limit": 2, **cursor}).json()
        assert len(page["items"]) <= 2
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    asked = [one["asked_at"] for one in seen]
    assert asked == sorted(asked, reverse=True)
    requests = [one["request_id"] for one in seen]
    assert len(requests) == len(set(requests))
    assert named <= set(requests)
    problem(http.get("/v1/answers", params={"cursor": "%%%"}), 422)


def every_page(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    while True:
        page = http.get("/v1/answers", params=query)
        assert page.status_code == 200, page.text
        seen += page.json()["items"]
        if page.json()["next"] is None:
            return seen
        query["cursor"] = page.json()["next"]


def test_a_list_says_of_each_answer_what_it_says_by_itself(http: httpx.Client) -> None:
    since, requests = int(time.time()), []
    for _ in range(4):
        given = score(http, head={"type": "user", "id": "u8"})
        requests.append(given["request_id"])
        first = given["scores"][0]["id"]
        shown = {**impression(first, request_id=given["request_id"], position=3), "actor": U8}
        clicked = click("u8", first, int(time.time()), f"click-{given['request_id']}")
        sent = {"events": [{**shown, "sampling_rate": 0.5}, clicked]}
        assert http.post("/v1/events", json=sent).json()["accepted"] == 2
    alone = {request: kept(http, request) for request in requests}
    of_u8 = {"head_type": "user", "head_id": "u8", "since": since}
    found = every_page(http, limit=3, order="oldest", **of_u8)
    assert sorted(one["request_id"] for one in found) == sorted(requests)
    assert found == sorted(found, key=lambda one: (one["asked_at"], one["request_id"]))
    assert {one["request_id"]: one for one in found} == alone
    item = found[-1]["items"][0]
    assert (item["shown_position"], item["sampling_rate"]) == (3, 0.5)
    newest = every_page(http, limit=3, **of_u8)
    assert [one["asked_at"] for one in newest] == [one["asked_at"] for one in found][::-1]
    assert every_page(http, until=since, **of_u8) == []
    assert every_page(http, **{**of_u8, "head_id": "nobody"}) == []


def test_the_windows_are_the_callers(http: httpx.Client) -> None:
    given = score(http, head={"type": "user", "id": "u9"}, candidates=["d1"])
    request, now = given["request_id"], int(time.time())
    shown = {**impression("d1", request_id=request), "actor": {"type": "user", "id": "u9"}}
    events = [{**shown, "event_time": now - 120}, click("u9", "d1", now - 50, f"c-{request}")]
    assert http.post("/v1/events", json={"events": events}).json()["accepted"] == 2
    kept(http, request)

    def asked(**query: Any) -> tuple[str, str]:
        (one,) = every_page(http, head_type="user", head_id="u9", **query)
        alone = http.get(f"/v1/answers/{request}", params=query).json()
        assert alone == one
        return one["items"][0]["click"], one["items"][0]["conversion"]

    assert asked() == ("positive", "censored")
    assert asked(click_minutes=1) == ("negative", "censored")
    assert asked(click_minutes=1, settle_seconds=3600) == ("censored", "censored")
    assert asked(conversion_days=1 / 1440) == ("positive", "negative")
    assert asked(conversions=["click"]) == ("positive", "positive")
    assert asked(conversions=["click"], conversion_days=1 / 1440) == ("positive", "negative")


@pytest.mark.parametrize("path", ["/v1/answers", "/v1/answers/one"])
def test_a_conversion_that_is_no_relation_is_named(http: httpx.Client, problem, path: str) -> None:
    told = problem(http.get(path, params={"conversions": ["click", "clikc"]}), 422)
    (error,) = told["errors"]
    assert error["field"] == "query.conversions"
    assert error["value"] == "clikc"
    assert error["expected"] == "one of click; did you mean click?"
    for name in ("genre", "impression"):  # of films; no relation
        assert name in problem(http.get(path, params={"conversions": name}), 422)["detail"]


@pytest.mark.parametrize(
    "query", [{"head_type": "user"}, {"head_id": "u1"}, {"head_type": "usr", "head_id": "u1"}]
)
def test_half_a_head_or_one_of_no_type_is_refused(http: httpx.Client, problem, query) -> None:
    assert "head_type" in problem(http.get("/v1/answers", params=query), 422)["detail"]


def test_what_was_written_is_counted(http: httpx.Client) -> None:
    kept(http, score(http)["request_id"])
    counted = {
        line.partition(" ")[0]: float(line.rpartition(" ")[2])
        for line in http.get("/metrics").text.splitlines()
        if line.startswith("graphsvc_answers_total")
    }
    assert counted['graphsvc_answers_total{record="written"}'] >= 1
    assert counted['graphsvc_answers_total{record="dropped"}'] == 0


def answer(request_id: str, asked_at: int) -> Answer:
    return Answer(
        request_id=request_id,
        asked_at=asked_at,
        head=EntityId("user", "u1"),
        tail_type="film",
        state="learned",
        bundle="b" * 64,
        index="1" * 64,
        ranker="c" * 64,
        items=[Item("d1", 0.5)],
    )


def count(database: Database) -> int:
    with database.reading() as connection:
        return len(answers.page(connection, limit=5000).items)


def test_stopping_writes_what_waits(database: Database) -> None:
    log = AnswerLog(database)
    log.start()
    for n in range(7):
        log.put(answer(f"r{n}", int(time.time())))
    log.stop()
    assert count(database) == 7


def test_a_full_queue_drops_and_counts(database: Database) -> None:
    written: list[int] = []
    dropped: list[int] = []
    log = AnswerLog(database, on_written=written.append, on_dropped=dropped.append)
    for n in range(2003):
        log.put(answer(f"r{n}", 1000))
    assert len(dropped) == 3
    assert log.flush() == 2000
    assert sum(written) == 2000
    assert count(database) == 2000


def test_without_a_database_answers_are_dropped_and_counted(tmp_path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/graph.sqlite")
    dropped: list[int] = []
    log = AnswerLog(database, on_dropped=dropped.append)
    log.put(answer("r", 1000))
    assert log.flush() == 0
    assert dropped == [1]
    database.dispose()
