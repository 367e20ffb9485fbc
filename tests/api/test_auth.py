"""Every route but health needs a key; keys are kept as hashes and stay out of logs."""

import logging
import re
import subprocess
import sys
from time import sleep, time

import httpx
import pytest

from api.app import create_app
from api.known_keys import SECONDS, KnownKeys
from api.settings import Settings
from graphsvc import keys
from graphsvc.db import Database

OPEN = {"/health/live", "/health/ready"}
ROUTES = [
    (method.upper(), path)
    for path, operations in create_app(Settings()).openapi()["paths"].items()
    for method in operations
]


def test_the_list_of_routes_is_whole() -> None:
    assert len(ROUTES) >= 15


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_key(trained, problem, method: str, path: str) -> None:
    filled = path.format(type="user", id="u1", digest="0" * 64, request_id="r1")
    with trained.open() as http:
        for headers in ({}, {"Authorization": "Bearer gs_wrong_key"}, {"X-API-Key": "no"}):
            answer = http.request(method, filled, headers=headers)
            if path in OPEN:
                assert answer.status_code == 200
            else:
                problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


def test_both_headers_work(trained) -> None:
    with trained.open() as http:
        for headers in ({"Authorization": f"Bearer {trained.key}"}, {"X-API-Key": trained.key}):
            assert http.get("/v1/graph", headers=headers).status_code == 200


def test_a_revoked_key_is_worthless(trained, problem) -> None:
    database = Database(trained.settings.graph_url)
    with database.transaction() as connection:
        key = keys.create(connection, name="short-lived", now=int(time()))
    with trained.open() as http:
        headers = {"X-API-Key": key}
        assert http.get("/v1/graph", headers=headers).status_code == 200
        with database.transaction() as connection:
            listed = {info.name: info.id for info in keys.list_keys(connection)}
            keys.revoke(connection, listed["short-lived"])
        sleep(SECONDS)
        problem(http.get("/v1/graph", headers=headers), 401)
    database.dispose()


def test_a_key_is_believed_for_a_second_and_a_wrong_one_never(trained) -> None:
    database, now = Database(trained.settings.graph_url), [100.0]
    known = KnownKeys(database, clock=lambda: now[0])
    assert known.recall(trained.key) is None
    key_id = known.verify(trained.key)
    assert key_id
    assert known.verify(trained.key + "0") is None
    now[0] += SECONDS - 0.01
    assert known.recall(trained.key) == key_id
    assert known.recall(trained.key + "0") is None
    assert trained.key not in repr(known)
    now[0] += 0.02
    assert known.recall(trained.key) is None
    assert known.verify(trained.key) == key_id
    assert len(known._verified) == 1, "what is over is not kept"
    database.dispose()


def test_the_key_is_nowhere_in_clear(trained, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with trained.open() as http:
        http.get("/v1/graph", headers={"X-API-Key": trained.key})
    assert trained.key not in caplog.text
    secret = trained.key.rpartition("_")[2]
    # In a process of its own: closing a file that SQLite has open here would drop SQLite's locks.
    search = (
        "import sys; from pathlib import Path; "
        "files = [f for f in Path(sys.argv[1]).rglob('*') if f.is_file()]; "
        "print('manifest.json' in [f.name for f in files], "
        "any(sys.argv[2].encode() in f.read_bytes() for f in files))"
    )
    found = subprocess.run(
        [sys.executable, "-c", search, str(trained.settings.data_dir), secret],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["True", "False"]


def test_the_data_folder_is_its_owners(trained) -> None:
    assert trained.settings.data_dir.stat().st_mode & 0o077 == 0


def test_the_documentation_page_asks_no_stranger(trained) -> None:
    with trained.open() as http:
        page = http.get("/docs").text
        assets = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(assets) >= 3
        for asset in assets:
            assert asset.startswith("/"), f"{asset} is on another host"
            assert http.get(asset).status_code == 200


def test_an_unknown_path_is_a_problem_document(http: httpx.Client, problem) -> None:
    problem(http.get("/v1/nothing"), 404)
    problem(http.delete("/v1/events"), 405)
