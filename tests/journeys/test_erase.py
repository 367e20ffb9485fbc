"""A person is erased while a server answers: from every table, artifact and byte, for good."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forgotten
import httpx
import orjson
import pytest
from forgotten import PATH, REF, said
from nursery import nursery
from planted import COMEDIES, START, click, planted_events
from running import Service, eventually, post_all, service, wait_job

RETRAIN = {"arms": ["frozen", "attention"], "seed": 1}


@contextmanager
def asking(running: Service) -> Iterator[list[httpx.Response]]:
    """Somebody asks all the while, for scores and for neighbors; what is not answered well."""
    failed: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        with running.client() as http:
            for n in itertools.count():
                if stop.is_set():
                    return
                head = {"type": "user", "id": ("u1", "u7", "nobody")[n % 3]}
                asked = [
                    http.post("/v1/score", json={"head": head, "candidates": COMEDIES}),
                    http.get("/v1/entities/film/c1/neighbors?k=5"),
                ]
                failed.extend(one for one in asked if one.status_code != httpx.codes.OK)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield failed
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.slow_as("postgresql")
def test_nothing_is_left_of_somebody_who_was_erased(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url, GRAPHSVC_TRANSRA__EPOCHS="2") as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            trained = live_and_asked(http)
            held = forgotten.places(tmp_path / "data")
            assert {Path(one).suffix for one in held} >= {".parquet", ".json"}
            before = near(http)

            with asking(running) as failed:
                asked = http.delete(PATH)
                assert asked.status_code == httpx.codes.ACCEPTED, asked.text
                done = wait_job(http, asked.json()["job"])["result"]
                eventually("it is live", lambda: served(http) != trained, seconds=10)
            assert failed == []
            assert done["erasures"] == [asked.json()["erasure"]]

            told = http.get(f"/v1/erasures/{asked.json()['erasure']}").json()
            assert (told["state"], told["certificate"]) == ("done", done["certificate"])
            assert told["removed"]["events"] == 61
            certificate = http.get(f"/v1/artifacts/{done['certificate']}").json()["payload"]
            assert [one for one in certificate["checks"] if not one["ok"]] == []
            kinds = {one["kind"] for one in certificate["artifacts"]}
            assert kinds >= {"snapshot", "bundle", "index", "ranker", "report", "map"}

            assert http.get(PATH).status_code == httpx.codes.NOT_FOUND
            assert near(http) == before  # everybody else is where they were
            assert "" not in completing(http), "nobody is named where they were"
            assert forgotten.places(tmp_path / "data") == []
            assert (
                http.get(f"/v1/artifacts/{trained['ranker']}").json()["digest"]
                == (served(http)["ranker"])
            )
            verified(running, told["erasure"])
            in_words(running, told)
            comes_back_by_agreeing(http)
            verified(running, told["erasure"])


def test_somebody_whom_no_artifact_knows_is_gone_from_servers_too(tmp_path: Path) -> None:
    """They came after the training, and were folded in: nothing is promoted, and they go."""
    with service(tmp_path, GRAPHSVC_TRANSRA__EPOCHS="2") as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            post_all(http, planted_events())
            wait_job(http, http.post("/v1/retrains", json=RETRAIN).json()["job"])
            eventually("it is live", lambda: served(http), seconds=20)
            for who in ("newcomer", REF["id"]):
                clicks = [click(who, f"c{n}", START + 90_000 + n, f"{who}-{n}") for n in range(3)]
                post_all(http, clicks)
            eventually("both are near", lambda: people(http) >= {"newcomer", REF["id"]}, seconds=10)
            done = wait_job(http, http.delete(PATH).json()["job"])["result"]
            assert done["generation"] is None
            eventually("they are gone", lambda: REF["id"] not in people(http), seconds=10)
            eventually("others are back", lambda: "newcomer" in people(http), seconds=10)
            assert forgotten.places(tmp_path / "data") == []


def completing(http: httpx.Client) -> list[str]:
    """Everybody who may have clicked a film, by the model's own score: all rows are compared."""
    asked = "/v1/entities/film/c1/neighbors?k=100&type=user&relation=click&explain=true"
    found = http.get(asked.replace("k=100", "k=50")).json()
    assert len(found["items"]) == 50
    anchors = [
        one["anchor"]["id"] for item in found["items"] for one in item["explanation"]["anchors"]
    ]
    found = http.get(asked.replace("&explain=true", "")).json()
    return [*(item["id"] for item in found["items"]), *anchors]


def people(http: httpx.Client) -> set[str]:
    """Everybody who is near a film, the nearest or not."""
    found = http.get("/v1/entities/film/c1/neighbors?k=100&type=user").json()
    return {item["id"] for item in found["items"]}


def live_and_asked(http: httpx.Client) -> dict[str, str]:
    """A world with them in it, trained and live, in which they were answered."""
    post_all(http, forgotten.events())
    wait_job(http, http.post("/v1/retrains", json=RETRAIN).json()["job"])
    trained = eventually("it is live", lambda: served(http), seconds=20)
    about = {"head": REF, "candidates": COMEDIES}
    keyed = {"Idempotency-Key": "once"}
    found = http.post("/v1/score", json=about, headers=keyed)
    assert found.json()["state"] == "learned", found.text
    http.post("/v1/neighbors", json={"queries": [{"entity": REF, "k": 3}]}, headers=keyed)
    answers = "/v1/answers?head_type=user&head_id=forgotten-5f3a%40example.org"
    eventually("the answer is kept", lambda: http.get(answers).json()["items"], seconds=5)
    return trained


def served(http: httpx.Client) -> dict[str, str] | None:
    found = http.post(
        "/v1/score", json={"head": {"type": "user", "id": "u1"}, "candidates": ["c1"]}
    )
    if found.status_code != httpx.codes.OK:
        return None
    return {name: found.json()[name] for name in ("bundle", "index", "ranker")}


def near(http: httpx.Client) -> list[Any]:
    found = http.get("/v1/entities/film/c1/neighbors?k=15").json()
    return [(item["id"], item["distance"]) for item in found["items"]]


def verified(running: Service, erasure: int) -> None:
    found = nursery().call(
        "erase",
        "--verify",
        str(erasure),
        "--json",
        environment=running.environment,
        folder=running.folder,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert orjson.loads(found.stdout)["ok"]


def in_words(running: Service, told: dict[str, Any]) -> None:
    """The certificate as people read it."""
    found = nursery().call(
        *("erase", "--certificate", str(told["erasure"])),
        environment=running.environment,
        folder=running.folder,
    )
    said = found.stdout.decode()
    assert f"certificate {told['certificate']} of erasure {told['erasure']}" in said
    assert f"subject {told['subject']}" in said
    assert "rows removed: " in said
    assert "of which 0 failed" in said
    assert "keyed digests of type and id" in said


def comes_back_by_agreeing(http: httpx.Client) -> None:
    """Late events are refused; so is everything of before they agree again."""
    late = click(REF["id"], "c1", START + 50_000, "too-late")
    assert verdict(http, late) == ("rejected", "erased")
    assert verdict(http, said("opt-in-of-then", "opt_in", time=START)) == ("rejected", "erased")
    now = int(time.time())
    assert verdict(http, said("agrees", "opt_in", time=now + 1)) == ("accepted", None)
    assert verdict(http, late) == ("rejected", "erased")
    assert verdict(http, click(REF["id"], "c1", now + 5, "anew")) == ("accepted", None)
    assert http.get(PATH).json()["counters"] == {"click": 1, "opt_in": 1}


def verdict(http: httpx.Client, event: dict[str, Any]) -> tuple[str, str | None]:
    answer = http.post("/v1/events?backfill=true", json={"events": [event]}).json()
    [one] = answer["verdicts"]
    return one["status"], one.get("code")
