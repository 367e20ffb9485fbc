"""What all tests share: databases that are thrown away, and tensor shapes that are checked.

Every database test runs on SQLite and on a real PostgreSQL: the fixture `database` does both. The
PostgreSQL server is one per test process (tests/support/postgres_server.py).
"""

import os

# Before anything imports numpy: tests run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Exporting a network takes seconds, and there are a hundred retrains: what is about it sets this.
os.environ.setdefault("GRAPHSVC_FORWARD", "torch")

import gc
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import postgres_server
import pytest
import quiet_logs
from postgres_server import Postgres

# Before anything imports them: shapes and dtypes can be checked in every call.
jaxtyping.install_import_hook(["kge", "ranking"], "beartype.beartype")

from graphsvc.db import Database  # noqa: E402  (after the import hook)
from migrations import upgrade  # noqa: E402  (after the import hook)

#: Folders whose tests are of tensors.
_CHECKED = ("benchmarks", "kge", "ranking")


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """No line that any test lets a logger write may have a key or a person in it.

    Watched anew for each, since the command line begins a log of its own in some.
    """
    with quiet_logs.watched() as found:
        yield
    assert found == []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server of this test process, started when a test first needs it."""
    postgres_server.sweep()
    server = postgres_server.start()
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


#: Backends of the ID tables, and what has to be installed before their contract is tested.
_OPTIONAL = {"fbgemm": ("fbgemm_gpu",), "torchrec": ("fbgemm_gpu", "torchrec")}


def pytest_report_header() -> list[str]:
    """Say what is not tested here because it is not installed."""
    away = [
        f"{name} ({', '.join(needs)})"
        for name, needs in _OPTIONAL.items()
        if any(find_spec(module) is None for module in needs)
    ]
    told = ", ".join(away) or "none"
    return [f"not tested here, because not installed: backends of ID tables: {told}"]


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the markers that are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `slow_as` make tests slow, and put long ones first, so that no process ends alone."""
    for item in items:
        known = item.callspec.id if hasattr(item, "callspec") else ""
        patterns = (one for mark in item.iter_markers("slow_as") for one in mark.args)
        if any(fnmatchcase(known, pattern) for pattern in patterns):
            item.add_marker("slow")
    items.sort(key=lambda item: not {"journeys", "test_memory.py"} & set(item.path.parts))


def pytest_collection_finish() -> None:
    """What was imported stays: PyKEEN collects garbage after every epoch, and would look at it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes where tensors are what is tested; elsewhere that takes half of all time."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    jaxtyping.config.update("jaxtyping_disable", folder not in _CHECKED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have to say, also of those that passed."""
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == "said":
                terminalreporter.write_line(f"{said}")
