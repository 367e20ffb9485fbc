"""Retrains over HTTP that train in rounds at clients, and fair to groups: seen, sealed, served."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from nursery import nursery
from planted import COMEDIES, START, USERS, planted_events
from running import Service, eventually, post_all, service, wait_job

#: Enough rounds that somebody who looks twice a second sees some.
FEDERATED = {"optimizer": "adam", "rate": 0.01, "rounds": 150, "steps": 2, "look_every": 25}
FAIR = {"by": "gender", "least_rows": 20, "rounds": 2}


def genders() -> Iterator[dict[str, Any]]:
    """Half of each taste is f, the other half m."""
    for user in range(USERS):
        yield {
            "event_id": f"gender-{user}",
            "event_name": "set_attributes",
            "event_time": START,
            "action_source": "structure",
            "actor": {"type": "user", "id": f"u{user}"},
            "properties": {"gender": "fm"[user // 2 % 2]},
        }


@pytest.mark.slow_as("sqlite")
def test_they_end_in_rankers_that_are_promoted(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, [*genders(), *planted_events()])
            in_rounds = _retrain(http, {"federated": FEDERATED}, seen="60 clients, ")
            _serves(http, in_rounds, generation=1)
            told = in_rounds["payload"]["training"]
            assert set(told) == {"federated"}
            assert told["federated"]["rounds"] == FEDERATED["rounds"]
            assert set(told["federated"]["auc"]["ctr"]) == {"served", "at_clients"}
            none = http.get(f"/v1/artifacts/{in_rounds['digest']}/certificate")
            assert none.status_code == 404

            # The rounds are few here: what is new is what comes behind them.
            both = {"federated": {**FEDERATED, "rounds": 10}, "fairness": FAIR}
            fair = _retrain(http, both)
            _serves(http, fair, generation=2)
            told = fair["payload"]["training"]
            assert set(told) == {"federated", "fairness"}
            certificate = http.get(f"/v1/artifacts/{fair['digest']}/certificate").json()
            assert set(certificate["groups"]) == set(told["fairness"]["groups"]) == {"f", "m"}
            taus = [group["tau"] for group in certificate["groups"].values()]
            assert fair["metrics"]["tau"] == max(taus)
            assert all(0 < tau < 1 for tau in taus)
            assert certificate["sentence"].startswith("Whoever it is used on")
            _shown(running, fair["digest"], certificate)


def _retrain(
    http: httpx.Client, training: Mapping[str, Any], *, seen: str = ""
) -> Mapping[str, Any]:
    """The ranker that a retrain promoted, as it is shown; `seen` is in a note while it trains."""
    asked = http.post("/v1/retrains", json={"arms": ["none"], "training": training})
    assert asked.status_code == 202, asked.text
    job = asked.json()["job"]
    if seen:
        eventually("rounds are seen", lambda: seen in _note(http, job), seconds=120)
    result = wait_job(http, job)["result"]
    assert result["promoted"], result
    ranker: Mapping[str, Any] = http.get(f"/v1/artifacts/{result['rankers']['none']}").json()
    assert ranker["state"] == "live"
    return ranker


def _note(http: httpx.Client, job: str) -> str:
    """What the step that trains says of itself."""
    found = http.get(f"/v1/jobs/{job}").json()
    assert found["state"] in ("waiting", "running"), found
    notes = [step["note"] for step in found["progress"] if step["step"] == "rank_none"]
    return notes[0] if notes else ""


def _serves(http: httpx.Client, ranker: Mapping[str, Any], *, generation: int) -> None:
    eventually(
        "the server follows the promotion",
        lambda: http.get("/health/ready").json()["generation"] == generation,
        seconds=10,
    )
    body = {"head": {"type": "user", "id": "u1"}, "candidates": COMEDIES[:3]}
    answer = http.post("/v1/score", json=body).json()
    assert answer["ranker"] == ranker["digest"]
    assert all(0 < one["score"] < 1 for one in answer["scores"])


def _shown(running: Service, ranker: str, certificate: Mapping[str, Any]) -> None:
    """The command line shows the same certificate."""
    said = nursery().call(
        *("certificate", ranker, "--json"),
        environment=running.environment,
        folder=running.folder,
    )
    assert said.returncode == 0, said.stderr
    assert orjson.loads(said.stdout) == certificate
