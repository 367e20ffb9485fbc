"""The gate over HTTP, through the real queue: a retrain that it promotes, one that it refuses."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hanging_worker import HangingWorkers
from nursery import nursery
from planted import planted_events
from running import Service, eventually, post_all, service, wait_job

#: A ranker that is hardly trained beside an embedding that is hardly trained.
WORSE = {
    "GRAPHSVC_TRANSRA__EPOCHS": "1",
    "GRAPHSVC_RANKER__TRAINING__EPOCHS": "1",
    "GRAPHSVC_RANKER__TRAINING__LEARNING_RATE": "1e-9",
}
#: The gate as it is by default; the 60 people of the planted world are enough for it.
STRICT = {
    "GRAPHSVC_GATE__AUC_MARGIN": "0.005",
    "GRAPHSVC_GATE__LOGLOSS_MARGIN": "0.01",
    "GRAPHSVC_GATE__LEAST_USERS": "50",
    "GRAPHSVC_GATE__LEAST_OUTCOMES": "50",
    "GRAPHSVC_GATE__SLICE_LEVEL": "0.05",
}


@pytest.mark.slow_as("postgresql")
def test_a_better_one_is_promoted_and_a_worse_one_refused(
    database_url: str, tmp_path: Path
) -> None:
    with service(tmp_path, database_url) as running:
        running.start("serve")
        running.wait_ready()
        usual = dict(running.environment)
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())

            running.environment.update(WORSE)
            first = retrain(http, workers, arms=["none"], seed=1)
            assert told(first) == ("first", "passed")
            assert first["promoted"]["generation"] == 1

            running.environment.clear()
            running.environment.update(usual | STRICT)
            better = retrain(http, workers, arms=["frozen"], seed=2)
            assert told(better) == ("champion", "passed"), better["decision"]["reason"]
            assert better["decision"]["champion"]["ranker"] == first["rankers"]["none"]
            ranker = better["rankers"]["frozen"]
            assert better["promoted"] == {"ranker": ranker, "generation": 2}

            running.environment.update(WORSE)
            worse = retrain(http, workers, arms=["none"], seed=3)
            assert told(worse) == ("champion", "refused"), worse["decision"]["reason"]
            assert worse["promoted"] is None
            eventually("the better one stays", lambda: live(http) == ranker, seconds=10)

            check_decisions(running, http, [worse, better, first])
            overrule(http, worse, ranker)


def retrain(http: httpx.Client, workers: HangingWorkers, **body: Any) -> dict[str, Any]:
    """What a retrain ended with, by a worker that is started for it."""
    workers.start()
    asked = http.post("/v1/retrains", json=body)
    assert asked.status_code == 202, asked.text
    result = wait_job(http, asked.json()["job"])["result"]
    workers.kill()
    return dict(result)


def told(result: dict[str, Any]) -> tuple[str, str]:
    return result["decision"]["rule"], result["decision"]["decision"]


def live(http: httpx.Client) -> str:
    return str(http.get("/v1/entities/film/d1/neighbors").json()["ranker"])


def check_decisions(running: Service, http: httpx.Client, results: list[dict[str, Any]]) -> None:
    """They are kept with their numbers, and listed over HTTP and by the command line."""
    made = [result["decision"]["id"] for result in results]
    listed = http.get("/v1/decisions").json()["items"]
    assert [item["id"] for item in listed] == made
    refused = http.get("/v1/decisions", params={"decision": "refused"}).json()["items"]
    assert [item["id"] for item in refused] == made[:1]
    detail = http.get(f"/v1/decisions/{made[0]}").json()
    auc = next(m for m in detail["numbers"]["verdicts"]["ctr"]["metrics"] if m["metric"] == "auc")
    assert auc["finding"] == "loss"
    assert auc["hi"] < 0
    assert auc["gain"] == pytest.approx(auc["candidate"] - auc["champion"])
    shown = call(running, "decisions", "--json")["decisions"]
    assert [item["id"] for item in shown] == made
    assert call(running, "decisions", made[0], "--json")["numbers"] == detail["numbers"]


def overrule(http: httpx.Client, worse: dict[str, Any], better: str) -> None:
    """Whoever wants the refused one all the same says why; so does whoever goes back."""
    ranker = worse["rankers"]["none"]
    without = http.post("/v1/promotions", json={"ranker": ranker})
    assert without.status_code == 422
    assert "since the gate says refused: a loss is shown: auc gains" in without.json()["detail"]
    for generation, (one, why) in enumerate([(ranker, "to see it"), (better, "go back")], 3):
        given = http.post("/v1/promotions", json={"ranker": one, "reason": why})
        assert given.json()["generation"] == generation, given.text
    back, over = http.get("/v1/promotions", params={"limit": 2}).json()["items"]
    assert (over["reason"], over["decision"]) == ("to see it", worse["decision"]["id"])
    assert over["promoted_by"].startswith("key ")
    assert (back["reason"], back["ranker"], back["decision"]) == ("go back", better, None)


def call(running: Service, *arguments: str) -> dict[str, Any]:
    answered = nursery().call(*arguments, environment=running.environment, folder=running.folder)
    assert answered.returncode == 0, answered.stderr
    return dict(orjson.loads(answered.stdout))
