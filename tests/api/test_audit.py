"""Writes beyond ingestion are written down: who, what, what became of it, and of whom by digest."""

from typing import Any

import httpx
import pytest
from running import eventually

from api.scopes import AUDITED, NEEDS
from api.tracing import HEADER

NOBODY = "anna@example.org"


def _rows(http: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    """The newest rows. What became of a request is written when it has been answered."""
    found: list[dict[str, Any]] = []

    def settled() -> bool:
        answer = http.get("/v1/audit", params={"limit": 1000, **asked})
        assert answer.status_code == 200, answer.text
        found[:] = answer.json()["items"]
        return {row["of"] for row in found if row["of"]} >= {
            row["number"] for row in found if not row["of"] and row["actor"] != "command line"
        }

    eventually("every request has an outcome", settled, seconds=10)
    return found


def _newest(http: httpx.Client, count: int) -> list[dict[str, Any]]:
    return _rows(http)[:count]


def test_a_write_has_two_rows(http: httpx.Client, trained) -> None:
    own = "ab" * 16
    ranker = trained.rankers[0]
    asked = {"reason": "try"}
    for headers, status in (({}, 200), ({HEADER: own}, 200)):
        path = f"/v1/artifacts/{ranker}/promote"
        assert http.post(path, json=asked, headers=headers).status_code == status
    became, began = (row for row in _rows(http) if row["trace_id"] == own)
    assert became["of"] == began["number"]
    assert (began["status"], became["status"]) == (None, 200)
    for row in (became, began):
        assert row["actor"] == trained.key.split("_")[1]
        assert row["action"] == "POST /v1/artifacts/{digest}/promote"
        assert row["about"]["digest"] == ranker
        assert row["trace_id"] == own
    assert began["about"] == {"digest": ranker}
    assert became["about"]["reason"] == "try"


def test_what_is_refused_is_written_down_as_well(http: httpx.Client, problem) -> None:
    own = "cd" * 16
    problem(http.post("/v1/jobs/none/cancel", headers={HEADER: own}), 404)
    became, began = (row for row in _rows(http) if row["trace_id"] == own)
    assert (began["action"], became["status"]) == ("POST /v1/jobs/{id}/cancel", 404)
    assert began["about"] == {"id": "(not kept)"}


def test_of_people_and_things_there_is_a_digest(http: httpx.Client) -> None:
    http.delete(f"/v1/entities/film/{NOBODY}")
    http.post(f"/v1/entities/film/{NOBODY}/restore")
    rows = _newest(http, 4)
    assert {row["action"] for row in rows} == {
        "DELETE /v1/entities/{type}/{id}",
        "POST /v1/entities/{type}/{id}/restore",
    }
    assert len({row["about"]["subject"] for row in rows}) == 1, "the same one"
    assert NOBODY not in str(rows)


def test_reading_scoring_and_ingestion_have_no_row(http: httpx.Client) -> None:
    before = _newest(http, 1)
    score = {"head": {"type": "user", "id": "u1"}, "candidates": ["d1"]}
    assert http.post("/v1/score", json=score).status_code == 200
    assert http.post("/v1/events", json={"events": []}).status_code in (200, 422)
    assert http.get("/v1/graph").status_code == 200
    assert _newest(http, 1) == before


def test_what_was_done_is_told_with_what_became_of_it(http: httpx.Client) -> None:
    made = http.post("/v1/keys", json={"name": "a", "scopes": ["score"]}).json()
    job = http.post("/v1/retrains", json={"seed": 77}).json()["job"]
    http.post(f"/v1/jobs/{job}/cancel")
    http.delete(f"/v1/keys/{made['id']}")
    told = {row["action"]: row for row in reversed(_rows(http)) if row["of"]}
    assert told["POST /v1/keys"]["about"]["key"] == made["id"]
    assert told["POST /v1/keys"]["about"]["scopes"] == ["score"]
    assert told["POST /v1/retrains"]["about"]["job"] == job
    assert told["POST /v1/retrains"]["about"]["asked"]["seed"] == 77
    assert told["POST /v1/jobs/{id}/cancel"]["about"] == {"id": job}
    assert told["DELETE /v1/keys/{id}"]["about"] == {"id": made["id"]}
    assert made["key"] not in str(told)


@pytest.mark.parametrize("path", [f"/v1/jobs/{NOBODY}/cancel", "/v1/jobs/anna/cancel"])
def test_a_path_that_may_name_somebody_is_not_kept(http: httpx.Client, path: str) -> None:
    assert http.post(path).status_code in (404, 422)
    rows = _newest(http, 2)
    assert {row["about"]["id"] for row in rows} == {"(not kept)"}
    assert "anna" not in str(_rows(http))


def test_pages(http: httpx.Client) -> None:
    for _ in range(3):
        http.post("/v1/jobs/none/cancel")
    first = http.get("/v1/audit", params={"limit": 2}).json()
    second = http.get("/v1/audit", params={"limit": 2, "cursor": first["next"]}).json()
    numbers = [row["number"] for page in (first, second) for row in page["items"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    assert _rows(http, actor="0" * 16) == []


@pytest.mark.parametrize("trained", ["sqlite"], indirect=True)
def test_all_that_trains_promotes_or_rules_is_in_it(trained) -> None:
    writes = {route for route in NEEDS if route[0] != "GET"}
    assert writes >= AUDITED
    assert writes - AUDITED == {
        ("POST", "/v1/score"),
        ("POST", "/v1/recommend"),
        ("POST", "/v1/neighbors"),
        ("POST", "/v1/events"),
        ("POST", "/v1/events/bulk"),
        ("PUT", "/v1/entities/{type}/{id}"),
    }
    assert trained.key
