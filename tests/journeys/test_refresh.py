"""A refresh over HTTP, through the real queue: the ranker stays, its bundle is a newer one."""

from pathlib import Path
from typing import Any

import httpx
from hanging_worker import HangingWorkers
from planted import planted_events
from retraining import ask, later_events
from running import Service, eventually, post_all, service, wait_job


def test_a_refresh_keeps_the_ranker_and_its_frame(tmp_path: Path) -> None:
    dials = {"GRAPHSVC_TRANSRA__EPOCHS": "6", "GRAPHSVC_FORWARD": "onnx"}
    with service(tmp_path, **dials) as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())
            refused = http.post("/v1/retrains", json={"refresh": True})
            assert (refused.status_code, refused.json()["title"]) == (409, "Nothing is live yet")
            assert "refresh should be false as long as nothing is live" in refused.json()["detail"]
            workers.start()
            first = wait_job(http, ask(http, arms=["frozen"]))["result"]
            workers.kill()

            post_all(http, later_events())
            job = ask(http, refresh=True)
            workers.start("frame")
            assert steps_of(http, job)[:4] == ["moment", "snapshot", "check", "embed"]
            workers.kill()
            workers.start()
            done = wait_job(http, job)
            later = ["frame", "index", "map", "judge", "gate", "export", "promote"]
            assert steps_of(http, job)[4:] == later
            second = done["result"]
            check_lineage(http, first, second)
            trio = second["bundle"], second["index"], first["rankers"]["frozen"]
            scored = eventually("it is served", lambda: ask_score(http, trio), seconds=10)
            assert [item["id"] for item in scored["scores"]] == ["c1", "d1"]

            workers.kill()
            check_loss(running, workers, http, trio)


def check_lineage(http: httpx.Client, first: dict[str, Any], second: dict[str, Any]) -> None:
    ranker = first["rankers"]["frozen"]
    assert second["moment"]["live"] == {
        "bundle": first["bundle"],
        "index": first["index"],
        "ranker": ranker,
    }
    assert second["rankers"] == {"frozen": ranker}
    # One exported network answers with both bundles.
    assert second["forward"] == first["forward"]
    assert http.get(f"/v1/artifacts/{first['forward']}").json()["parents"] == {"ranker": ranker}
    assert second["promoted"] == {"ranker": ranker, "generation": 2}
    bundle = http.get(f"/v1/artifacts/{second['bundle']}").json()
    assert bundle["parents"] == {"snapshot": second["snapshot"], "previous": first["bundle"]}
    assert bundle["metrics"]["frame_kept"] > 0.95
    rows = http.get(f"/v1/artifacts/{second['report']}").json()["payload"]["rows"]
    models = {row["model"] for row in rows if row["metric"] == "auc"}
    assert {"ranker_frozen", "ranker_frozen - ranker_frozen_original"} <= models


def check_loss(
    running: Service, workers: HangingWorkers, http: httpx.Client, trio: tuple[str, str, str]
) -> None:
    """Where nothing holds the vectors the ranker cannot read them, and what is live stays."""
    running.environment["GRAPHSVC_TRANSRA__FRAME_WEIGHT"] = "0"
    workers.start()
    job = ask(http, refresh=True)
    failed = eventually("it fails", lambda: failed_one(http, job), seconds=60)
    assert failed["error"].startswith(
        "frame: the live ranker cannot read the refreshed bundle, so nothing is promoted"
    )
    assert ask_score(http, trio)


def steps_of(http: httpx.Client, job: str) -> list[str]:
    return [item["step"] for item in http.get(f"/v1/jobs/{job}").json()["progress"]]


def failed_one(http: httpx.Client, job: str) -> dict[str, Any] | None:
    found = http.get(f"/v1/jobs/{job}").json()
    assert found["state"] != "done"
    return found if found["state"] == "failed" else None


def ask_score(http: httpx.Client, trio: tuple[str, str, str]) -> dict[str, Any] | None:
    body = {"head": {"type": "user", "id": "u1"}, "candidates": ["c1", "d1"]}
    answer = http.post("/v1/score", json=body).json()
    return answer if (answer["bundle"], answer["index"], answer["ranker"]) == trio else None
