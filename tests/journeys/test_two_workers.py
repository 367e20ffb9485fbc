"""Two workers on one database, with a data folder each: one runs jobs, the other follows."""

from pathlib import Path

import pytest
from planted import planted_events
from postgres_server import Postgres
from running import Service, eventually, post_all, service, wait_job


@pytest.mark.slow
def test_two_workers_on_one_database_take_turns(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.create()
    with service(tmp_path, url, GRAPHSVC_TRANSRA__EPOCHS="40") as running:
        other = {"GRAPHSVC_DATA_DIR": str(tmp_path / "other")}
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        eventually("the first worker runs", lambda: ready(running, "data"), seconds=60)
        running.start("worker", name="second", **other)
        assert running.processes.pop("second").wait(60) == 1
        assert running.log("second").startswith("error: Another worker already runs on this data")
        assert "`--standby`" in running.log("second")
        assert "Traceback" not in running.log("second")

        # The two see the same artifacts, as two hosts would through a shared folder.
        (tmp_path / "other/artifacts").rmdir()
        (tmp_path / "other/artifacts").symlink_to(tmp_path / "data/artifacts")
        running.start("worker", "--standby", name="standby", **other)
        with running.client() as http:
            post_all(http, planted_events())
            job = http.post("/v1/retrains", json={"arms": ["none"]}).json()["job"]

            def embedding() -> bool:
                steps = http.get(f"/v1/jobs/{job}").json()["progress"]
                return bool(steps) and steps[-1]["step"] == "embed" and steps[-1]["done"] > 0

            eventually("training under way", embedding, seconds=60)
            assert not ready(running, "other")
            said = running.log("standby")
            assert said.endswith("another worker runs; standing by\n")
            assert said.count("\n") == 1, "it is said once"
            running.kill("worker")
            eventually("the other one took over", lambda: ready(running, "other"), seconds=20)
            assert "the other worker has ended; taking over\n" in running.log("standby")
            done = wait_job(http, job)
            assert [s["state"] for s in done["progress"]] == ["done"] * len(done["progress"])
            for kind in ("snapshot", "bundle", "index", "ranker", "report"):
                rows = http.get("/v1/artifacts", params={"kind": kind}).json()["items"]
                assert len(rows) == 1, kind
    postgres.drop(url)


def ready(running: Service, folder: str) -> bool:
    lock = running.folder / folder / "worker.lock"
    return lock.exists() and "ready" in lock.read_text()
