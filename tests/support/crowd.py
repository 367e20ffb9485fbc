"""Several clients at once: their batches share commits, and each is what it would be alone.

Takes a life, posts a batch per client at the same moment. Every client speaks for a user of its own
and nobody says anything of consent or merging, so the verdicts do not depend on who was first.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from model import Life, verdicts_of
from world import ITEMS, USERS

CLIENTS = 6
_NAMES = ("click", "click", "impression", "hide", "buy")


def crowd(alive: Life) -> None:
    """All are answered, each as the oracle says."""
    batches = _batches(alive)
    now = int(time.time())
    expected = [alive.oracle.post(events, now=now) for events in batches]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda events: _post(alive, events), batches))
    for events, answer, verdicts in zip(batches, answers, expected, strict=True):
        assert answer is not None
        assert answer.status_code == 200, answer.text
        alive.compare(events, verdicts_of(answer.json()), verdicts)


def kill_in_a_crowd(alive: Life) -> None:
    """Each batch is there whole or not at all, whatever became of those beside it."""
    batches = _batches(alive)
    answers: list[httpx.Response | None] = [None] * CLIENTS

    def post(n: int) -> None:
        answers[n] = _post(alive, batches[n])

    posting = [threading.Thread(target=post, args=(n,)) for n in range(CLIENTS)]
    for one in posting:
        one.start()
    time.sleep(alive.chance.uniform(0.0, 0.1))
    alive.die("serve")
    for one in posting:
        one.join()
    alive.start("serve")
    for events, answer in zip(batches, answers, strict=True):
        alive.settle(events, answer)


def _batches(alive: Life) -> list[list[dict[str, Any]]]:
    batches = [_batch(alive, user) for user in alive.chance.sample(USERS, CLIENTS)]
    alive.note("crowd", batches=batches)
    return batches


def _batch(alive: Life, user: str) -> list[dict[str, Any]]:
    """New events, one of them taken back, one repeated and one contradicted."""
    chance, now = alive.chance, int(time.time())
    events = [
        alive.world.named(chance.choice(_NAMES), now - chance.randint(60, 9_000), user, item)
        for item in chance.choices(ITEMS, k=chance.randint(3, 40))
    ]
    taken_back = alive.world.named("click", now - 50, user, events[0]["object"]["id"])
    taken_back |= {"event_name": "retract", "relation": "click"}
    contradicted = events[1] | {"event_time": now - 10_000}
    return [*events, taken_back, events[2], contradicted]


def _post(alive: Life, events: list[dict[str, Any]]) -> httpx.Response | None:
    """The answer; None if the server died before there was one."""
    with alive.running.client() as http:
        try:
            return http.post("/v1/events", json={"events": events})
        except httpx.TransportError:
            return None
