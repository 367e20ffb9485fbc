"""A run in a terminal that is killed goes on behind its last part, and shows a bar."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import SMALL, eventually

from api.scorefile import PART_ROWS

PARTS = 5


@pytest.fixture
def command(trained: Any, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Scoring of some parts, and its environment."""
    count = PARTS * PART_ROWS - 7
    columns = {
        "head": pa.array([f"u{n % 60}" for n in range(count)]),
        "candidate": pa.array([f"{'dc'[n // 60 % 2]}{n // 120 % 7}" for n in range(count)]),
    }
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    own = {
        **SMALL,
        "GRAPHSVC_DATA_DIR": str(trained.settings.data_dir),
        "GRAPHSVC_DATABASE_URL": trained.settings.database_url,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    words = ["score-file", str(tmp_path / "pairs.parquet"), "--threads", "1", "--to"]
    return [sys.executable, "-m", "api", *words], own


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def read(terminal: int, seen: bytearray) -> None:
    try:
        while piece := os.read(terminal, 4096):
            seen.extend(piece)
    except OSError:  # the other end is closed
        pass


@pytest.mark.parametrize("trained", ["sqlite"], indirect=True)
def test_a_killed_run_goes_on_and_has_the_scores_of_one_that_was_not(
    command: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    arguments, own = command
    ours, theirs = pty.openpty()
    killed = tmp_path / "killed"
    child = subprocess.Popen(
        [*arguments, str(killed)], env=own, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = bytearray()
    reader = threading.Thread(target=read, args=(ours, seen))
    reader.start()
    eventually("two parts", lambda: len(parts(killed)) >= 2, seconds=120)
    child.send_signal(signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    reader.join(60)
    os.close(ours)
    there = len(parts(killed))
    assert 2 <= there < PARTS
    # The bar told how many rows of how many were done.
    told = {(int(done), int(of)) for done, of in re.findall(rb"(\d+)/(\d+)", bytes(seen))}
    assert (PART_ROWS, PARTS * PART_ROWS - 7) in told

    def through(to: Path) -> dict[str, Any]:
        done = subprocess.run([*arguments, str(to), "--json"], env=own, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return orjson.loads(done.stdout)

    before = [part.stat().st_mtime_ns for part in parts(killed)]
    again, whole = through(killed), through(tmp_path / "whole")
    assert (again["resumed"], whole["resumed"]) == (there * PART_ROWS, 0)
    assert [part.stat().st_mtime_ns for part in parts(killed)[:there]] == before
    assert again["rows"] == whole["rows"] == PARTS * PART_ROWS - 7
    for mine, theirs_ in zip(parts(killed), parts(tmp_path / "whole"), strict=True):
        assert pq.read_table(mine).equals(pq.read_table(theirs_))
