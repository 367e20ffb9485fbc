"""A worker that is killed in the middle of training, and started again, finishes the job."""

from pathlib import Path

import pytest
from planted import planted_events
from running import eventually, post_all, service, wait_job


@pytest.mark.slow_as("sqlite")
def test_a_job_survives_a_killed_worker(database_url: str, tmp_path: Path) -> None:
    # Long enough that the kill falls into the training of the embedding.
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="40") as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            body = {"arms": ["none"]}
            job = http.post("/v1/retrains", json=body).json()["job"]
            again = http.post("/v1/retrains", json=body).json()["job"]
            assert again == job, "an identical request that waits is the same job"
            running.start("worker")

            def embedding() -> bool:
                steps = http.get(f"/v1/jobs/{job}").json()["progress"]
                return bool(steps) and steps[-1]["step"] == "embed" and steps[-1]["done"] > 0

            eventually("training under way", embedding, seconds=60)
            running.kill("worker")
            snapshots = http.get("/v1/artifacts", params={"kind": "snapshot"}).json()["items"]
            assert http.get(f"/v1/jobs/{job}").json()["state"] == "running"

            running.start("worker")
            done = wait_job(http, job)
            assert done["id"] == job
            # The finished step was not repeated: there is the one snapshot that it sealed.
            after = http.get("/v1/artifacts", params={"kind": "snapshot"}).json()["items"]
            assert [s["digest"] for s in after] == [s["digest"] for s in snapshots]
            assert done["result"]["snapshot"] == snapshots[0]["digest"]
            assert len(http.get("/v1/artifacts", params={"kind": "bundle"}).json()["items"]) == 1


def test_a_second_worker_refuses_to_start(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.start("worker")
        eventually(
            "the first worker holds the folder",
            lambda: (
                (running.folder / "data/worker.lock").exists()
                and "ready" in (running.folder / "data/worker.lock").read_text()
            ),
            seconds=30,
        )
        running.start("worker", name="second")
        assert running.processes["second"].wait(30) == 1
        assert "Another worker already runs" in running.log("second")
        assert "`worker --standby`" in running.log("second")
        assert "Traceback" not in running.log("second")
