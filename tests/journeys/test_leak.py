"""A graph that holds the clicks that rankers train on: a retrain says so, and goes no further."""

from pathlib import Path
from typing import Any

import httpx
from planted import FILMS, USERS, planted_events
from running import eventually, post_all, service, wait_job

from graphsvc.schema import load_schema, to_document

LEAK = "liked_by"
#: Clicks of the last quarter: by any cut of the default shares, rankers are to guess them.
SHARE = 4


def test_a_retrain_on_its_own_answers_is_refused_and_its_report_says_so(
    database_url: str, tmp_path: Path
) -> None:
    events = planted_events()
    clicks = [event for event in events if event["event_name"] == "click"]
    clicks.sort(key=lambda event: event["event_time"])
    stolen = clicks[-len(clicks) // SHARE :]
    pairs = {(event["actor"]["id"], event["object"]["id"]) for event in stolen}
    assert len(pairs) == len(stolen)
    assert len(stolen) > USERS + FILMS
    with service(tmp_path, database_url) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            _declare(http)
            post_all(http, events)
            post_all(http, [_fact(number, event) for number, event in enumerate(stolen)])

            refused = _ended(http, {"arms": ["none"]})
            assert refused["state"] == "failed"
            assert refused["error"].startswith("check: ")
            assert f"{LEAK}: {len(stolen)} of {len(stolen)} edges (100.0%)" in refused["error"]
            assert http.get("/v1/artifacts", params={"kind": "ranker"}).json()["items"] == []

            asked = http.post("/v1/retrains", json={"arms": ["none"], "allow_leaks": True}).json()
            report = wait_job(http, asked["job"])["result"]["report"]
            rows = http.get(f"/v1/artifacts/{report}").json()["payload"]["rows"]
            told = {(row["metric"], row["model"]): row["value"] for row in rows}
            assert told["leaked_edges", LEAK] == len(stolen)
            assert told["leaked_share", LEAK] == 1.0
            assert told["leaked_edges", "click"] == 0
            assert told["leaked_edges", "all"] == len(stolen)


def _declare(http: httpx.Client) -> None:
    """A fact about films that somebody derives from what people clicked."""
    document = to_document(load_schema("film"))
    document["relations"][LEAK] = {"head": "film", "tail": "user", "source": "structure"}
    answer = http.put("/v1/schema", json=document)
    assert answer.status_code == 200, answer.text


def _fact(number: int, click: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": f"{LEAK}-{number}",
        "event_name": LEAK,
        "event_time": click["event_time"],
        "action_source": "structure",
        "actor": click["object"],
        "object": click["actor"],
    }


def _ended(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    job = http.post("/v1/retrains", json=body).json()["job"]

    def over() -> dict[str, Any] | None:
        found = http.get(f"/v1/jobs/{job}").json()
        return found if found["state"] in ("done", "failed") else None

    return eventually("the retrain is over", over, seconds=60)
