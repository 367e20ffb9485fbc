"""The schema over HTTP, and every process following it: nothing is taken under an old version."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

import httpx
import pytest
from nursery import nursery
from running import eventually, free_port

from api.gathering import Gathering
from api.intake import Intake
from api.rates import RateConfig
from api.schemas import TRIES, Schemas
from api.settings import Settings
from api.setup import prepare
from graphsvc.db import Database
from graphsvc.errors import SchemaOutdated
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema, to_document

PROMISED_SECONDS = 1.0


@dataclass
class Two:
    """Two servers over one database."""

    settings: Settings
    first: httpx.Client
    second: httpx.Client


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path, serving) -> Iterator[Two]:
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create()
    ours = {"data_dir": tmp_path / "data", "database_url": url}
    often = RateConfig(admin=0.0)
    settings = [Settings(**ours, rates=often, port=free_port()) for _ in range(2)]
    key = prepare(settings[0])
    with serving(settings[0]) as first, serving(settings[1]) as second:
        for http in (first, second):
            http.headers["Authorization"] = f"Bearer {key}"
        yield Two(settings[0], first, second)


def wink(number: int) -> dict[str, Any]:
    return {
        "event_id": f"w{number}",
        "event_name": "wink",
        "event_time": int(time()),
        "action_source": "onsite",
        "actor": {"type": "user", "id": "u1"},
        "object": {"type": "ad", "id": "a1"},
    }


def with_wink() -> dict[str, Any]:
    document = to_document(load_schema("ads"))
    document["relations"]["wink"] = {"head": "user", "tail": "ad", "source": "onsite"}
    document["entities"]["place"] = {}
    return document


def test_it_is_shown_changed_and_guarded(two: Two, problem) -> None:
    http = two.first
    shown = http.get("/v1/schema")
    assert shown.json() == {"version": 1, "document": to_document(load_schema("ads"))}
    assert shown.headers["ETag"] == '"1"'
    again = http.put("/v1/schema", json=shown.json())
    assert (again.status_code, again.json()["version"]) == (200, 1), "what was shown is no change"
    same = http.get("/v1/schema", headers={"If-None-Match": '"0", W/"1"'})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", '"1"')
    stale = http.put("/v1/schema", json=with_wink(), headers={"If-Match": '"7"'})
    assert "version 1" in problem(stale, 412)["detail"]
    changed = http.put("/v1/schema", json=with_wink(), headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert changed.headers["ETag"] == '"2"'
    assert (changed.json()["version"], changed.json()["replayed_events"]) == (2, 0)
    assert changed.json()["document"]["relations"]["wink"]["half_life_days"] == 14
    again = http.put("/v1/schema", json=changed.json()["document"], headers={"If-Match": "*"})
    assert again.json()["version"] == 2, "the same makes no version"
    refused = problem(http.put("/v1/schema", json={"name": 3}), 422)
    assert "name should be" in refused["detail"]
    for header in ("1", '"1', "nothing"):
        problem(http.put("/v1/schema", json=with_wink(), headers={"If-Match": header}), 422)


def test_a_change_that_orphans_is_refused_with_counts(two: Two, problem) -> None:
    two.first.put("/v1/schema", json=with_wink())
    posted = two.first.post("/v1/events", json={"events": [wink(1), wink(2)]})
    assert posted.json()["accepted"] == 2, posted.text
    refused = problem(two.first.put("/v1/schema", json=to_document(load_schema("ads"))), 409)
    assert refused["errors"] == [
        {
            "field": "relations.wink",
            "expected": "kept while such events are stored",
            "events": 2,
            "edges": 1,
        }
    ]
    assert "relations.wink (2 events, 1 edges)" in refused["detail"]


def test_the_other_server_follows_within_a_second(two: Two) -> None:
    changed = two.first.put("/v1/schema", json=with_wink())
    assert changed.status_code == 200, changed.text
    began = monotonic()
    eventually(
        "the other knows the new version",
        lambda: two.second.get("/v1/graph").json()["schema_version"] == 2,
        seconds=5,
    )
    assert monotonic() - began < PROMISED_SECONDS
    assert two.second.get("/v1/entities/place").json() == {"items": [], "next": None}
    # Whoever writes asks the log which version holds, and need not wait.
    document = with_wink()
    document["relations"]["nudge"] = document["relations"]["wink"]
    two.first.put("/v1/schema", json=document)
    nudge = wink(1) | {"event_name": "nudge"}
    assert two.second.post("/v1/events", json={"events": [nudge]}).json()["accepted"] == 1


def test_an_outdated_server_reads_the_schema_and_repeats(two: Two) -> None:
    two.first.put("/v1/schema", json=with_wink())
    eventually(
        "the other follows",
        lambda: two.second.post("/v1/events", json={"events": [wink(1)]}).json()["rejected"] == 0,
        seconds=5,
    )
    outcomes: list[str] = []
    stop = threading.Event()
    document = with_wink()

    def post() -> None:
        number = 10
        while not stop.is_set():
            number += 1
            answer = two.second.post("/v1/events", json={"events": [wink(number)]})
            outcomes.append(answer.text)

    poster = threading.Thread(target=post)
    poster.start()
    for weight in range(1, 8):  # a version each, while the other posts
        document["relations"]["save"]["weight"] = float(weight + 3)
        answer = two.first.put("/v1/schema", json=document)
        assert answer.status_code == 200, answer.text
    stop.set()
    poster.join()
    assert outcomes
    assert all('"accepted":1' in one for one in outcomes), set(outcomes)


def test_a_process_that_missed_a_change_is_stopped_by_the_log(two: Two) -> None:
    database = Database(two.settings.graph_url)
    schemas = Schemas(database)  # nobody polls for it
    assert schemas.present.version == 1
    two.first.put("/v1/schema", json=with_wink())
    assert schemas.present.version == 1

    def write(schema) -> str:
        with database.transaction() as connection:
            return ingest(connection, schema, [wink(1)], now=int(time()))[0].status

    assert schemas.under(write) == "accepted"
    assert schemas.present.version == 2
    database.dispose()


class Changing(Schemas):
    """A schema that has changed again by the time it was read, as often as it is told to."""

    def __init__(self, two: Two, database: Database) -> None:
        super().__init__(database)
        self.two, self.often = two, 0

    def refresh(self):
        found = super().refresh()
        if self.often:
            self.often -= 1
            document = with_wink()
            document["relations"]["save"]["weight"] = float(self.often + 4)
            assert self.two.first.put("/v1/schema", json=document).status_code == 200
        return found


def test_a_chunk_is_tried_until_the_schema_holds_still(two: Two) -> None:
    database = Database(two.settings.graph_url)
    changing = Changing(two, database)
    changing.often = 7
    intake = Intake(gathering=Gathering(database), schemas=changing, rules=Rules())
    [(number, verdict)] = intake.append(intake.prepare([(1, wink(1))]))
    assert (number, verdict.status, changing.often) == (1, "accepted", 0)
    two.first.put("/v1/schema", json=with_wink())  # what is known is outdated
    changing.often = TRIES
    with pytest.raises(SchemaOutdated):
        intake.append(intake.prepare([(2, wink(2))]))
    database.dispose()


def test_the_command_line_shows_and_sets_it(two: Two, tmp_path: Path) -> None:
    environment = {
        "GRAPHSVC_DATA_DIR": str(two.settings.data_dir),
        "GRAPHSVC_DATABASE_URL": two.settings.database_url,
        "PATH": "/usr/bin:/bin",
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        done = nursery().call("schema", *arguments, environment=environment, folder=Path.cwd())
        said = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, *said)

    shown = run("--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)["document"]
    assert document == to_document(load_schema("ads"))
    assert "long_click" in run().stdout
    document = with_wink()
    (tmp_path / "next.json").write_text(json.dumps(document))
    done = run("set", str(tmp_path / "next.json"), "--json")
    assert json.loads(done.stdout) == {"version": 2, "replayed_events": 0}
    assert two.first.get("/v1/schema").json()["version"] == 2
    two.first.post("/v1/events", json={"events": [wink(1)]})
    toml = Path("graphsvc/schemas/ads.toml")
    refused = run("set", str(toml))
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: the change would orphan")
    assert "relations.wink (1 events, 1 edges)" in refused.stderr
    (tmp_path / "broken.toml").write_text("[")
    assert "should be TOML" in run("set", str(tmp_path / "broken.toml")).stderr
