"""README's blocks run: make targets exist, and its curl lines get the answers it promises."""

import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest
from planted import planted_events
from running import eventually, post_all, service, wait_job

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.strip().splitlines()]
CURL = [line for line in LINES if line.startswith("curl ")]
MAKE = [line for line in LINES if line.startswith("make ")]


def test_every_line_is_covered_here() -> None:
    assert len(MAKE) == 3
    assert len(CURL) == 4
    assert set(LINES) == {*MAKE, *CURL}


def test_the_events_of_the_readme_are_accepted(tmp_path: Path) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with service(tmp_path, GRAPHSVC_SCHEMA="ads") as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            late = http.post("/v1/events", content=block).json()
            assert (late["accepted"], late["rejected"]) == (2, 3), late
            past = "/v1/events?backfill=true"
            found = http.post(past, content=block).json()
            assert (found["accepted"], found["duplicate"]) == (3, 2), found
            without = http.post(past, content=block.replace('"consent": true, ', "")).json()
            assert [v["status"] for v in without["verdicts"]].count("rejected") == 1
            assert {v.get("code") for v in without["verdicts"]} >= {"consent_required"}


@pytest.mark.parametrize("line", MAKE)
def test_make_knows_the_target(line: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", line.removeprefix("make ")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/" in done.stdout


def test_the_curl_lines_do_what_they_say(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.start("serve")
        running.start("worker")
        running.wait_ready()
        with running.client() as http:
            # README's films, as planted ones: 50 and 172 and 181 and 1 take the place of dramas.
            names = {"d1": "50", "d2": "172", "d3": "181", "d4": "1"}
            post_all(http, [_renamed(event, names) for event in planted_events()])
            wait_job(http, http.post("/v1/retrains", json={"arms": ["none"]}).json()["job"])
            eventually("live", lambda: http.get("/health/ready").json()["generation"], seconds=10)
        posted, scored, asked, listed = (_run(line, running.port, running.key) for line in CURL)
        assert posted["accepted"] == 1
        assert scored["state"] == "cold"
        assert {item["id"] for item in scored["scores"]} == {"172", "181", "1"}
        [job] = listed["items"]
        assert (job["id"], job["name"]) == (asked["job"], "retrain")


def _renamed(event: dict, names: dict[str, str]) -> dict:
    ends = {
        end: {**event[end], "id": names.get(event[end]["id"], event[end]["id"])}
        for end in ("actor", "object")
        if end in event
    }
    return {**event, **ends}


def _run(line: str, port: int, key: str) -> dict:
    """What curl would send: read with the shell's rules, and curl's default content type."""
    words = shlex.split(line.replace("$KEY", key).replace(":8080", f":{port}"))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body, url = None, ""
    arguments = iter(words[2:])  # after: curl -s
    for word in arguments:
        if word == "-H":
            name, _, value = next(arguments).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(arguments)
        else:
            url = word
    method = "GET" if body is None else "POST"
    answer = httpx.request(method, url, headers=headers, content=body, timeout=60)
    assert answer.is_success, answer.text
    return answer.json()
