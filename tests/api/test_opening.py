"""Commands say in one sentence what is missing: the graph, its schema, a port."""

import socket

import pytest

from api.errors import NothingHere, PortTaken
from api.opening import open_database
from api.processes import check_port
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
