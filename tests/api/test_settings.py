"""Settings come from the environment, dials nest, and a bad value names itself."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import Settings
from kge.errors import KgeError
from ranking.errors import RankingError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of a developer's


def test_defaults_are_local_and_safe() -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.graph_url.endswith("/data/graph.sqlite")
    assert settings.jobs_url != settings.graph_url, "SQLite has one writer; jobs have their own"


def test_postgresql_holds_graph_and_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", "postgresql://me@host/name")
    settings = Settings()
    assert settings.graph_url == settings.jobs_url == "postgresql://me@host/name"


@pytest.mark.parametrize(
    ("url", "added"),
    [
        ("postgresql://me@host/name", "?timeout=2.5"),
        ("postgresql://me@host/name?connect_timeout=3", "&timeout=2.5"),
        ("postgresql://me@host/name?timeout=4", ""),
        ("sqlite:////folder/file", "?timeout=2.5"),
    ],
)
def test_the_patience_of_writers_goes_with_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str, added: str
) -> None:
    monkeypatch.setenv("GRAPHSVC_DATABASE_URL", url)
    assert Settings().graph_url == url
    monkeypatch.setenv("GRAPHSVC_BUSY_SECONDS", "2.5")
    assert Settings().graph_url == url + added


def test_dials_nest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_TRANSRA__DIM", "16")
    monkeypatch.setenv("GRAPHSVC_RANKER__CROSSING__LAYERS", "4")
    settings = Settings()
    assert settings.transra.dim == 16
    assert settings.ranker.crossing.layers == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRAPHSVC_PORT", "99999"),
        ("GRAPHSVC_THREADS", "0"),
        ("GRAPHSVC_POLL_SECONDS", "0"),
        ("GRAPHSVC_TRANSRA__DIM", "0"),
        ("GRAPHSVC_RANKER__DROPOUT", "2"),
    ],
)
def test_a_bad_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, KgeError, RankingError)) as refused:
        Settings()
    assert value in str(refused.value)
