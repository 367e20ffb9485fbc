"""An erasure that is killed in every step; one beside a retrain; one that fails; a restore."""

import shutil
from pathlib import Path
from typing import Any

import forgotten
import httpx
import orjson
import pytest
from forgotten import AS, PATH
from hanging_worker import GO_ON, HangingWorkers
from nursery import nursery
from running import Service, eventually, post_all, service, wait_job

from api.jobs.queue import APPLICATION_VERSION
from api.jobs.requests import EraseRequest

RETRAIN = {"arms": ["frozen"], "seed": 3}
DIALS = {"GRAPHSVC_TRANSRA__EPOCHS": "2"}


@pytest.mark.slow_as("sqlite-begun", "postgresql-sealed")
@pytest.mark.parametrize("point", ["sealed", "begun"])
def test_killed_in_every_step_it_is_done_all_the_same(
    database_url: str, tmp_path: Path, point: str
) -> None:
    with service(tmp_path, database_url, **DIALS) as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, forgotten.events())
            workers.start(version=APPLICATION_VERSION)
            retrained(http)
            workers.kill()
            asked = http.delete(PATH).json()
            order = EraseRequest().steps
            for step in order:
                workers.start(step, point, APPLICATION_VERSION)
                seen = http.get(f"/v1/jobs/{asked['job']}").json()
                assert (seen["state"], seen["step"]) == ("running", step)
                workers.kill()
            workers.start(version=APPLICATION_VERSION)
            done = wait_job(http, asked["job"])
            assert [step["state"] for step in done["progress"]] == ["done"] * len(order)
            certified(http, done["result"])
            assert done["result"]["generation"] == 2
            assert len(http.get("/v1/promotions").json()["items"]) == 2
            # Whatever was sealed twice is one: each artifact of the ledger, and no other, is there.
            kept = {path.name for path in (tmp_path / "data/artifacts").glob("[a-z]*/*")}
            assert kept == {one["digest"] for one in artifacts(http)}
        assert forgotten.places(tmp_path / "data") == []
        assert "Traceback" not in running.log("worker")


def test_what_a_retrain_seals_meanwhile_has_lost_them(tmp_path: Path) -> None:
    """They are erased while a bundle is trained: what is sealed of it has a successor at once."""
    with service(tmp_path, **DIALS) as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, forgotten.events())
            job = http.post("/v1/retrains", json=RETRAIN).json()["job"]
            workers.start("bundle", "sealing", APPLICATION_VERSION)
            asked = http.delete(PATH).json()
            done = wait_job(http, asked["job"])["result"]
            certified(http, done)
            assert [one["kind"] for one in told(http, done)["artifacts"]] == ["snapshot"]
            (tmp_path / "data" / GO_ON).touch()
            result = wait_job(http, job)["result"]
            assert forgotten.places(tmp_path / "data/artifacts") == []
            snapshot = http.get(f"/v1/artifacts/{result['snapshot']}").json()
            assert snapshot["digest"] == result["snapshot"]
            lineage = http.get(f"/v1/artifacts/{result['bundle']}").json()
            assert lineage["parents"] == {"snapshot": result["snapshot"]}
            assert "erased_from" in lineage["payload"]
            body = {"head": {"type": "user", "id": AS}, "candidates": ["c1"]}
            eventually(
                "nobody knows them",
                lambda: http.post("/v1/score", json=body).json().get("state") == "unknown",
                seconds=20,
            )
            verified(running, asked["erasure"])


def test_a_retrain_between_two_steps_goes_on_with_successors(tmp_path: Path) -> None:
    with service(tmp_path, **DIALS) as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, forgotten.events())
            job = http.post("/v1/retrains", json=RETRAIN).json()["job"]
            workers.start("index", "begun", APPLICATION_VERSION)
            done = wait_job(http, http.delete(PATH).json()["job"])["result"]
            certified(http, done)
            kinds = [one["kind"] for one in told(http, done)["artifacts"]]
            assert sorted(kinds) == ["bundle", "snapshot"]
            workers.kill()
            workers.start(version=APPLICATION_VERSION)
            result = wait_job(http, job)["result"]
            now = {one["kind"]: one["after"] for one in told(http, done)["artifacts"]}
            assert (result["snapshot"], result["bundle"]) == (now["snapshot"], now["bundle"])
            assert result["promoted"]["ranker"] == result["rankers"]["frozen"]
        assert forgotten.places(tmp_path / "data/artifacts") == []


def test_a_restored_backup_is_held_to_the_list(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with service(tmp_path, **DIALS) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, forgotten.events())
            retrained(http)
        running.stop()
        shutil.copytree(data, backup)

        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            failed_and_went_on(http, data)
        running.stop()
        assert forgotten.places(data) == []
        listed = (data / "erasures.jsonl").read_text()
        assert AS not in listed

        # All of the folder but the list is as it was.
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        assert forgotten.places(data) != []
        (data / "erasures.jsonl").write_text(listed)
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            again = eventually("it is done", lambda: finished(http), seconds=60)
            assert again["subject"] == orjson.loads(listed.splitlines()[1])["subject"]
            assert http.get(PATH).status_code == httpx.codes.NOT_FOUND
            assert forgotten.places(data) == []
            verified(running, again["erasure"])


def failed_and_went_on(http: httpx.Client, data: Path) -> None:
    """An erasure whose job has failed says so, and is done once what it names is mended."""
    [weights] = (data / "artifacts/ranker").glob("*/weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    asked = http.delete(PATH).json()
    one, job = f"/v1/erasures/{asked['erasure']}", f"/v1/jobs/{asked['job']}"
    eventually("it fails", lambda: http.get(job).json()["state"] == "failed", seconds=60)
    assert weights.parent.name[:8] in http.get(job).json()["error"]
    told = http.get(one).json()
    assert (told["state"], told["job"]) == ("failed", asked["job"])
    weights.write_bytes(whole)
    http.post(f"{job}/resume")
    wait_job(http, asked["job"])
    told = http.get(one).json()
    assert (told["state"], told["job"]) == ("done", None)


def retrained(http: httpx.Client) -> None:
    wait_job(http, http.post("/v1/retrains", json=RETRAIN).json()["job"])


def told(http: httpx.Client, result: dict[str, Any]) -> Any:
    return http.get(f"/v1/artifacts/{result['certificate']}").json()["payload"]


def certified(http: httpx.Client, result: dict[str, Any]) -> None:
    assert [one for one in told(http, result)["checks"] if not one["ok"]] == []
    [person] = told(http, result)["people"]
    assert person["removed"]["events"] == 61


def artifacts(http: httpx.Client) -> list[Any]:
    return http.get("/v1/artifacts", params={"limit": 100}).json()["items"]


def finished(http: httpx.Client) -> Any:
    items = http.get("/v1/erasures").json()["items"]
    return items[0] if items and items[0]["state"] == "done" else None


def verified(running: Service, erasure: int) -> None:
    found = nursery().call(
        *("erase", "--verify", str(erasure), "--json"),
        environment=running.environment,
        folder=running.folder,
    )
    assert found.returncode == 0, found.stdout + found.stderr
