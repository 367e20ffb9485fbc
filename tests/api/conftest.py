"""A trained service in this process, answering real HTTP; a file of tests has one of its own."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import followed
import httpx
import pytest
import uvicorn
from loops import silent
from planted import planted_events
from postgres_server import Postgres
from running import SMALL, eventually, free_port, post_all

from api.app import create_app
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
from api.live import Live
from api.processes import KEEP_ALIVE
from api.settings import Settings
from api.setup import prepare

SEEDS = (1, 2)


@dataclass
class Trained:
    """A running server, a client with a key, and what was trained: one trio per seed."""

    settings: Settings
    http: httpx.Client
    key: str
    snapshot: str
    bundles: list[str]
    indexes: list[str]
    rankers: list[str]
    report: str

    def open(self) -> httpx.Client:
        """A client without a key."""
        return httpx.Client(base_url=self.http.base_url, timeout=30)


@pytest.fixture(scope="session")
def trained_once(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trained]:
    """What was trained on a kind of database, once: to be copied, since tests write to theirs."""

    @cache
    def on(kind: str) -> Trained:
        url = postgres.create() if kind == "postgresql" else ""
        return _train(_settings(tmp_path_factory.mktemp("trained") / "data", url))

    return on


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def trained(
    request: pytest.FixtureRequest,
    trained_once: Callable[[str], Trained],
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trained]:
    """The planted world, ingested over HTTP and trained twice; the second trio is live."""
    made = trained_once(request.param)
    folder = tmp_path_factory.mktemp("service") / "data"
    shutil.copytree(made.settings.data_dir, folder)
    url = made.settings.database_url and postgres.copy(made.settings.database_url)
    settings = _settings(folder, url)
    with serving(settings) as http:
        http.headers["Authorization"] = f"Bearer {made.key}"
        _followed(http)
        yield replace(made, settings=settings, http=http)


def _settings(folder: Path, url: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setenv(name, value)
        return Settings(
            data_dir=folder,
            database_url=url,
            max_bulk_bytes=8 * 1024 * 1024,
            port=free_port(),
        )


def _train(settings: Settings) -> Trained:
    key = prepare(settings)
    assert key
    with serving(settings) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        post_all(http, planted_events())
        shop = open_workshop(settings)
        sealed = steps.snapshot(shop, RetrainRequest(), silent)
        made = [_trio(shop, sealed, seed) for seed in SEEDS]
        report = steps.judge(
            shop, (sealed, made[1][0]), {"frozen": made[1][2]}, seed=0, tick=silent
        )
        for _, _, ranker in made:
            promote(shop.database, ranker, reason="test")
        shop.database.dispose()
        bundles, indexes, rankers = (list(column) for column in zip(*made, strict=True))
        return Trained(settings, http, key, sealed, bundles, indexes, rankers, report)


def _followed(http: httpx.Client) -> None:
    eventually(
        "the server has the second trio",
        lambda: http.get("/health/ready").json().get("generation") == len(SEEDS),
        seconds=10,
    )


class serving:  # noqa: N801  (used as a function)
    """A server for some settings, in a thread of this process, for as long as the block lasts."""

    def __init__(self, settings: Settings) -> None:
        config = uvicorn.Config(
            create_app(settings),
            host="127.0.0.1",
            port=settings.port,
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30)

    def __enter__(self) -> httpx.Client:
        self.thread.start()
        eventually("server started", lambda: self.server.started, seconds=30)
        return self.http

    def __exit__(self, *_error: object) -> None:
        self.http.close()
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(name="serving", scope="session")
def _serving() -> type[serving]:
    """A server for some settings, as a context."""
    return serving


@pytest.fixture
def shop(trained: Trained) -> Iterator[Workshop]:
    """What a worker's steps are given, over the trained world."""
    opened = open_workshop(trained.settings)
    yield opened
    opened.database.dispose()


@pytest.fixture(scope="module")
def live(trained: Trained) -> Iterator[Live]:
    """A server's view of the trained world, at the end of its log; a file of tests has one."""
    view = followed.opened(trained)
    followed.settle(view)
    yield view
    view.database.dispose()


@pytest.fixture
def http(trained: Trained) -> httpx.Client:
    """A client with a key."""
    return trained.http


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert "Traceback" not in answer.text
    return body


@pytest.fixture(name="problem")
def _problem() -> Any:
    return problem


def _trio(shop: Workshop, snapshot: str, seed: int) -> tuple[str, str, str]:
    bundle = embed(shop, snapshot, seed=seed, tick=silent)
    index = steps.index(shop, bundle, silent)
    ranker = steps.rank(shop, (snapshot, bundle), arm="frozen", seed=seed, tick=silent)
    return bundle, index, ranker
