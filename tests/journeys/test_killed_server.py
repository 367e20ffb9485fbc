"""What was acknowledged is there after the server was killed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from planted import START, click
from running import Service, eventually, service

BATCH, CLIENTS = 20, 4
PATH = "/v1/events?backfill=true"


def test_an_acknowledged_event_survives_kill_9(database_url: str, tmp_path: Path) -> None:
    with service(tmp_path, database_url) as running:
        running.start("serve")
        running.wait_ready()
        acknowledged: list[list[str]] = [[] for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            posting = [
                pool.submit(_post_until_refused, running, client, acknowledged[client])
                for client in range(CLIENTS)
            ]
            eventually(
                "some batches in every client",
                lambda: all(len(ids) >= 5 * BATCH for ids in acknowledged),
                seconds=60,
            )
            running.kill("serve")  # while all clients are posting
            for future in posting:
                future.result(timeout=60)

        running.start("serve")
        running.wait_ready()
        kept = [event_id for ids in acknowledged for event_id in ids]
        assert len(kept) >= CLIENTS * 5 * BATCH
        with running.client() as http:
            for first in range(0, len(kept), 1000):
                again = [_event(event_id) for event_id in kept[first : first + 1000]]
                verdicts = http.post(PATH, json={"events": again}).json()
                assert verdicts["duplicate"] == len(again), "an acknowledged event is missing"


def _post_until_refused(running: Service, client: int, acknowledged: list[str]) -> None:
    with running.client() as http:
        for batch in range(10_000):
            ids = [f"{client}-{batch}-{n}" for n in range(BATCH)]
            try:
                answer = http.post(PATH, json={"events": [_event(i) for i in ids]})
            except httpx.TransportError:
                return  # killed: this batch was never acknowledged
            assert answer.json()["accepted"] == BATCH
            acknowledged.extend(ids)


def _event(event_id: str) -> dict:
    return click("u1", "d1", START, event_id)
