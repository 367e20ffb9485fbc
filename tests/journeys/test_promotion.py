"""Promotion, rollback and refusal while two servers answer sixteen clients.

No failed request, no answer that mixes versions, and every server follows. How long that took is
printed and not asserted: here sixteen clients and other tests share two cores with the servers.
"""

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from planted import COMEDIES, planted_events
from running import Service, eventually, free_port, post_all, service, wait_job

CLIENTS = 16
SWAPS = 5
SCORE = {"head": {"type": "user", "id": "u1"}, "candidates": COMEDIES}
RECOMMEND = {"head": {"type": "user", "id": "u1"}, "k": 5, "seen": "in"}


class Seen(NamedTuple):
    """One answer: who gave it, from which trio, and what it said."""

    trio: tuple[str, str, str]
    #: score | neighbors | recommend
    kind: str
    said: tuple[float, ...]
    seconds: float


@pytest.mark.slow_as("postgresql")
def test_trios_are_swapped_whole_in_every_server(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with service(tmp_path, database_url) as running, ExitStack() as stack:
        ports = (running.port, free_port())
        for port in ports:
            running.start("serve", name=f"serve-{port}", GRAPHSVC_PORT=str(port))
        running.start("worker")
        for port in ports:
            running.wait_ready(port)
        servers = [stack.enter_context(running.client(port)) for port in ports]
        http = servers[0]
        post_all(http, planted_events())
        trios = _train(http)
        _follow(servers, generation=2)

        took = []
        with _asking(running, ports) as seen:
            order = itertools.islice(itertools.cycle(trios), SWAPS)
            for generation, ranker in enumerate(order, 3):
                answer = http.post(f"/v1/artifacts/{ranker}/promote", json={"reason": "test"})
                assert answer.json()["generation"] == generation
                took.append(_follow(servers, generation=generation))
                _refuse_mismatch(http, trios, ranker)
        _check(seen, trios)
        slowest = max(one.seconds for one in seen)
        record_property(
            "said",
            f"{SWAPS} promotions: both servers followed within {max(took):.1f} s, "
            f"{len(seen)} answers, the slowest in {slowest:.2f} s",
        )


def _train(http: httpx.Client) -> dict[str, tuple[str, str, str]]:
    """Two trios of two seeds, by ranker; the second is live, and has its rows in fewer bits."""
    trios = {}
    for seed, precision in ((1, "trained"), (2, "int8")):
        wanted = {"arms": ["none"], "seed": seed, "ranker": {"precision": precision}}
        asked = http.post("/v1/retrains", json=wanted).json()
        result: Mapping[str, Any] = wait_job(http, asked["job"])["result"]
        ranker = result["rankers"]["none"]
        trios[ranker] = (result["bundle"], result["index"], ranker)
    assert len(set(trios.values())) == 2, "two seeds, two lineages"
    return trios


def _follow(servers: list[httpx.Client], *, generation: int) -> float:
    """Wait until every server answers with a generation: how many seconds that took."""
    started = time.monotonic()
    for http in servers:
        eventually(
            "every server follows",
            lambda http=http: http.get("/health/ready").json()["generation"] >= generation,
            seconds=10,
        )
    return time.monotonic() - started


def _refuse_mismatch(
    http: httpx.Client, trios: dict[str, tuple[str, str, str]], ranker: str
) -> None:
    """The bundle of the other lineage has another frame."""
    other = next(bundle for key, (bundle, _, _) in trios.items() if key != ranker)
    refused = http.post(f"/v1/artifacts/{ranker}/promote", json={"bundle": other, "reason": "test"})
    assert refused.status_code == 409, refused.text
    assert "frame" in refused.json()["detail"]


@contextmanager
def _asking(running: Service, ports: tuple[int, ...]) -> Iterator[list[Seen]]:
    """Clients that ask for as long as the block lasts; what they saw is in the list afterwards."""
    stop = threading.Event()
    seen: list[Seen] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [
            pool.submit(_ask_until, running, ports[n % len(ports)], stop) for n in range(CLIENTS)
        ]
        try:
            yield seen
        finally:
            stop.set()
        for future in asking:
            seen += future.result(timeout=60)


def _ask_until(running: Service, port: int, stop: threading.Event) -> list[Seen]:
    seen = []
    with running.client(port) as http:
        for turn in itertools.count():
            if stop.is_set():
                return seen
            started = time.monotonic()
            if turn % 3 == 1:
                kind = "neighbors"
                answer = http.get("/v1/entities/film/d1/neighbors", params={"k": 5})
            elif turn % 3:
                kind = "recommend"
                answer = http.post("/v1/recommend", json=RECOMMEND)
            else:
                kind = "score"
                answer = http.post("/v1/score", json=SCORE)
            took = time.monotonic() - started
            assert answer.status_code == 200, answer.text
            found = answer.json()
            said = {
                item["id"]: item.get("score", item.get("distance"))
                for item in found.get("scores") or found["items"]
            }
            seen.append(
                Seen(
                    (found["bundle"], found["index"], found["ranker"]),
                    kind,
                    tuple(said[name] for name in sorted(said)),
                    took,
                )
            )
    raise AssertionError


def _check(seen: list[Seen], trios: dict[str, tuple[str, str, str]]) -> None:
    assert {one.trio for one in seen} == set(trios.values()), "both answered, and nothing else"
    said: dict[tuple[object, str], set[tuple[float, ...]]] = defaultdict(set)
    for one in seen:
        said[one.trio, one.kind].add(tuple(round(value, 5) for value in one.said))
    assert len(said) == 6, "three kinds of answers of two trios"
    for answers in said.values():
        # A vector of one trio read by the ranker of another would give other numbers.
        assert len(answers) == 1
