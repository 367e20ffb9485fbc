"""A retrain over HTTP whose ID rows go on from those of the live ranker."""

import json
from pathlib import Path
from typing import Any

import httpx
from planted import planted_events
from retraining import ask, later_events
from running import eventually, post_all, service, wait_job

RANKER = {"GRAPHSVC_RANKER__IDS__OPTIMIZER": "adagrad", "GRAPHSVC_RANKER__TRAINING__EPOCHS": "2"}


def test_rows_keep_their_slots_from_retrain_to_retrain(tmp_path: Path) -> None:
    with service(tmp_path, GRAPHSVC_TRANSRA__EPOCHS="2", **RANKER) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            refused = http.post("/v1/retrains", json={"carry": True})
            assert (refused.status_code, refused.json()["title"]) == (409, "Nothing is live yet")
            assert "carry should be false as long as nothing is live" in refused.json()["detail"]
            first = wait_job(http, ask(http, arms=["frozen"]))["result"]
            ranker = first["rankers"]["frozen"]
            eventually("it is live", lambda: live(http) == ranker, seconds=10)

            post_all(http, later_events())
            second = wait_job(http, ask(http, carry=True, arms=["frozen"]))["result"]
            assert second["moment"]["live"]["ranker"] == ranker
            carried = second["rankers"]["frozen"]
            assert http.get(f"/v1/artifacts/{carried}").json()["parents"]["rows_of"] == ranker
            assert second["promoted"]["ranker"] == carried
            before, now = (slots(running.folder, one) for one in (ranker, carried))
            both = set(before) & set(now)
            assert len(both) > 50
            assert all(before[one] == now[one] for one in both)


def live(http: httpx.Client) -> Any:
    return http.get("/v1/promotions").json()["items"][0]["ranker"]


def slots(folder: Path, ranker: str) -> dict[str, int]:
    """id of a head -> its row."""
    [file] = (folder / "data" / "artifacts").glob(f"ranker/{ranker}/ids.json")
    named = json.loads(file.read_text())["head"]
    return {name: row for row, name in enumerate(named) if name is not None}
