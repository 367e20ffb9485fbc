"""A disk that is full: refused with a sentence, nothing acknowledged is lost, and it goes on.

What fills up is the file size limit of the process (RLIMIT_FSIZE), which needs no rights: the
writes of SQLite and of artifacts fail for real. PostgreSQL's own full disk cannot be made without
rights, so there the database raises what it raises then (SQLSTATE 53100), for real as well.
"""

import resource
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from planted import START, click
from running import Service, eventually, service

MIB = 1 << 20
BATCH = 200


def test_sqlite_refuses_what_has_no_room_and_goes_on(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            acknowledged = [_post(http, n) for n in range(3)]
            wal = tmp_path / "data/graph.sqlite-wal"
            _limit(running, wal.stat().st_size + MIB // 2)
            number = 3
            while (answer := _try(http, number)).status_code == 200:
                acknowledged.append(number)
                number += 1
                assert number < 500, "the limit was never reached"
            _refused(answer)
            _refused(_try(http, number + 1))  # again, and not at all by chance
            assert http.get("/v1/entities/user/u1").json()["counters"]["click"] == BATCH * number
            _limit(running, resource.RLIM_INFINITY)
            for again in acknowledged:
                assert _try(http, again).json()["duplicate"] == BATCH
            assert _try(http, number).json()["accepted"] == BATCH, "there is room again"
            running.kill("serve")
            running.start("serve")
            running.wait_ready()
            for again in (*acknowledged, number):
                assert _try(http, again).json()["duplicate"] == BATCH


def test_postgresql_refuses_what_has_no_room_and_goes_on(postgres: Any, tmp_path: Path) -> None:
    url = postgres.create()
    with service(tmp_path, url) as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            _post(http, 0)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
                )
                connection.execute(
                    "CREATE TRIGGER full_disk BEFORE INSERT ON edges "
                    "FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
                )
                _refused(_try(http, 1))
                assert http.get("/v1/entities/user/u1").json()["counters"]["click"] == BATCH
                connection.execute("DROP TRIGGER full_disk ON edges")
            assert _try(http, 0).json()["duplicate"] == BATCH
            assert _try(http, 1).json()["accepted"] == BATCH
    postgres.drop(url)


def test_a_bulk_answer_without_room_is_cut_off(postgres: Any, tmp_path: Path) -> None:
    """On PostgreSQL, whose files are not the server's: only what waits to be read has no room."""
    url = postgres.create()
    with service(tmp_path, url) as running:
        running.start("serve")
        running.wait_ready()
        _limit(running, 5 * MIB)
        events = [click("u1", f"d{n}", START, f"c-0-{n}") for n in range(BATCH)]
        good = b"".join(orjson.dumps(event) + b"\n" for event in events)
        body = good + b"[]\n" * 300_000  # their verdicts are many times as long
        answer = _send_all_then_read(running, body)
        assert b'"status":"accepted"' in answer, answer[:1000]
        assert b"summary" not in answer
        assert not answer.endswith(b"0\r\n\r\n"), "an end of chunks would say that it is whole"
        log = running.log("serve")
        assert log.count("a bulk stream was cut off: no room for its answer") == 1
        assert "File too large" in log
        assert "Traceback" not in log
        with running.client() as http:
            assert _try(http, 0).json()["duplicate"] == BATCH, "what was committed stays"
            _limit(running, resource.RLIM_INFINITY)
            whole = http.post("/v1/events/bulk", params={"backfill": "true"}, content=good)
            summary = orjson.loads(whole.content.splitlines()[-1])["summary"]
            assert summary["complete"]
            assert summary["duplicate"] == BATCH
    postgres.drop(url)


def _send_all_then_read(running: Service, body: bytes) -> bytes:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", running.port))
        client.sendall(
            "POST /v1/events/bulk?backfill=true HTTP/1.1\r\nHost: here\r\n"
            f"Authorization: Bearer {running.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        client.sendall(body)
        eventually("cut off", lambda: "cut off" in running.log("serve"), seconds=60)
        answer = b""
        with suppress(ConnectionResetError):  # it did not wait for all of the body
            while piece := client.recv(1 << 20):
                answer += piece
        return answer


@pytest.mark.parametrize("where", ["payload", "manifest"])
def test_an_artifact_without_room_is_never_sealed(tmp_path: Path, where: str) -> None:
    """In a process of its own, which is not allowed files of more than a few bytes."""
    program = f"""
import resource
from pathlib import Path
from graphsvc.artifact import ArtifactStore, Recipe
from graphsvc.errors import NoSpace
store = ArtifactStore(Path("artifacts"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    with store.draft() as draft:
        size = 2000 if {where!r} == "payload" else 900
        (draft / "payload").write_bytes(bytes(size))
        store.seal(draft, Recipe(kind="report", payload={{"text": "x" * 2000}}))
except NoSpace as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "could not be written (File too large); nothing of it was kept" in ran.stdout, ran
    assert not list((tmp_path / "artifacts").iterdir())


def _limit(running: Service, size: int) -> None:
    pid = running.processes["serve"].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _post(http: httpx.Client, number: int) -> int:
    answer = _try(http, number)
    assert answer.json()["accepted"] == BATCH, answer.text
    return number


def _try(http: httpx.Client, number: int) -> httpx.Response:
    events = [click("u1", f"d{n}", START, f"c-{number}-{n}") for n in range(BATCH)]
    return http.post("/v1/events", params={"backfill": True}, json={"events": events})


def _refused(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["title"] == "No space left"
    assert "nothing of this request was kept, so make room and repeat it" in problem["detail"]
