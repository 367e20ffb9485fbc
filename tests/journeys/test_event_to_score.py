"""From events to scores over HTTP, with a real server and a real worker, on both databases."""

import time
from pathlib import Path

from planted import (
    COMEDIES,
    WITHHELD_FILM,
    WITHHELD_USER,
    click,
    planted_events,
)
from running import eventually, post_all, service, wait_job


def test_the_withheld_edge_comes_first(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            assert http.post("/v1/score", json=_ask(WITHHELD_USER)).status_code == 409
            asked = http.post("/v1/retrains", json={"arms": ["frozen"]})
            assert asked.status_code == 202
            job = wait_job(http, asked.json()["job"])
            assert [step["step"] for step in job["progress"]] == [
                "moment",
                "snapshot",
                "check",
                "embed",
                "index",
                "map",
                "rank_frozen",
                "judge",
                "gate",
                "export",
                "promote",
            ]
            eventually(
                "the server follows the promotion",
                lambda: http.get("/health/ready").json()["generation"],
                seconds=10,
            )

            answer = http.post("/v1/score", json=_ask(WITHHELD_USER)).json()
            assert answer["scores"][0]["id"] == WITHHELD_FILM
            assert answer["state"] == "learned"
            assert answer["ranker"] == job["result"]["rankers"]["frozen"]
            assert answer["bundle"] == job["result"]["bundle"]

            # Somebody new is scored at once, from the edges they have by now.
            unknown = http.post("/v1/score", json=_ask("newcomer")).json()
            assert unknown["state"] == "unknown"
            now = int(time.time())
            post_all(http, [click("newcomer", f"d{film}", now) for film in range(1, 5)])
            cold = http.post("/v1/score", json=_ask("newcomer")).json()
            assert (cold["state"], cold["folded_edges"]) == ("cold", 4)
            assert cold["scores"][0]["id"] == WITHHELD_FILM

            near = http.get("/v1/entities/film/d1/neighbors", params={"k": 5}).json()
            assert all(item["id"].startswith("d") for item in near["items"])
            assert [n["distance"] for n in near["items"]] == sorted(
                n["distance"] for n in near["items"]
            )


def _ask(user: str) -> dict:
    return {"head": {"type": "user", "id": user}, "candidates": [*COMEDIES, WITHHELD_FILM]}
