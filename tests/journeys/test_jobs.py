"""Jobs that are stopped, that fail, that nobody can run: what people see, and how it goes on."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from dbos import DBOSClient
from hanging_worker import HangingWorkers
from nursery import nursery
from planted import START, click, planted_events
from running import Service, eventually, post_all, service, wait_job
from sqlalchemy import text

from api.jobs.queue import APPLICATION, QUEUES, job_database
from api.jobs.requests import JobName
from api.jobs.serializer import JsonSerializer
from graphsvc.db import Database

LONG = {"GRAPHSVC_TRANSRA__EPOCHS": "100000"}


def test_a_running_job_stops_at_once_and_goes_on(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url, **LONG) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            job = ask(http, arms=["none"])
            eventually("training", lambda: step_of(http, job, "embed", "done") > 0, seconds=90)
            asked = verb(running, job, "--cancel")
            assert (asked["id"], asked["state"]) == (job, "cancelled")
            assert step_of(http, job, "embed", "state") == "cancelled", "no step runs any more"
            eventually(
                "the step has ended",
                lambda: step_of(http, job, "embed", "note").startswith("stopped"),
                seconds=10,
            )
            said = call(running, "jobs", job, "--log", "--json")
            told = [(line["step"], line["message"]) for line in orjson.loads(said.stdout)["log"]]
            assert told[:2] == [("moment", "begun"), ("moment", told[1][1])]
            assert told[1][1].startswith("done in ")
            assert told[-3:] == [
                ("embed", "begun"),
                (None, "cancelled, as was asked"),
                ("embed", "stopped before its end; nothing of it was kept"),
            ]
            artifacts = running.folder / "data/artifacts"
            assert not list(artifacts.glob(".draft-*"))
            assert not list(artifacts.glob("bundle/*"))
            snapshots = [path.name for path in artifacts.glob("snapshot/*")]

            running.kill("worker")
            running.environment["GRAPHSVC_TRANSRA__EPOCHS"] = "3"
            running.start("worker")
            assert verb(running, job, "--resume")["id"] == job
            done = wait_job(http, job)
            assert snapshots == [done["result"]["snapshot"]]

            for what in ("cancel", "resume"):
                refused = http.post(f"/v1/jobs/{job}/{what}")
                assert refused.status_code == 409
                assert f"job {job} is done" in refused.json()["detail"]
            said = call(running, "jobs", job, "--cancel")
            assert said.returncode == 1
            assert said.stderr.decode().startswith(f"error: job {job} is done; only one that waits")


@pytest.mark.slow_as("sqlite")
def test_a_retrain_sees_what_was_posted_before_it(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="3") as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())
            body = {"arms": ["none"]}
            first = http.post("/v1/retrains", json=body).json()
            workers.start("snapshot")  # its moment is chosen
            same = http.post("/v1/retrains", json=body).json()
            assert same == {"job": first["job"], "existing": True}, "nothing has come since"
            post_all(http, [click("u1", "c1", START + 90_000, "since")])
            second = http.post("/v1/retrains", json=body).json()
            assert (second["existing"], second["job"] != first["job"]) == (False, True)
            again = http.post("/v1/retrains", json=body).json()
            assert again == {"job": second["job"], "existing": True}
            states = [job["state"] for job in http.get("/v1/jobs").json()["items"]]
            assert states == ["waiting", "running"]
            workers.kill()
            workers.start()
            before = wait_job(http, first["job"])["result"]["moment"]["seq"]
            assert wait_job(http, second["job"])["result"]["moment"]["seq"] == before + 1


@pytest.mark.slow_as("sqlite")
def test_a_failed_step_says_why_and_the_job_can_be_done_again(
    database_url: str, tmp_path: Path
) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="3") as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            workers.start()
            post_all(http, planted_events()[:50])  # a catalog and nobody who looks at it
            job = ask(http, arms=["none"])
            failed = ended(http, job)
            assert failed["state"] == "failed"
            assert failed["error"].startswith("snapshot: ")
            assert failed["error"] == f"snapshot: {failed['progress'][-1]['note']}"
            assert failed["progress"][-1]["state"] == "failed"

            post_all(http, planted_events()[50:])
            # It goes on at its own moment, when there was too little.
            http.post(f"/v1/jobs/{job}/resume")
            assert ended(http, job)["error"] == failed["error"]
            fresh = http.post(f"/v1/jobs/{job}/retry").json()["id"]
            assert fresh != job
            wait_job(http, fresh)

            workers.kill()
            workers.start("index", "broken")
            broken = ended(http, ask(http, arms=["none"], seed=5))
            assert broken["error"] == "index: ZeroDivisionError: nobody thought of it"
            assert "and here are the details" in running.log("worker")
            assert "Traceback" in running.log("worker")
            workers.kill()
            workers.start()
            http.post(f"/v1/jobs/{broken['id']}/resume")
            whole = wait_job(http, broken["id"])
            bundles = http.get("/v1/artifacts", params={"kind": "bundle"}).json()["items"]
            assert whole["result"]["bundle"] in [bundle["digest"] for bundle in bundles]
            assert len(bundles) == 2, "the finished step before it was not repeated"


@pytest.mark.slow_as("sqlite")
def test_jobs_that_nobody_can_run_do_not_stand_in_the_way(
    database_url: str, tmp_path: Path
) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="3") as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())
            unknown = put(running, "paint", QUEUES[JobName.RETRAIN], {})
            odd = put(running, "retrain", QUEUES[JobName.RETRAIN], {"split": "by_chance"})
            elsewhere = put(running, "retrain", "nobody", {})
            job = ask(http, arms=["none"])
            workers.start()
            wait_job(http, job)
            for lost, reason in (
                (unknown, "queue: this version knows no 'paint' job with such a request; "),
                (odd, "queue: this version knows no 'retrain' job with such a request; "),
                (elsewhere, "queue: no worker looks at the queue 'nobody'"),
            ):
                seen = http.get(f"/v1/jobs/{lost}").json()
                assert seen["state"] == "cancelled"
                assert seen["error"].startswith(reason)
            refused = http.post(f"/v1/jobs/{unknown}/resume")
            assert refused.status_code == 409


@pytest.mark.slow_as("sqlite")
def test_a_job_whose_worker_always_dies_is_given_up(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="3") as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())
            job = ask(http, arms=["none"])
            workers.start("embed")
            workers.kill()
            count(running, job, 12)  # as if that had happened twelve times
            after = ask(http, arms=["none"], seed=2)
            workers.start()
            given_up = ended(http, job)
            assert given_up["state"] == "failed"
            assert given_up["error"].startswith("embed: the worker ended 12 times while this job")
            wait_job(http, after)
            http.post(f"/v1/jobs/{job}/resume")
            wait_job(http, job)


def ask(http: httpx.Client, **body: Any) -> str:
    return http.post("/v1/retrains", json=body).json()["job"]


def step_of(http: httpx.Client, job: str, step: str, what: str) -> Any:
    steps = {item["step"]: item for item in http.get(f"/v1/jobs/{job}").json()["progress"]}
    return steps[step][what] if step in steps else 0


def ended(http: httpx.Client, job: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = http.get(f"/v1/jobs/{job}").json()
        return None if found["state"] in ("waiting", "running") else found

    return eventually(f"job {job} ended", look, seconds=90)


def verb(running: Service, job: str, what: str) -> dict[str, Any]:
    answered = call(running, "jobs", job, what, "--json")
    assert answered.returncode == 0, answered.stderr
    return orjson.loads(answered.stdout)


def call(running: Service, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return nursery().call(*arguments, environment=running.environment, folder=running.folder)


def jobs_url(running: Service) -> str:
    url = running.environment["GRAPHSVC_DATABASE_URL"]
    return url or f"sqlite:///{running.folder / 'data/jobs.sqlite'}"


def put(running: Service, name: str, queue: str, body: dict[str, Any]) -> str:
    """Ask for what no route would ask for."""
    client = DBOSClient(
        system_database_url=job_database(jobs_url(running)),
        serializer=JsonSerializer(),
        application_name=APPLICATION,
    )
    try:
        asked = client.enqueue({"workflow_name": name, "queue_name": queue}, body)
        return asked.workflow_id
    finally:
        client.destroy()


def count(running: Service, job: str, attempts: int) -> None:
    database = Database(jobs_url(running))
    table = "dbos.workflow_status" if database.is_postgresql else "workflow_status"
    with database.transaction() as connection:
        changed = connection.execute(
            text(f"UPDATE {table} SET recovery_attempts = :n WHERE workflow_uuid = :id"),
            {"n": attempts, "id": job},
        )
        assert changed.rowcount == 1
    database.dispose()
