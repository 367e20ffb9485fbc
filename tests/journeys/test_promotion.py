"""Promotion and rollback while servers answer: no failed request, no answer that mixes versions."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from planted import COMEDIES, planted_events
from running import Service, eventually, free_port, post_all, service, wait_job

CLIENTS = 4


def test_trios_are_swapped_whole_in_every_server(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url) as running:
        second = free_port()
        running.start("serve")
        running.start("serve", name="serve-2", GRAPHSVC_PORT=str(second))
        running.start("worker")
        running.wait_ready()
        running.wait_ready(second)
        with running.client() as http:
            post_all(http, planted_events())
            trios = {}
            for seed in (1, 2):
                body = {"arms": ["none"], "seed": seed}
                done = wait_job(http, http.post("/v1/retrains", json=body).json()["job"])
                result = done["result"]
                trios[result["rankers"]["none"]] = (result["bundle"], result["index"])
            assert len(set(trios.values())) == 2, "two seeds, two lineages"
            for port in (running.port, second):
                eventually("both at generation 2", lambda p=port: _at(running, p, 2), seconds=15)

            stop = threading.Event()
            with ThreadPoolExecutor(CLIENTS) as pool:
                asking = [
                    pool.submit(_ask_until, running, port, stop)
                    for port, _ in itertools.product((running.port, second), range(CLIENTS // 2))
                ]
                for generation, ranker in enumerate(itertools.islice(itertools.cycle(trios), 4), 3):
                    answer = http.post(f"/v1/artifacts/{ranker}/promote", json={"reason": "test"})
                    assert answer.json()["generation"] == generation
                    for port in (running.port, second):
                        eventually(
                            "every server follows",
                            lambda p=port, g=generation: _at(running, p, g),
                            seconds=10,
                        )
                stop.set()
                seen = [answer for future in asking for answer in future.result(timeout=60)]
        assert {ranker for ranker, *_ in seen} == set(trios), "both trios answered"
        for ranker, bundle, index in seen:
            assert trios[ranker] == (bundle, index)


def _at(running: Service, port: int, generation: int) -> bool:
    with running.client(port) as http:
        return http.get("/health/ready").json()["generation"] == generation


def _ask_until(running: Service, port: int, stop: threading.Event) -> list[tuple[str, str, str]]:
    body = {"head": {"type": "user", "id": "u1"}, "candidates": COMEDIES}
    answers = []
    with running.client(port) as http:
        while not stop.is_set():
            answer = http.post("/v1/score", json=body)
            assert answer.status_code == 200, answer.text
            found = answer.json()
            answers.append((found["ranker"], found["bundle"], found["index"]))
    return answers
