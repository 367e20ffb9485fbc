"""`graphsvc up` runs server and worker, and stops both cleanly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from running import eventually, service


def test_up_starts_both_and_stops_both(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        up = subprocess.Popen(
            [sys.executable, "-m", "api", "up", "--json"],
            env=running.environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        running.wait_ready()
        children = eventually("both run", lambda: _two_children(up.pid), seconds=30)
        up.send_signal(signal.SIGTERM)
        _, errors = up.communicate(timeout=30)
        assert up.returncode == 0, errors.decode()
        assert b"Traceback" not in errors
        for pid in children:
            assert not _alive(pid)


def test_a_killed_up_leaves_nobody_behind(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        up = subprocess.Popen(
            [sys.executable, "-m", "api", "up", "--json"],
            env=running.environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        running.wait_ready()
        children = eventually("both run", lambda: _two_children(up.pid), seconds=30)
        lock = tmp_path / "data/worker.lock"
        eventually("the worker runs", lambda: lock.exists() and lock.read_text(), seconds=60)
        os.kill(up.pid, signal.SIGKILL)  # itself alone: it can stop nobody any more
        up.wait(10)
        for pid in children:
            eventually(f"process {pid} ended", lambda pid=pid: not _runs(pid), seconds=20)


def _runs(pid: int) -> bool:
    """Whether a process does anything: whoever inherited it may not reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _two_children(pid: int) -> list[int] | None:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed] if len(listed) == 2 else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
