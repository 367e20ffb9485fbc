"""Settings come from the environment, dials nest, and a bad value names itself."""

import argparse
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.errors import SettingMalformed, SettingUnknown
from api.memory import size
from api.settings import Settings, read_settings, refuse_unknown
from graphsvc.wording import sentence
from kge.errors import KgeError
from ranking.errors import RankingError

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GRAPHSVC_PROT", "; did you mean GRAPHSVC_PORT?"),
        ("graphsvc_prot", "; did you mean GRAPHSVC_PORT?"),
        ("GRAPHSVC_SCHEMA_NAME", "; did you mean GRAPHSVC_SCHEMA?"),
        ("GRAPHSVC_TRANSRA__DIMM", "; did you mean GRAPHSVC_TRANSRA__DIM?"),
        ("GRAPHSVC_TRANSRA_DIM", "; did you mean GRAPHSVC_TRANSRA__DIM?"),
        ("GRAPHSVC_TRANSSRA__DIM", "; did you mean GRAPHSVC_TRANSRA__DIM?"),
        ("GRAPHSVC_RANKER__EPOCH", "; did you mean GRAPHSVC_RANKER__TRAINING__EPOCHS?"),
        ("GRAPHSVC_RANKER__IDS__MIN_ROW", "; did you mean GRAPHSVC_RANKER__IDS__MIN_ROWS?"),
        ("GRAPHSVC_PORT__X", "; did you mean GRAPHSVC_PORT?"),
        ("GRAPHSVC_QQQ", "; docs/operations.md names them all"),
    ],
)
def test_a_name_that_is_no_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    read_settings.cache_clear()
    monkeypatch.setenv(name, "3")
    with pytest.raises(SettingUnknown) as refused:
        read_settings()
    says = f"has {name.upper()}, which is no setting{meant}"
    assert str(refused.value) == f"the environment {says}"
    monkeypatch.delenv(name)
    Path(".env").write_text(f"POSTGRES_PASSWORD=x\n{name}=3\n")
    with pytest.raises(SettingUnknown) as refused:
        read_settings()
    assert str(refused.value) == f".env {says}"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "GRAPHSVC_FACETS",
            '{"made": ["directed',
            '"checkout"]}, received \'{"made": ["directed\' (Unterminated string',
        ),
        ("GRAPHSVC_FACETS", "", "received '' ("),
        ("GRAPHSVC_FACETS", "[" * 100_000, "received '[[["),
        ("GRAPHSVC_FACETS", '{"a": ' + "1" * 5000, 'received \'{"a": 111'),
        ("GRAPHSVC_INDEX", "[1]", "received '[1]'"),
        ("GRAPHSVC_TRANSRA", "5", "such as {\"dim\": ...}, received '5'"),
        ("GRAPHSVC_RANKER__CROSSING", "{", "received '{' ("),
    ],
)
def test_a_setting_that_is_no_json_object_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    read_settings.cache_clear()
    Path(".env").write_text(f"{name}='{value}'\n")
    with pytest.raises(SettingMalformed):
        read_settings()
    Path(".env").unlink()
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingMalformed) as refused:
        read_settings()
    assert str(refused.value).startswith(f"{name} should be a JSON object such as {{")
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_dial_in_json_is_refused_as_one_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    read_settings.cache_clear()
    monkeypatch.setenv("GRAPHSVC_RANKER__CROSSING", '{"layers": 4}')
    assert read_settings().ranker.crossing.layers == 4
    read_settings.cache_clear()
    monkeypatch.setenv("GRAPHSVC_RANKER", '{"crossing": {"layes": 4}}')
    with pytest.raises(SettingUnknown, match=r"__CROSSING has 'layes', .*; did you mean layers\?"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRANSRA__DIM", "-3", "transra.dim should be at least 1, received -3"),
        ("TRANSRA", '{"dim": -3}', "transra.dim should be at least 1, received -3"),
        ("TRANSRA__DROPOUT", "3", "transra.dropout should be from 0 to less than 1, received 3"),
        ("INDEX__LEAST_RECALL", "1.5", "index.least_recall should be from 0 to 1, received 1.5"),
        ("RANKER__CROSSING__LAYERS", "-1", "ranker.crossing.layers should be "),
        ("GATE__LEAST_USERS", "1", "gate.least_users should be at least 2, received 1"),
        ("TIERS__DEVICE", "gpu", "tiers.device should be one of auto, none, cuda, received "),
        ("TRANSRA__PRIOR_EDGES", "0", "transra.prior_edges should be above 0, received 0"),
    ],
)
def test_a_dial_is_named_in_full(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"GRAPHSVC_{name}", value)
    with pytest.raises((KgeError, RankingError)) as refused:
        Settings()
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("text", ["foo", "-5", "8 bananas", ""])
def test_a_size_is_refused_with_what_a_size_is(text: str) -> None:
    options = argparse.ArgumentParser(exit_on_error=False)
    options.add_argument("--memory", type=size)
    says = "should be a size such as 8GiB, 512MiB, or a number of bytes, received "
    with pytest.raises(argparse.ArgumentError, match=f"^argument --memory: {says}{text!r}$"):
        options.parse_args([f"--memory={text}"])
    with pytest.raises(ValidationError) as refused:
        Settings(memory=text)
    assert sentence(refused.value.errors()[0]) == f"{says}{text!r}"
    assert options.parse_args(["--memory=8GiB"]).memory == 8 << 30


def test_every_name_that_we_write_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the docs, the containers, the tests: each would be refused if it were none."""
    kinds = ("*.py", "*.md", "*.yml", "Makefile", "Dockerfile", ".env.example")
    texts = [
        path.read_text()
        for kind in kinds
        for path in ROOT.rglob(kind)
        if ".venv" not in path.parts and path != Path(__file__)
    ]
    named = {name.rstrip("_") for text in texts for name in re.findall(r"GRAPHSVC_[A-Z_]+", text)}
    assert len(named) > 20
    for name in named - {"GRAPHSVC"}:
        monkeypatch.setenv(name, "1")
    refuse_unknown()
