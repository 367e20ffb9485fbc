"""The worker is killed in every step of a retrain, and the retrain ends as if it had not been."""

import shutil
from pathlib import Path

import httpx
import pytest
from hanging_worker import HangingWorkers
from planted import START, click, planted_events
from running import post_all, service, wait_job

from api.jobs.queue import APPLICATION_VERSION
from api.jobs.requests import RetrainRequest

REQUEST = {"arms": ["frozen"], "seed": 3}


@pytest.mark.slow_as("sqlite-begun-*", "postgresql-sealed-*")
@pytest.mark.parametrize(("point", "newer"), [("sealed", False), ("begun", True)])
def test_killed_in_each_step_it_ends_with_the_same_digests(
    database_url: str, tmp_path: Path, point: str, newer: bool
) -> None:
    version = int(APPLICATION_VERSION)
    dials = {"GRAPHSVC_TRANSRA__EPOCHS": "3", "GRAPHSVC_FORWARD": "onnx"}
    with service(tmp_path, database_url, **dials) as running:
        running.start("serve")
        running.wait_ready()
        with HangingWorkers(running) as workers, running.client() as http:
            post_all(http, planted_events())
            workers.start(version=str(version))
            undisturbed = wait_job(http, ask(http))["result"]
            workers.kill()
            shutil.rmtree(tmp_path / "data/artifacts")  # so that all of it is made again

            job = ask(http)
            order = RetrainRequest.model_validate(REQUEST).steps
            for step in order:
                version += newer
                workers.start(step, point, str(version))
                seen = http.get(f"/v1/jobs/{job}").json()
                assert (seen["state"], seen["step"]) == ("running", step)
                before = ["done"] * order.index(step)
                assert [s["state"] for s in seen["progress"]] == [*before, "running"]
                workers.kill()
                if step == "snapshot":  # what comes now is behind the job's moment
                    post_all(http, [click("u1", "c1", START + 90_000, "meanwhile")])
            workers.start(version=str(version + newer))
            done = wait_job(http, job)
            # The trio of the undisturbed one is live when this one asks the gate.
            own = ("decision", "promoted")
            same = {name: digest for name, digest in undisturbed.items() if name not in own}
            assert {name: done["result"][name] for name in same} == same
            assert done["result"]["promoted"]["ranker"] == undisturbed["promoted"]["ranker"]
            assert undisturbed["decision"]["rule"] == "first"
            decided = done["result"]["decision"]
            assert (decided["rule"], decided["decision"]) == ("live", "passed")
            assert [s["state"] for s in done["progress"]] == ["done"] * len(order)
        assert "Traceback" not in running.log("worker")


def ask(http: httpx.Client) -> str:
    return http.post("/v1/retrains", json=REQUEST).json()["job"]
