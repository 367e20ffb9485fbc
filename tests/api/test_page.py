"""The door of the page over HTTP, in a server as people start it: sessions, cookies, origins."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from running import Service, eventually, free_port, service
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.ui.entrance import COOKIE
from api.ui.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("door")) as made:
        made.start("serve")
        made.wait_ready()
        yield made


@pytest.fixture
def browser(running: Service) -> Iterator[httpx.Client]:
    """Somebody without a key, who keeps cookies."""
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=30) as client:
        yield client


def _sign_in(browser: httpx.Client, key: str, **headers: str) -> httpx.Response:
    return browser.post("/ui/login", data={"key": key}, headers=headers)


def test_nobody_sees_anything_without_a_session(browser: httpx.Client) -> None:
    for path in ("/ui", "/ui/", "/ui/jobs", "/ui/no-such-view"):
        answer = browser.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-trace-id"]
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login"), path
    assert browser.get("/ui/_nicegui/auto/static/nicegui.css").status_code == 401
    assert browser.post("/ui/").status_code == 401
    form = browser.get("/ui/login")
    assert form.status_code == 200
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]


def test_a_key_lets_in_and_a_cookie_keeps_it(browser: httpx.Client, running: Service) -> None:
    answer = _sign_in(browser, running.key)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/ui"))
    assert running.key not in str(answer.headers)
    page = browser.get("/ui/")
    assert page.status_code == 200
    assert "graphsvc" in page.text
    assert browser.get("/v1/graph").status_code == 401, "a session opens no route"
    browser.post("/ui/logout")
    assert browser.get("/ui/").status_code == 303


@pytest.mark.parametrize(
    ("key", "status"),
    [("", 401), ("no", 401), (f"gs_{'0' * 16}_{'0' * 64}", 401), ("x" * 2000, 413)],
)
def test_what_is_no_key_lets_nobody_in(browser: httpx.Client, key: str, status: int) -> None:
    answer = _sign_in(browser, key)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers


def test_a_key_that_may_not_read_lets_nobody_in(browser: httpx.Client, running: Service) -> None:
    with running.client() as http:
        made = http.post("/v1/keys", json={"scopes": ["ingest"]}).json()
    answer = _sign_in(browser, made["key"])
    assert answer.status_code == 403
    assert "lacks the scope read" in answer.text


def test_a_session_that_was_made_up_is_none(browser: httpx.Client) -> None:
    browser.cookies.set(COOKIE, "x" * 43, path="/ui")
    assert browser.get("/ui/").status_code == 303


def test_other_sites_can_ask_for_nothing(browser: httpx.Client, running: Service) -> None:
    assert _sign_in(browser, running.key, Origin="http://evil.example").status_code == 403
    _sign_in(browser, running.key, Origin=f"http://127.0.0.1:{running.port}")
    assert browser.get("/ui/").status_code == 200
    refused = browser.post("/ui/logout", headers={"Origin": "http://evil.example"})
    assert refused.status_code == 403
    assert browser.get("/ui/").status_code == 200, "still signed in"


def test_behind_a_proxy_the_cookie_goes_over_tls_alone(tmp_path: Path) -> None:
    with service(tmp_path, GRAPHSVC_PAGE_ORIGIN="https://graphs.example") as made:
        made.start("serve")
        made.wait_ready()
        with httpx.Client(base_url=f"http://127.0.0.1:{made.port}") as proxy:
            let_in = _sign_in(proxy, made.key, Origin="https://graphs.example", Host="inner")
            assert let_in.status_code == 303
            assert "secure" in let_in.headers["set-cookie"].lower()
            evil = _sign_in(proxy, made.key, Origin="https://evil.example", Host="inner")
            assert evil.status_code == 403


def test_a_websocket_wants_a_session_and_our_own_page(
    browser: httpx.Client, running: Service
) -> None:
    address = f"ws://127.0.0.1:{running.port}/ui/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    for headers in ({}, {"Cookie": f"{COOKIE}=made-up"}):
        with pytest.raises(InvalidStatus), connect(address, additional_headers=headers):
            pass
    _sign_in(browser, running.key)
    own = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    with (
        pytest.raises(InvalidStatus),
        connect(address, additional_headers=own, origin="http://evil.example"),  # type: ignore[arg-type]
    ):
        pass
    with connect(address, additional_headers=own) as socket:
        assert socket.recv(timeout=10).startswith("0{"), "the first word of Engine.IO"


def test_the_log_has_neither_keys_nor_cookies(browser: httpx.Client, running: Service) -> None:
    _sign_in(browser, running.key)
    _sign_in(browser, "no key of mine")
    log = running.log("serve")
    assert running.key.split("_")[2] not in log
    assert browser.cookies[COOKIE] not in log
    assert "no key of mine" not in log


def test_an_address_that_is_no_view_stays_out_of_the_log(
    browser: httpx.Client, running: Service
) -> None:
    _sign_in(browser, running.key)
    answer = browser.get("/ui/anna@example.org")
    assert answer.status_code == 404
    assert "There is no such view" in answer.text
    for view in ("/ui/score", "/ui/jobs"):
        assert f'href="{view}"' in answer.text
    assert "anna" not in answer.text
    for file in ("static/nothing.css", "libraries/nothing.js"):
        asset = browser.get(f"/ui/_nicegui/{version('nicegui')}/{file}")
        assert (asset.status_code, "<html" in asset.text) == (404, False)
    assert "anna" not in running.log("serve")


def test_several_processes_say_that_they_have_no_page(tmp_path: Path) -> None:
    with service(tmp_path, GRAPHSVC_PROCESSES="2") as made:
        made.start("serve")
        made.wait_ready()
        with made.client() as http:
            for path in ("/ui", "/ui/", "/ui/login", "/ui/jobs"):
                answer = http.get(path)
                assert (answer.status_code, "GRAPHSVC_PAGE_PORT" in answer.text) == (200, True)


def test_several_processes_lead_to_the_one_that_has_the_page(tmp_path: Path) -> None:
    port = free_port()
    with service(tmp_path, GRAPHSVC_PROCESSES="2", GRAPHSVC_PAGE_PORT=str(port)) as made:
        made.start("serve")
        made.wait_ready()
        made.wait_ready(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{made.port}") as browser:
            there = f"http://127.0.0.1:{port}/ui/"
            assert browser.get("/ui?who=anna").headers["location"] == there
            assert browser.get("/ui/jobs").headers["location"] == f"{there}jobs"
            form = browser.get("/ui", follow_redirects=True)
            assert str(form.url) == f"{there}login"
            signed_in = browser.post(f"{there}login", data={"key": made.key})
            assert signed_in.headers["location"] == "/ui/"
            assert browser.get(there).status_code == 200
        made.stop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_page_process_that_ends_is_started_again(tmp_path: Path) -> None:
    port = free_port()
    with service(tmp_path, GRAPHSVC_PROCESSES="2", GRAPHSVC_PAGE_PORT=str(port)) as made:
        made.start("serve")
        made.wait_ready(port)
        os.kill(_listening(port), signal.SIGKILL)
        eventually("it says so", lambda: "is started again" in made.log("serve"), seconds=10)
        made.wait_ready(port)
        made.kill("serve")
        eventually("it ends with its parent", lambda: not _is_there(port), seconds=20)


def _is_there(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _listening(port: int) -> int:
    """The process that listens on a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] == "0A")
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(handle.readlink()) == f"socket:[{inode}]":
                return int(handle.parts[2])
    raise AssertionError(f"nobody listens on {port}")


def _key(sessions: Sessions, token: str) -> str | None:
    """The key of whoever holds a token."""
    session = sessions.find(token)
    return sessions.key(session) if session else None


def test_sessions_end_by_themselves() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    token = sessions.begin("k")
    assert _key(sessions, token) == "k"
    assert token not in repr(sessions)
    assert token not in str(sessions._held)
    used = 0.0
    while used + IDLE_SECONDS - 1 < LONGEST_SECONDS:
        used += IDLE_SECONDS - 1
        now[0] = used
        assert _key(sessions, token) == "k", "whoever uses it keeps it"
    now[0] = LONGEST_SECONDS
    assert _key(sessions, token) is None, "for a day"
    idle = sessions.begin("k")
    looked_at = sessions.find(idle)
    assert looked_at
    now[0] += IDLE_SECONDS - 1
    assert sessions.key(looked_at, used=False) == "k", "a view that looks again by itself"
    now[0] += 1
    assert sessions.key(looked_at, used=False) is None, "does not keep it"
    other = sessions.begin("k")
    open_page = sessions.find(other)
    assert open_page
    sessions.end(other)
    assert sessions.key(open_page) is None, "nor does a page that is open go on"


def test_no_more_sessions_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.ui.sessions._MOST", 3)
    monkeypatch.setattr("api.ui.sessions._MOST_OF_ONE", 2)
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    tokens = []
    for key in "aaabbc":
        now[0] += 1.0
        tokens.append(sessions.begin(key))
    assert len(sessions._held) == 3
    # Of a the first went for the third, the second and the third for those of b and c.
    assert [key for _, key in zip(tokens, "aaabbc", strict=True) if _key(sessions, _)] == [
        "b",
        "b",
        "c",
    ]
