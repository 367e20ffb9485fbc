"""Every route but health needs a key; keys are kept as hashes and stay out of logs."""

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import sleep, time

import httpx
import pytest
from sqlalchemy import update

from api.app import create_app
from api.known_keys import SECONDS, KnownKeys
from api.scopes import ADMIN, NEEDS, needed, route_of
from api.settings import Settings
from graphsvc import keys
from graphsvc.db import Database
from graphsvc.tables import api_keys

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
    filled = path.format(**FILLED)
    with trained.open() as http:
        for headers in ({}, {"Authorization": "Bearer gs_wrong_key"}, {"X-API-Key": "no"}):
            answer = http.request(method, filled, headers=headers)
            if path in OPEN:
                assert answer.status_code == 200
            else:
                problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


FILLED = {"type": "user", "id": "u1", "digest": "0" * 64, "request_id": "r1", "number": "1"}
KEYED = [route for route in ROUTES if route[1] not in OPEN]


@pytest.fixture(scope="module")
def made(trained) -> Iterator[Callable[..., str]]:
    """Keys for some scopes; an end may lie in the past."""
    database = Database(trained.settings.graph_url)

    def make(*scopes: str, ends: int | None = None) -> str:
        with database.transaction() as connection:
            key = keys.create(connection, name="made", now=int(time()), scopes=scopes)
            if ends is not None:
                this = update(api_keys).where(api_keys.c.id == key.split("_")[1])
                connection.execute(this.values(expires_at=ends))
        return key

    yield make
    database.dispose()


def test_every_route_is_in_the_table_and_nothing_else() -> None:
    assert set(NEEDS) == set(KEYED)
    assert set(NEEDS.values()) == set(keys.SCOPES)
    assert needed(("POST", "/v1/what/is/new")) == ADMIN
    assert route_of("GET", "/v1/x/{id:path}/y") == ("GET", "/v1/x/{id}/y")


@pytest.mark.parametrize(("method", "path"), KEYED)
def test_with_a_key_that_is_for_all_else(trained, made, problem, method: str, path: str) -> None:
    needs = NEEDS[method, path]
    others = [scope for scope in keys.SCOPES[:-1] if scope != needs]
    with trained.open() as http:
        headers = {"X-API-Key": made(*others)}
        answer = http.request(method, path.format(**FILLED), headers=headers)
    told = problem(answer, 403)["detail"]
    assert f"needs a key with the scope {needs}; the key " in told
    assert "u1" not in told, "no personal id"


@pytest.mark.parametrize(("method", "path"), KEYED)
def test_with_a_key_that_has_expired(trained, made, problem, method: str, path: str) -> None:
    with trained.open() as http:
        headers = {"X-API-Key": made("admin", ends=int(time()) - 1)}
        answer = http.request(method, path.format(**FILLED), headers=headers)
    assert "has expired" in problem(answer, 401)["detail"]


def test_a_key_opens_what_it_is_for(trained, made) -> None:
    score = {"head": {"type": "user", "id": "u1"}, "candidates": ["i1"]}
    with trained.open() as http:
        asked = partial(http.request, headers={"X-API-Key": made("score")})
        assert asked("POST", "/v1/score", json=score).status_code == 200
        assert asked("GET", "/v1/graph").status_code == 403
        asked = partial(http.request, headers={"X-API-Key": made("read", ends=int(time()) + 60)})
        assert asked("GET", "/v1/graph").status_code == 200
        assert asked("POST", "/v1/score", json=score).status_code == 403


def test_a_key_that_is_believed_still_ends_in_time(trained, made, problem) -> None:
    ends = int(time()) + 2
    with trained.open() as http:
        headers = {"X-API-Key": made("read", ends=ends)}
        while time() < ends - 0.2:
            assert http.get("/v1/graph", headers=headers).status_code == 200
        sleep(max(0.0, ends - time()) + 0.01)
        problem(http.get("/v1/graph", headers=headers), 401)


def test_when_a_key_was_last_used_is_written_down(trained, made) -> None:
    key, database = made("read"), Database(trained.settings.graph_url)
    known, began = KnownKeys(database), int(time())
    caller = known.verify(key)
    assert caller
    known.used(caller.id)
    known.write_used()
    known.write_used()
    with database.reading() as connection:
        last = {info.id: info.last_used_at for info in keys.list_keys(connection)}
    database.dispose()
    assert began <= (last[key.split("_")[1]] or 0) <= time()


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
    caller = known.verify(trained.key)
    assert caller
    assert known.verify(trained.key + "0") is None
    now[0] += SECONDS - 0.01
    assert known.recall(trained.key) == caller
    assert known.recall(trained.key + "0") is None
    assert trained.key not in repr(known)
    now[0] += 0.02
    assert known.recall(trained.key) is None
    assert known.verify(trained.key) == caller
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
