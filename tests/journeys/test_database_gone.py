"""A database that goes away and comes back: 503 meanwhile, then on without a restart."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres_server
import pytest
from planted import START, click
from postgres_server import Postgres
from running import Service, eventually, service

from api.known_keys import SECONDS
from graphsvc.db import Database, wait_for_writers
from graphsvc.errors import DatabaseUnavailable

BATCH = 20
#: A refused connection is noticed at once; a busy machine is given time.
QUICK_SECONDS = 5.0
OPEN = {"/health/live", "/health/ready"}
VALUES = {"type": "user", "id": "u1", "digest": "3f" * 32}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that may be crashed, and keeps what it has acknowledged."""
    server = postgres_server.start(durable=True)
    yield server
    server.stop()


def test_postgresql_gone_and_back(own_postgres: Postgres, tmp_path: Path) -> None:
    with service(tmp_path, own_postgres.create()) as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            paths = http.get("/openapi.json").json()["paths"]
            acknowledged: list[int] = []
            stop = threading.Event()
            posting = threading.Thread(target=_post_until, args=(running, stop, acknowledged))
            posting.start()
            eventually("some batches", lambda: len(acknowledged) >= 5, seconds=30)
            own_postgres.crash()  # while events are being posted
            stop.set()
            posting.join(60)
            time.sleep(SECONDS)  # for so long the key is believed without asking
            asked = 0
            for path, methods in paths.items():
                for method in methods:
                    if path not in OPEN:
                        _unavailable(http, method, path)
                        asked += 1
            assert asked >= 20, "every route was asked"
            assert http.get("/health/live").status_code == 200
            assert http.get("/health/ready").status_code == 503

            own_postgres.come_back()
            eventually(
                "ready again",
                lambda: http.get("/health/ready").status_code == 200,
                seconds=20,
            )
            assert _try(http, 100_000).json()["accepted"] == BATCH
            for number in acknowledged:
                assert _try(http, number).json()["duplicate"] == BATCH, number


def test_sqlite_that_somebody_else_writes_to(tmp_path: Path) -> None:
    with service(tmp_path, GRAPHSVC_BUSY_SECONDS="0.5") as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            assert _try(http, 0).json()["accepted"] == BATCH
            with _locked(tmp_path / "data/graph.sqlite"):
                began = time.monotonic()
                answer = _try(http, 1)
                assert time.monotonic() - began < 0.5 + QUICK_SECONDS
                _is_unavailable(answer)
                assert "database is locked" in answer.json()["detail"]
                # Readers wait for nobody.
                found = http.get("/v1/entities/user/u1").json()
                assert found["counters"] == {"click": BATCH}
                assert http.get("/health/ready").status_code == 200
            assert _try(http, 0).json()["duplicate"] == BATCH
            assert _try(http, 1).json()["accepted"] == BATCH


def test_postgresql_that_somebody_else_writes_to(postgres: Postgres, tmp_path: Path) -> None:
    """As during the replay of a long log."""
    url = postgres.create()
    with service(tmp_path, url, GRAPHSVC_BUSY_SECONDS="0.5") as running:
        running.start("serve")
        running.wait_ready()
        other = Database(url)
        with running.client() as http:
            assert _try(http, 0).json()["accepted"] == BATCH
            with other.transaction() as connection:
                wait_for_writers(connection)
                for _ in range(2):
                    began = time.monotonic()
                    answer = _try(http, 1)
                    assert time.monotonic() - began < 0.5 + QUICK_SECONDS
                    _is_unavailable(answer)
                    assert "another writer holds the lock" in answer.json()["detail"]
                found = http.get("/v1/entities/user/u1").json()
                assert found["counters"] == {"click": BATCH}
                assert http.get("/health/ready").status_code == 200
            assert _try(http, 1).json()["accepted"] == BATCH
            for number in range(2):
                assert _try(http, number).json()["duplicate"] == BATCH
            found = http.get("/v1/entities/user/u1").json()
            assert found["counters"] == {"click": 2 * BATCH}, "nothing was stored twice"
        other.dispose()
    postgres.drop(url)


def test_a_host_that_answers_nothing_is_given_up_soon() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        database = Database(f"postgresql://me@127.0.0.1:{port}/name?connect_timeout=2")
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="timeout"):
            database.ping()
        assert time.monotonic() - began < 2 + QUICK_SECONDS
        database.dispose()


class _locked:  # noqa: N801  (used as a function)
    """Another process that holds the file's write lock for as long as the block lasts."""

    def __init__(self, path: Path) -> None:
        program = (
            "import sqlite3, sys\n"
            "held = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "held.execute('BEGIN IMMEDIATE')\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == b"held\n"

    def __exit__(self, *_error: object) -> None:
        self.process.communicate()


def _unavailable(http: httpx.Client, method: str, template: str) -> None:
    path = template
    for name, value in VALUES.items():
        path = path.replace("{" + name + "}", value)
    body = {"json": {}} if method in ("post", "put") else {}
    began = time.monotonic()
    answer = http.request(method, path, **body)
    assert time.monotonic() - began < QUICK_SECONDS, f"{method} {template} hung"
    _is_unavailable(answer)


def _is_unavailable(answer: httpx.Response) -> None:
    where = f"{answer.request.method} {answer.request.url.path}: {answer.text}"
    assert answer.status_code == 503, where
    assert answer.headers["content-type"] == "application/problem+json", where
    assert int(answer.headers["retry-after"]) >= 1, where


def _post_until(running: Service, stop: threading.Event, acknowledged: list[int]) -> None:
    number = 0
    with running.client() as http:
        while not stop.is_set():
            answer = _try(http, number)
            if answer.status_code == 200:
                assert answer.json()["accepted"] == BATCH
                acknowledged.append(number)
            else:
                _is_unavailable(answer)
            number += 1


def _try(http: httpx.Client, number: int) -> httpx.Response:
    events = [click("u1", f"d{n}", START, f"c-{number}-{n}") for n in range(BATCH)]
    return http.post("/v1/events", params={"backfill": True}, json={"events": events})
