"""A long random life of a real service, watched by an oracle.

Takes a seed, a database and how long; starts server and worker, does random operations, kills both
now and then, and compares all that can be read with the oracle. The same seed does the same
operations. Every line of the operation log is written before what it says is done.
"""

import json
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from nursery import kill, nursery
from oracle import Oracle
from running import Service, eventually, service
from world import SCHEMA, World

TINY = {
    "GRAPHSVC_TRANSRA__EPOCHS": "1",
    "GRAPHSVC_TRANSRA__NEGATIVES": "8",
    "GRAPHSVC_RANKER__TRAINING__EPOCHS": "1",
}
#: Within which a server follows a promotion or the log; a busy machine is given time.
FOLLOW_SECONDS = 20.0
JOB_SECONDS = 180.0


@dataclass
class Summary:
    """What happened in one life."""

    seed: int
    operations: int = 0
    kills: int = 0
    events: int = 0
    seconds: float = 0.0
    mix: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        mix = ", ".join(f"{name} {n}" for name, n in sorted(self.mix.items()))
        verdicts = ", ".join(f"{name} {n}" for name, n in sorted(self.verdicts.items()))
        return (
            f"model seed {self.seed}: {self.operations} operations, {self.kills} kills, "
            f"{self.events} events in {self.seconds:.0f} s\n  {mix}\n  verdicts: {verdicts}"
        )

    def as_json(self) -> dict[str, Any]:
        # Not asdict, which would count a counter's pairs.
        return vars(self) | {"mix": dict(self.mix), "verdicts": dict(self.verdicts)}


@dataclass
class Life:
    """One service, its oracle, and the operations on both."""

    running: Service
    oracle: Oracle
    chance: Random
    summary: Summary
    log: Path
    world: World = field(init=False)
    http: httpx.Client = field(init=False)
    pids: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    #: ranker or index -> its bundle
    trios: dict[str, str] = field(default_factory=dict)
    relations: list[str] = field(default_factory=list)
    #: Requests that were answered under a key of their own.
    keyed: list[Any] = field(default_factory=list)
    #: How long a post of many events took, lately.
    many_seconds: float = 0.2
    #: What was live at the end.
    generation: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.chance, int(time.time()))
        self.http = self.running.client()

    # Processes

    def start(self, verb: str) -> None:
        child = nursery().start(
            verb,
            environment=self.running.environment,
            folder=self.running.folder,
            log=self.running.folder / f"{verb}.log",
        )
        self.pids[verb] = child.pid
        if verb == "serve":
            self.running.wait_ready()

    def die(self, verb: str) -> None:
        """SIGKILL."""
        self.note(f"kill {verb}")
        kill(self.pids.pop(verb))
        self.summary.kills += 1
        if verb == "serve":
            self.http.close()
            self.http = self.running.client()

    def note(self, what: str, **more: Any) -> None:
        with self.log.open("a") as log:
            told = {"n": self.summary.operations, "at": round(time.time(), 3), "what": what}
            log.write(json.dumps(told | more) + "\n")

    # Talking

    def ask(self, method: str, path: str, *, well: tuple[int, ...] = (200,), **more: Any) -> Any:
        """The answer to a request; anything but what was expected is a failure."""
        answer = self.http.request(method, path, **more)
        assert answer.status_code in well, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def post(self, events: list[dict[str, Any]], *, backfill: bool = False) -> None:
        """Post events, and compare every verdict."""
        self.note("post", events=events, backfill=backfill)
        expected = self.oracle.post(events, now=int(time.time()), backfill=backfill)
        answer = self.ask(
            "POST", "/v1/events", json={"events": events}, params={"backfill": backfill}
        )
        self.compare(events, verdicts_of(answer), expected)

    def compare(self, events: list[Any], found: list[str], expected: list[str]) -> None:
        self.summary.verdicts.update(found)
        self.summary.events += len(events)
        wrong = [
            f"{event}: {one}, expected {other}"
            for event, one, other in zip(events, found, expected, strict=True)
            if one != other
        ]
        assert not wrong, "\n".join(wrong)

    def settle(self, events: list[dict[str, Any]], answer: httpx.Response | None) -> None:
        """Take into the oracle what the service did with a post during which it was killed.

        What was acknowledged has to be there. What was not may be there or not: sending it again
        says which, and then it is there.
        """
        now = int(time.time())
        if answer is not None:
            self.compare(events, verdicts_of(answer.json()), self.oracle.post(events, now=now))
            self.summary.mix["killed, acknowledged"] += 1
        kept, lost = self.oracle.fork(), self.oracle
        if answer is None:
            kept.post(events, now=now)
        again = [kept.post(events, now=now), lost.post(events, now=now)]
        found = verdicts_of(self.ask("POST", "/v1/events", json={"events": events}))
        assert found in again, f"a batch is there in part: {found}"
        self.oracle = kept if found == again[0] else lost
        if answer is None:
            self.summary.mix["killed, kept" if found == again[0] else "killed, not kept"] += 1

    def wait_generation(self, least: int) -> None:
        """Wait until the server follows a promotion."""

        def followed() -> bool:
            return bool(self.ask("GET", "/health/ready")["generation"] >= least)

        eventually(f"generation {least}", followed, seconds=FOLLOW_SECONDS)

    # What can be read

    def check_trio(self, answer: Mapping[str, Any]) -> None:
        """Bundle, index and ranker of an answer are of one lineage."""
        ranker, index = answer["ranker"], answer["index"]
        for digest in (ranker, index):
            if digest not in self.trios:
                parents = self.ask("GET", f"/v1/artifacts/{digest}")["parents"]
                self.trios[digest] = parents["bundle"]
        assert self.trios[ranker] == self.trios[index] == answer["bundle"], answer

    def check(self, *, entities: int) -> None:
        """Compare counts, and some entities whole, with the oracle."""
        self.note("check", entities=entities)
        found = self.ask("GET", "/v1/graph")
        types = Counter(name.partition("/")[0] for name in self.oracle.named)
        assert found["entities"] == dict(types)
        assert found["events"] == dict(Counter(event.name for event in self.oracle.log))
        assert found["edges"] == dict(Counter(name[1] for name in self.oracle.edges()))
        names = sorted(self.oracle.named)
        for name in self.chance.sample(names, min(entities, len(names))):
            self.check_entity(name)
            self.check_edges(name)
        known = {job["id"] for job in self.ask("GET", "/v1/jobs", params={"limit": 100})["items"]}
        assert set(list(self.jobs)[-50:]) <= known, "a job is lost"

    def check_entity(self, name: str) -> None:
        found = self.ask("GET", f"/v1/entities/{name}")
        one = self.oracle.canonical().get(name, name)
        assert f"{found['type']}/{found['id']}" == one
        counters = {what: n for (end, what), n in self.oracle.counters().items() if end == one}
        assert found["counters"] == counters, name
        written = self.oracle.attributes().items()
        values = {what: value for (end, what), (*_, value) in written if end == one}
        assert found["attributes"] == {k: v for k, v in values.items() if v is not None}, name
        assert found["retired"] == self.oracle.lives().get(one, (False, 0))[0], name

    def check_edges(self, name: str) -> None:
        one = self.oracle.canonical().get(name, name)
        found, cursor = [], None
        while True:
            params = {"limit": 50} | ({"cursor": cursor} if cursor else {})
            page = self.ask("GET", f"/v1/entities/{name}/edges", params=params)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        seen, weights = {}, {}
        for edge in found:
            other = f"{edge['other']['type']}/{edge['other']['id']}"
            ends = (one, other) if edge["direction"] == "out" else (other, one)
            pair = ends[0], edge["relation"], ends[1]
            seen[pair] = edge["count"], edge["first_time"], edge["last_time"]
            weights[pair] = edge["weight"]
        expected = self.oracle.edges(one)
        assert seen == {pair: edge[:3] for pair, edge in expected.items()}, name
        now = time.time()
        assert weights == pytest.approx(
            {pair: self.oracle.weight(pair[1], edge, now) for pair, edge in expected.items()},
            rel=1e-4,
        )


def verdicts_of(answer: Mapping[str, Any]) -> list[str]:
    return [verdict.get("code") or verdict["status"] for verdict in answer["verdicts"]]


@contextmanager
def life(folder: Path, url: str, seed: int) -> Any:
    """A service that was born just now, with enough in it to train on."""
    (folder / "world.toml").write_text(SCHEMA)
    schema = {"GRAPHSVC_SCHEMA": str(folder / "world.toml")}
    with service(folder, url, **TINY, **schema) as running:
        log = folder / "operations.jsonl"
        made = Life(running, Oracle({}), Random(seed), Summary(seed), log)
        try:
            made.start("serve")
            made.start("worker")
            made.oracle.document = made.ask("GET", "/v1/schema")["document"]
            made.post(made.world.history())
            yield made
        finally:
            made.http.close()
            for pid in made.pids.values():
                kill(pid, signal.SIGTERM)
