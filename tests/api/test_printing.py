"""Where nobody sees bars move, stdout is the answer and stderr is empty; a terminal shows them."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from time import time

import orjson
import pytest
from planted import click
from rich.progress import Progress

from api.printing import RateColumn

CONTROLS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def command(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A command that shows a bar, and its environment."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(orjson.dumps(click("u1", "f1", int(time()), "c-1")))
    own = {"PATH": os.environ["PATH"], "GRAPHSVC_SCHEMA": "film", "TMPDIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    own |= {"GRAPHSVC_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(root)}
    return [sys.executable, "-m", "api", "ingest", str(file), "--dry-run"], own


@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}])
def test_a_pipe_gets_no_bars(
    command: tuple[list[str], dict[str, str]], forced: dict[str, str]
) -> None:
    arguments, own = command
    done = subprocess.run(arguments, env=own | forced, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"showing 1 of 1 events" in done.stdout
    if not forced:
        assert not CONTROLS.search(done.stdout)


def test_a_terminal_shows_bars(command: tuple[list[str], dict[str, str]]) -> None:
    arguments, own = command
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        arguments, env=own | {"TERM": "xterm"}, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        child.wait(60)
    assert b"dry run" in seen
    assert CONTROLS.search(seen)


def test_a_bar_tells_the_rate() -> None:
    now = 0.0
    bars = Progress(RateColumn(), get_time=lambda: now, auto_refresh=False)
    task = bars.add_task("embed", total=1000)
    assert RateColumn().render(bars.tasks[0]).plain == ""
    for now, done in ((2.0, 300), (4.0, 600)):  # noqa: B007  (the clock reads it)
        bars.update(task, completed=done)
    assert RateColumn().render(bars.tasks[0]).plain == "150.0/s"
