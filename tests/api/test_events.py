"""POST /v1/events: a verdict per event, and clear refusals of what is no batch."""

import gzip
from time import time

import httpx
import pytest
from planted import START, click


def post(http: httpx.Client, events: list, *, backfill: bool = True) -> dict:
    answer = http.post("/v1/events", params={"backfill": backfill}, json={"events": events})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_one_bad_event_leaves_its_neighbors_alone(http: httpx.Client) -> None:
    bad = click("eve", "d1", START, "bad-1") | {"actor": {"type": "film", "id": "d2"}}
    found = post(http, [click("eve", "d1", START, "ok-1"), bad, click("eve", "d2", START, "ok-2")])
    assert [v["status"] for v in found["verdicts"]] == ["accepted", "rejected", "accepted"]
    assert (found["accepted"], found["duplicate"], found["rejected"]) == (2, 0, 1)
    rejected = found["verdicts"][1]
    assert rejected["event_id"] == "bad-1"
    assert rejected["field"] == "actor.type"
    assert "user" in rejected["message"], "says what was expected"
    edges = http.get("/v1/entities/user/eve/edges").json()["items"]
    assert sorted(edge["other"]["id"] for edge in edges) == ["d1", "d2"]


def test_posting_again_is_harmless(http: httpx.Client) -> None:
    event = click("dora", "d1", START, "twice")
    assert post(http, [event, event])["duplicate"] == 1
    assert post(http, [event])["duplicate"] == 1
    (edge,) = http.get("/v1/entities/user/dora/edges").json()["items"]
    assert edge["count"] == 1


def test_the_same_id_with_other_content_is_a_conflict(http: httpx.Client) -> None:
    event = click("paul", "d1", START, "contested")
    found = post(http, [event, event | {"event_time": START + 1}, event])
    assert [v["status"] for v in found["verdicts"]] == ["accepted", "conflict", "duplicate"]
    assert (found["accepted"], found["conflict"], found["duplicate"]) == (1, 1, 1)
    conflict = found["verdicts"][1]
    assert (conflict["field"], conflict["value"]) == ("event_id", "contested")
    assert "other content" in conflict["message"]


def test_late_events_are_taken_as_a_backfill_only(http: httpx.Client) -> None:
    now = int(time())
    late = click("late", "d1", now - 7 * 86_400 - 60, "late-1")
    fresh = click("late", "d2", now - 7 * 86_400 + 60, "late-2")
    found = post(http, [late, fresh], backfill=False)
    assert [v["status"] for v in found["verdicts"]] == ["rejected", "accepted"]
    assert (found["verdicts"][0]["code"], found["verdicts"][0]["field"]) == ("late", "event_time")
    assert "604800 seconds" in found["verdicts"][0]["message"]
    assert post(http, [late])["accepted"] == 1
    ahead = click("late", "d3", now + 3600, "ahead")
    assert post(http, [ahead])["verdicts"][0]["code"] == "future"


def test_what_was_accepted_needs_no_words(http: httpx.Client) -> None:
    (verdict,) = post(http, [click("terse", "d1", START, "terse")])["verdicts"]
    assert verdict == {"event_id": "terse", "status": "accepted"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "JSON"),
        (b"[]", '"events"'),
        (b'{"events": []}', "1 to 1000"),
        (b'{"events": {}}', "1 to 1000"),
        (b'{"events": [], "more": 1}', '"events"'),
        (b"\xff\xfe", "JSON"),
        (b"", "JSON"),
        (b'{"events": [' + b"{}," * 1000 + b"{}]}", "1001"),
        (gzip.compress(b'{"events": []}', mtime=0), "JSON"),
    ],
)
def test_what_is_no_batch_is_refused(http: httpx.Client, problem, body: bytes, says: str) -> None:
    refused = problem(http.post("/v1/events", content=body), 422)
    assert says in refused["detail"]


def test_events_of_any_shape_get_a_verdict(http: httpx.Client) -> None:
    odd = [None, 7, "text", [], {}, {"event_id": 1}, click("u1", "d1", -5, "negative")]
    found = post(http, odd)
    assert [v["status"] for v in found["verdicts"]] == ["rejected"] * len(odd)
    assert all(v["field"] is not None and v["message"] for v in found["verdicts"])


def test_a_body_beyond_the_bound_is_refused(http: httpx.Client, trained, problem) -> None:
    bound = trained.settings.max_body_bytes
    refused = problem(http.post("/v1/events", content=b" " * (bound + 1)), 413)
    assert str(bound) in refused["detail"]

    def chunks():
        for _ in range(bound // 65536 + 2):
            yield b" " * 65536

    problem(http.post("/v1/events", content=chunks()), 413)


def test_verdicts_are_counted(http: httpx.Client) -> None:
    def accepted() -> float:
        lines = http.get("/metrics").text.splitlines()
        wanted = 'graphsvc_events_total{verdict="accepted"} '
        return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    before = accepted()
    post(http, [click("maria", "d1", START, "counted-1"), click("maria", "d2", START, "counted-2")])
    assert accepted() == before + 2
