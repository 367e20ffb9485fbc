"""Commands say in one sentence what is missing: the graph, its schema, a port."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from api.errors import NothingHere, PortTaken
from api.opening import open_database
from api.processes import check_port, check_ports
from api.settings import Settings, read_settings
from api.setup import prepare
from graphsvc import versions
from graphsvc.errors import DatabaseUnavailable, SchemaError, SchemaMissing
from migrations import upgrade


@pytest.fixture(autouse=True)
def _settings_are_read_anew():
    read_settings.cache_clear()
    yield
    read_settings.cache_clear()


def test_no_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(NothingHere, match=r"nowhere.*graphsvc init"):
        open_database()
    assert not (tmp_path / "nowhere").exists()


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        open_database()


def test_no_tables(empty_url: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", empty_url)
    with pytest.raises(NothingHere, match="graphsvc init"):
        open_database()


def test_no_schema(empty_url: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(empty_url)
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", empty_url)
    with pytest.raises(SchemaMissing, match="graphsvc init"):
        open_database()


def test_the_schema_of_the_database_counts(
    trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(trained.settings.data_dir))
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", trained.settings.database_url)
    for name, told in (("film", 0), ("ads", 1), ("nothing.toml", 0)):
        monkeypatch.setenv("GRAPHSVC_SCHEMA", name)
        read_settings.cache_clear()
        caplog.clear()
        prepare(Settings())
        said = [record.getMessage() for record in caplog.records if "SCHEMA" in record.msg]
        assert len(said) == told, said
        assert all("'ads'" in one and "'film', version 1" in one for one in said)
        database = open_database()
        with database.reading() as connection:
            assert versions.current(connection).name == "film"
        database.dispose()


def test_a_bad_schema_is_refused_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(tmp_path / "new"))
    monkeypatch.setenv("GRAPHSVC_SCHEMA", "nothing.toml")
    with pytest.raises(SchemaError, match=r"nothing\.toml"):
        prepare(Settings())
    assert not (tmp_path / "new").exists()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{port}.*GRAPHSVC_PORT"):
            check_port(Settings(port=port))
    check_port(Settings(port=port))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1.*GRAPHSVC_HOST"):
        check_port(Settings(host="192.0.2.1"))


def test_the_port_of_an_address_with_colons() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"{port} .*in use"):
            check_port(Settings(host="::1", port=port))
    check_port(Settings(host="::1", port=port))


@pytest.mark.parametrize("verb", ["up", "serve"])
def test_a_taken_port_ends_the_command_before_anything_is_made(tmp_path: Path, verb: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        own = {"GRAPHSVC_DATA_DIR": str(tmp_path / "data"), "GRAPHSVC_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, "-m", "api", verb],
            env={"PATH": os.environ["PATH"], **own},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: 127.0.0.1:{port} cannot be listened on")
    assert len(done.stderr.splitlines()) == 1
    assert "GRAPHSVC_PORT" in done.stderr
    assert not (tmp_path / "data").exists(), "no key was made that nobody saw"


def test_the_page_has_a_port_of_its_own() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    own = Settings(port=port, page_port=port, processes=2)
    with pytest.raises(PortTaken, match=f"GRAPHSVC_PAGE_PORT should be another port .*, {port}"):
        check_ports(own)
    check_ports(own.model_copy(update={"processes": 1}))  # the page's own process
