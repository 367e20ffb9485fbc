"""PostgreSQL crashes while a job runs, and comes back: 503 meanwhile, and then all goes on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres_server
import pytest
from planted import planted_events
from postgres_server import Postgres
from running import eventually, post_all, service, wait_job


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server of this test's own, which it may kill."""
    server = postgres_server.start()
    yield server
    server.stop()


def test_a_job_survives_its_database(own: Postgres, tmp_path: Path) -> None:
    with service(tmp_path, own.create(), GRAPHSVC_TRANSRA__EPOCHS="100") as running:
        with (tmp_path / "up.log").open("wb") as log:
            running.processes["up"] = subprocess.Popen(
                [sys.executable, "-m", "api", "up"],
                env=running.environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            job = http.post("/v1/retrains", json={"arms": ["none"]}).json()["job"]

            def embedding() -> bool:
                steps = http.get(f"/v1/jobs/{job}").json()["progress"]
                return bool(steps) and steps[-1]["step"] == "embed" and steps[-1]["done"] > 0

            eventually("training under way", embedding, seconds=60)
            own.crash()
            for _ in range(2):
                for answer in (
                    http.post("/v1/retrains", json={"seed": 9}),
                    http.get("/v1/jobs"),
                    http.get(f"/v1/jobs/{job}"),
                    http.post(f"/v1/jobs/{job}/cancel"),
                ):
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.json()["title"] == "Database unavailable"
            eventually(
                "the worker has noticed", lambda: "the worker ends" in running.log("up"), seconds=20
            )
            own.come_back()
            # The same server and the same job, and nobody started anything by hand.
            eventually("the server answers again", lambda: answers(http, job), seconds=20)
            done = wait_job(http, job)
            assert done["result"]["promoted"]["generation"] == 1
        assert "Traceback" not in running.log("up"), running.log("up")


def test_a_short_absence_is_not_even_noticed_by_the_job(own: Postgres, tmp_path: Path) -> None:
    with service(tmp_path, own.create(), GRAPHSVC_TRANSRA__EPOCHS="50") as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            job = http.post("/v1/retrains", json={"arms": ["none"]}).json()["job"]
            eventually(
                "it runs",
                lambda: http.get(f"/v1/jobs/{job}").json()["state"] == "running",
                seconds=60,
            )
            own.crash()
            own.come_back()
            if running.processes["worker"].wait(20) != 0:
                assert running.processes.pop("worker").returncode == 75
                running.start("worker")
            wait_job(http, job)


def answers(http: httpx.Client, job: str) -> bool:
    return http.get(f"/v1/jobs/{job}").status_code == httpx.codes.OK
