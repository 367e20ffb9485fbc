"""Promotion, rollback and refusal while two servers answer sixteen clients.

No failed request, no answer that mixes versions, and every server follows: whatever is promoted
meanwhile, scores have the very bits that the ranker that they name gives when nobody else asks. How
long that took is printed and not asserted: here sixteen clients and other tests share two cores
with the servers.
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
from planted import COMEDIES, START, click, planted_events
from running import Service, eventually, free_port, post_all, service, wait_job

CLIENTS = 16
SWAPS = 5
#: Who is known, of either taste; who came after training and is folded in; and who is nobody.
HEADS = ("u1", "u2", "newcomer", "nobody")
SCORES = tuple(
    {"head": {"type": "user", "id": head}, "candidates": candidates}
    for head in HEADS
    for candidates in (COMEDIES, ["d3", "c1", "never-seen", "d0"])
)
RECOMMEND = {"head": {"type": "user", "id": "u1"}, "k": 5, "seen": "in"}


class Seen(NamedTuple):
    """One answer: who gave it, from which trio, and what it said."""

    trio: tuple[str, str, str]
    #: score | neighbors | recommend
    kind: str
    #: Which of SCORES was asked for.
    number: int
    said: tuple[tuple[str, float], ...]
    seconds: float


@pytest.mark.slow_as("postgresql")
def test_trios_are_swapped_whole_in_every_server(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    exported = service(tmp_path, database_url, GRAPHSVC_FORWARD="onnx")
    with exported as running, ExitStack() as stack:
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
        post_all(http, [click("newcomer", "c1", START + 90_000)])
        alone = {ranker: _alone(servers, ranker) for ranker in trios}
        _tell_apart(alone)

        took = []
        with _asking(running, ports) as seen:
            # The second is live, so each other one of these is a rollback.
            for ranker in itertools.islice(itertools.cycle(trios), SWAPS):
                took.append(_promote(servers, ranker))
                _refuse_mismatch(http, trios, ranker)
        _check(seen, trios, alone)
        rolled_back = next(iter(trios))
        _promote(servers, rolled_back)
        assert _alone(servers, rolled_back) == alone[rolled_back]
        slowest = max(one.seconds for one in seen)
        record_property(
            "said",
            f"{SWAPS} promotions: both servers followed within {max(took):.1f} s, "
            f"{len(seen)} answers, the slowest in {slowest:.2f} s",
        )


def _train(http: httpx.Client) -> dict[str, tuple[str, str, str]]:
    """Two trios of two seeds, by ranker; the second is live, and has its rows in fewer bits.

    Both read the embedding, and a pretrained table of their own: with the vectors of the other they
    would say something else.
    """
    trios = {}
    for seed, arm, precision in ((1, "attention", "trained"), (2, "frozen", "int8")):
        wanted = {
            "arms": [arm],
            "seed": seed,
            "ranker": {"precision": precision},
            "pretraining": {"facets": ["contrastive"]},
        }
        asked = http.post("/v1/retrains", json=wanted).json()
        result: Mapping[str, Any] = wait_job(http, asked["job"])["result"]
        ranker = result["rankers"][arm]
        network = http.get(f"/v1/artifacts/{result['forward']}").json()
        assert (network["kind"], network["parents"]) == ("forward", {"ranker": ranker})
        trios[ranker] = (result["bundle"], result["index"], ranker)
    assert len(set(trios.values())) == 2, "two seeds, two lineages"
    held = [
        {table["precision"] for table in _manifest(http, ranker)["placement"]["tables"]}
        for ranker in trios
    ]
    assert held == [{"float32"}, {"int8"}]
    return trios


def _manifest(http: httpx.Client, ranker: str) -> Mapping[str, Any]:
    payload: Mapping[str, Any] = http.get(f"/v1/artifacts/{ranker}").json()["payload"]
    return payload


def _promote(servers: list[httpx.Client], ranker: str) -> float:
    """Make a ranker live, and wait for every server: how many seconds that took."""
    promoted = servers[0].post("/v1/promotions", json={"ranker": ranker, "reason": "test"}).json()
    assert promoted["ranker"] == ranker
    return _follow(servers, generation=promoted["generation"])


def _alone(servers: list[httpx.Client], ranker: str) -> list[tuple[tuple[str, float], ...]]:
    """What a ranker says of each of SCORES when nobody else asks: the same on every server."""
    _promote(servers, ranker)
    told = []
    for http in servers:
        answers = [http.post("/v1/score", json=body).json() for body in SCORES]
        assert {answer["ranker"] for answer in answers} == {ranker}
        told.append([_said(answer) for answer in answers])
    assert all(one == told[0] for one in told)
    return told[0]


def _tell_apart(alone: Mapping[str, list[tuple[tuple[str, float], ...]]]) -> None:
    """The two rankers say something else of every pair, else mixing them would not be seen."""
    for one, other in zip(*alone.values(), strict=True):
        assert {id_ for id_, _ in one} == {id_ for id_, _ in other}
        assert not set(one) & set(other)


def _said(found: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """Ids in the order of the answer, each with its number: all of its bits."""
    items = found.get("scores") or found["items"]
    return tuple((item["id"], item.get("score", item.get("distance"))) for item in items)


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
            pool.submit(_ask_until, running, ports[n % len(ports)], stop, n) for n in range(CLIENTS)
        ]
        try:
            yield seen
        finally:
            stop.set()
        for future in asking:
            seen += future.result(timeout=60)


def _ask_until(running: Service, port: int, stop: threading.Event, client: int) -> list[Seen]:
    """Clients begin at other requests, so that all of them are asked of whatever is live."""
    seen = []
    with running.client(port) as http:
        for turn in itertools.count():
            if stop.is_set():
                return seen
            started = time.monotonic()
            number = (turn // 3 + client) % len(SCORES)
            if turn % 3 == 1:
                kind = "neighbors"
                answer = http.get("/v1/entities/film/d1/neighbors", params={"k": 5})
            elif turn % 3:
                kind = "recommend"
                answer = http.post("/v1/recommend", json=RECOMMEND)
            else:
                kind = "score"
                answer = http.post("/v1/score", json=SCORES[number])
            took = time.monotonic() - started
            assert answer.status_code == 200, answer.text
            found = answer.json()
            trio = (found["bundle"], found["index"], found["ranker"])
            seen.append(Seen(trio, kind, number, _said(found), took))
    raise AssertionError


def _check(
    seen: list[Seen],
    trios: dict[str, tuple[str, str, str]],
    alone: Mapping[str, list[tuple[tuple[str, float], ...]]],
) -> None:
    assert {one.trio for one in seen} == set(trios.values()), "both answered, and nothing else"
    said: dict[tuple[object, str], set[tuple[object, ...]]] = defaultdict(set)
    scored = set()
    for one in seen:
        if one.kind == "score":
            # A vector, a row or a scale of one trio read by the other would give other bits.
            assert one.said == alone[one.trio[2]][one.number]
            scored.add((one.trio, one.number))
        else:
            numbers = tuple((id_, round(number, 5)) for id_, number in sorted(one.said))
            said[one.trio, one.kind].add(numbers)
    assert len(scored) == len(trios) * len(SCORES), "each was asked of each trio"
    assert len(said) == 4, "two kinds of answers of two trios"
    for answers in said.values():
        assert len(answers) == 1
