"""The operations of a random life, how often each is done, and the life itself.

Takes a seed and how many operations and kills, gives what happened; a failure names the seed and
the operation log. Each operation has a source of chance of its own, made of seed and number. Every
kind of operation is done at least once, in the later two thirds, when there is something to do it
to.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
from compare import of_database, of_oracle
from crowd import crowd, kill_in_a_crowd
from erased import erase
from keyed import keyed
from model import FOLLOW_SECONDS, JOB_SECONDS, Life, Summary, life, verdicts_of
from oracle import Said
from running import eventually
from sqlalchemy import select
from world import ITEMS, USERS

from graphsvc.db import Connection, Database
from graphsvc.ingest import rebuild
from graphsvc.schema import parse_schema
from graphsvc.tables import artifacts, promotions

KINDS_OF_KILL = (
    "server",
    "server in a post",
    "worker",
    "server in a crowd",
    "server in a post",
    "worker in a job",
)
MOST_RELATIONS = 6
MANY = 150


def play(
    folder: Path, url: str, *, seed: int, operations: int, kills: int, retrains: int
) -> Summary:
    """Live once; raises `AssertionError` with the seed where the service and the oracle differ."""
    began = time.monotonic()
    killed = {(n + 1) * operations // (kills + 1) for n in range(kills)}
    retrained = {int((n + 0.2) * operations / retrains) for n in range(retrains)} - killed
    sure = _sure(seed, operations, killed | retrained)
    with life(folder, url, seed) as alive:
        try:
            for number in range(1, operations + 1):
                alive.summary.operations = number
                alive.chance.seed(f"{seed}/{number}")
                if number in killed:
                    _kill(alive)
                elif number in retrained:
                    _do(alive, retrain)
                else:
                    [drawn] = alive.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
                    _do(alive, sure.get(number, drawn))
            _end(alive)
        except BaseException as error:
            error.add_note(
                f"model seed {seed}, operation {alive.summary.operations} of {operations}; "
                f"operation log: {alive.log}"
            )
            raise
        summary: Summary = alive.summary
        settings = alive.running.environment
    _offline(settings["GRAPHSVC_DATABASE_URL"] or f"sqlite:///{folder}/data/graph.sqlite", alive)
    summary.seconds = time.monotonic() - began
    return summary


def _sure(seed: int, operations: int, taken: set[int]) -> dict[int, Callable[[Life], None]]:
    """One operation of each kind, and when it is due, whatever is drawn."""
    free = [n for n in range(operations // 3, operations + 1) if n not in taken]
    order = list(_WEIGHTS)
    Random(f"{seed}/sure").shuffle(order)
    order.sort(key=lambda operation: operation is promote)  # last: it needs what was trained
    return {free[place * len(free) // len(order)]: one for place, one in enumerate(order)}


def name_of(operation: Callable[[Life], None]) -> str:
    """What an operation is called in a life's mix."""
    return operation.__name__.replace("_", " ")


def _do(alive: Life, operation: Callable[[Life], None]) -> None:
    name = name_of(operation)
    alive.summary.mix[name] += 1
    alive.note(name)
    operation(alive)


# What applications do


def ingest(alive: Life) -> None:
    size = alive.chance.randint(1, 8)
    backfill = alive.chance.random() < 0.1
    alive.post(alive.world.batch(int(time.time()), size), backfill=backfill)


def ingest_many(alive: Life) -> None:
    began = time.monotonic()
    alive.post(alive.world.batch(int(time.time()), MANY))
    alive.many_seconds = time.monotonic() - began


def stream(alive: Life) -> None:
    """The same by NDJSON."""
    events = alive.world.batch(int(time.time()), alive.chance.randint(1, 30))
    alive.note("lines", events=events)
    expected = alive.oracle.post(events, now=int(time.time()))
    body = "".join(f"{json.dumps(event)}\n" for event in events)
    answer = alive.http.post("/v1/events/bulk", content=body)
    assert answer.status_code == 200, answer.text
    *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert last["summary"]["complete"], last
    alive.compare(events, verdicts_of({"verdicts": lines}), expected)


def put_attributes(alive: Life) -> None:
    # Who was erased is for `ingest`, which dates what it says.
    user = alive.chance.choice([one for one in USERS if f"user/{one}" not in alive.oracle.erased])
    values = {"age": alive.chance.choice([17, 30, 60.5, None])}
    alive.ask("PUT", f"/v1/entities/user/{user}", json={"attributes": values})
    [said] = alive.ask("GET", f"/v1/entities/user/{user}/history", params={"limit": 1})["items"]
    assert said["attributes"] == values, "what was put is the last word"
    _say(alive, "set_attributes", said["event_id"], said["event_time"], f"user/{user}", values)


def retire_or_restore(alive: Life) -> None:
    item = alive.chance.choice(ITEMS)
    known = f"item/{item}" in alive.oracle.named
    one = alive.oracle.canonical().get(f"item/{item}", f"item/{item}")
    was = alive.oracle.lives().get(one, (False, 0))[0]
    retire = alive.chance.random() < 0.5
    method, path = ("DELETE", "") if retire else ("POST", "/restore")
    well = (200,) if known else (404,)
    alive.ask(method, f"/v1/entities/item/{item}{path}", well=well)
    if known and was != retire:
        name = "retire" if retire else "restore"
        told = f"route-{alive.summary.operations}"
        past = alive.ask("GET", f"/v1/entities/item/{item}/history", params={"limit": 1000})
        moment = next(one["event_time"] for one in past["items"] if one["event_name"] == name)
        found = alive.ask("GET", f"/v1/entities/item/{item}")
        assert found["retired_time"] == (moment if retire else None)
        _say(alive, name, told, moment, f"item/{item}", None)


def _say(alive: Life, *said: Any) -> None:
    name, event_id, moment, actor, properties = said
    alive.oracle.log.append(
        Said(name, event_id, moment, "structure", actor, None, None, properties)
    )
    alive.oracle.named.add(actor)


def add_relation(alive: Life) -> None:
    if len(alive.relations) >= MOST_RELATIONS:
        return
    name = f"r{alive.summary.operations}"
    document = json.loads(json.dumps(alive.oracle.document))
    document["relations"][name] = {"head": "user", "tail": "item", "source": "onsite"}
    changed = alive.ask("PUT", "/v1/schema", json=document)
    alive.oracle.document = changed["document"]
    alive.relations.append(name)
    if alive.chance.random() < 0.4:
        ends = alive.chance.choice(USERS), alive.chance.choice(ITEMS)
        now = int(time.time())
        alive.post([alive.world.named(name, now - 40, *ends) | {"action_source": "onsite"}])


def remove_relation(alive: Life) -> None:
    if not alive.relations:
        return
    name = alive.chance.choice(alive.relations)
    document = json.loads(json.dumps(alive.oracle.document))
    del document["relations"][name]
    stored = any(name in (event.name, event.relation) for event in alive.oracle.log)
    answer = alive.ask("PUT", "/v1/schema", json=document, well=(409,) if stored else (200,))
    if not stored:
        alive.oracle.document = answer["document"]
        alive.relations.remove(name)


def read_entity(alive: Life) -> None:
    alive.check_entity(alive.chance.choice(sorted(alive.oracle.named)))


def read_edges(alive: Life) -> None:
    alive.check_edges(alive.chance.choice(sorted(alive.oracle.named)))


def read_counts(alive: Life) -> None:
    alive.check(entities=0)


# What is computed


def score(alive: Life) -> None:
    head = {"type": "user", "id": alive.chance.choice(USERS)}
    body = {"head": head, "candidates": ITEMS}
    answer = alive.ask("POST", "/v1/score", json=body, well=(200, 409))
    if "bundle" in answer:
        alive.check_trio(answer)
        one, lives = alive.oracle.canonical(), alive.oracle.lives()
        gone = {i for i in ITEMS if f"item/{i}" in one or lives.get(f"item/{i}", (False,))[0]}
        assert {left["id"] for left in answer["left_out"]} == gone
        assert {scored["id"] for scored in answer["scores"]} == set(ITEMS) - gone


def neighbors(alive: Life) -> None:
    item = alive.chance.choice(ITEMS)
    path = f"/v1/entities/item/{item}/neighbors"
    answer = alive.ask("GET", path, params={"k": 20}, well=(200, 404, 409, 410))
    if "bundle" in answer:
        alive.check_trio(answer)


def newcomer(alive: Life) -> None:
    """Somebody new is scored from the edges that they have, as soon as the server has read them."""
    user, now = f"n{alive.summary.operations}", int(time.time())
    alive.post([alive.world.named("click", now - 45, user, item) for item in ITEMS[:3]])
    edges = len(alive.oracle.edges(f"user/{user}"))
    body = {"head": {"type": "user", "id": user}, "candidates": ITEMS}
    if "bundle" not in alive.ask("POST", "/v1/score", json=body, well=(200, 409)):
        return

    def is_cold() -> bool:
        found = alive.ask("POST", "/v1/score", json=body)
        known = {scored["id"] for scored in found["scores"] if scored["known"]}
        # Edges to what training never saw tell nothing; of what is retired it may have seen some.
        least = edges - len(set(ITEMS[:3]) - known)
        # A promotion of a trio that has learned them may come between.
        return found["state"] == "learned" or least <= found["folded_edges"] <= edges

    eventually(f"{user} is cold with {edges} edges", is_cold, seconds=FOLLOW_SECONDS)


def retrain(alive: Life) -> None:
    body = {"arms": ["none"], "seed": alive.summary.operations, "promote": True}
    job = alive.ask("POST", "/v1/retrains", json=body, well=(202,))["job"]
    alive.jobs[job] = "asked"


def promote(alive: Life) -> None:
    """Promote any ranker: forwards, or back."""
    params = {"kind": "ranker", "limit": 100}
    rankers = alive.ask("GET", "/v1/artifacts", params=params)["items"]
    if not rankers:
        return
    ranker = alive.chance.choice(sorted(item["digest"] for item in rankers))
    given = alive.ask("POST", f"/v1/artifacts/{ranker}/promote", json={"reason": "model"})
    alive.wait_generation(given["generation"])


def cancel_or_resume(alive: Life) -> None:
    if not alive.jobs:
        return
    job = alive.chance.choice(list(alive.jobs))
    if alive.jobs[job] == "cancelled":
        alive.ask("POST", f"/v1/jobs/{job}/resume", well=(202,))
        alive.jobs[job] = "asked"
        return
    answer = alive.ask("POST", f"/v1/jobs/{job}/cancel", well=(200, 409))
    if answer.get("state") == "cancelled":
        alive.jobs[job] = "cancelled"


_WEIGHTS: dict[Callable[[Life], None], float] = {
    ingest: 40,
    ingest_many: 2,
    crowd: 3,
    stream: 6,
    keyed: 4,
    put_attributes: 4,
    retire_or_restore: 4,
    add_relation: 2,
    remove_relation: 2,
    read_entity: 12,
    read_edges: 12,
    read_counts: 4,
    score: 6,
    neighbors: 4,
    newcomer: 1,
    erase: 1,
    promote: 1,
    cancel_or_resume: 1,
}


#: What a retrain says of a span from which nothing can be learned.
_TOO_LITTLE = "span should hold rows with and without outcome"
#: All that a life's mix has at least once.
KINDS = frozenset(
    {name_of(operation) for operation in [*_WEIGHTS, retrain]}
    | {f"kill {kind}" for kind in KINDS_OF_KILL}
)


def _kill(alive: Life) -> None:
    kind = KINDS_OF_KILL[alive.summary.kills % len(KINDS_OF_KILL)]
    alive.summary.mix[f"kill {kind}"] += 1
    if kind.startswith("worker"):
        if kind == "worker in a job":
            _do(alive, retrain)
            time.sleep(alive.chance.uniform(0.0, 1.5))
        alive.die("worker")
        alive.start("worker")
    elif kind == "server":
        alive.die("serve")
        alive.start("serve")
    elif kind == "server in a crowd":
        kill_in_a_crowd(alive)
    else:
        _kill_in_a_post(alive)
    alive.check(entities=3)


def _kill_in_a_post(alive: Life) -> None:
    events = alive.world.batch(int(time.time()), MANY)
    alive.note("post, and kill", events=events)
    came: list[httpx.Response] = []

    def post() -> None:
        with alive.running.client() as http:
            try:
                came.append(http.post("/v1/events", json={"events": events}))
            except httpx.TransportError:
                return

    posting = threading.Thread(target=post)
    posting.start()
    time.sleep(alive.chance.uniform(0.0, 1.5) * alive.many_seconds)
    alive.die("serve")
    posting.join()
    alive.start("serve")
    alive.settle(events, came[0] if came else None)


def _end(alive: Life) -> None:
    """Every job ends as it should, and all that can be read is what the oracle says.

    A random log may leave a short span without a single outcome: such a retrain is refused.
    """
    for job, state in alive.jobs.items():
        if state == "cancelled":
            alive.ask("POST", f"/v1/jobs/{job}/resume", well=(202,))

    def all_done() -> bool:
        found = [alive.ask("GET", f"/v1/jobs/{job}") for job in alive.jobs]
        failed = [job["error"] for job in found if job["state"] in ("failed", "cancelled")]
        refused = [error for error in failed if error and _TOO_LITTLE in error]
        assert failed == refused, failed
        done = [job for job in found if job["state"] == "done"]
        return bool(done) and len(done) + len(refused) == len(found)

    eventually("all jobs are done", all_done, seconds=JOB_SECONDS)
    alive.check(entities=10_000)
    last = alive.ask("GET", "/v1/promotions", params={"limit": 1})["items"]
    alive.wait_generation(last[0]["generation"] if last else 0)
    score(alive)
    alive.generation = alive.ask("GET", "/health/ready")["generation"]


def _offline(url: str, alive: Life) -> None:
    """The tables are the oracle's, and those of a replay of the log; every trio is of one line."""
    database = Database(url)
    try:
        expected = of_oracle(alive.oracle)
        assert of_database(database) == expected
        with database.reading() as connection:
            _check_promotions(connection, alive.generation)
        with database.transaction() as connection:
            rebuild(connection, parse_schema(alive.oracle.document))
        assert of_database(database) == expected
    finally:
        database.dispose()


def _check_promotions(connection: Connection, generation: int) -> None:
    rows = list(connection.execute(select(promotions).order_by(promotions.c.generation)))
    parents = {
        row.digest: json.loads(row.parents)["bundle"]
        for row in connection.execute(select(artifacts))
        if row.kind in ("index", "ranker")
    }
    assert [row.generation for row in rows] == list(range(1, generation + 1))
    for row in rows:
        assert parents[row.index] == parents[row.ranker] == row.bundle
