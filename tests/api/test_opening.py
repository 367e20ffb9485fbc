"""Commands say in one sentence what is missing: the graph, its schema, a port."""

import socket

import pytest

from api.errors import NothingHere, PortTaken
from api.opening import open_database
from api.processes import check_port
from api.settings import Settings, read_settings
from api.setup import prepare
from graphsvc.errors import DatabaseUnavailable, SchemaMismatch


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


def test_another_schema_than_the_graphs(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATA_DIR", str(trained.settings.data_dir))
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", trained.settings.database_url)
    monkeypatch.setenv("GRAPHSVC_SCHEMA", "ads")
    with pytest.raises(SchemaMismatch, match=r"film, thing.*'ads'.*GRAPHSVC_SCHEMA"):
        open_database()
    with pytest.raises(SchemaMismatch):
        prepare(Settings())
    monkeypatch.setenv("GRAPHSVC_SCHEMA", "film")
    read_settings.cache_clear()
    open_database().dispose()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{port}.*GRAPHSVC_PORT"):
            check_port(Settings(port=port))
