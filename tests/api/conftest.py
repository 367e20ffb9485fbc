"""A trained service in this process, answering real HTTP; one per test process."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from planted import planted_events
from running import SMALL, eventually, free_port, post_all

from api.app import create_app
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    """The planted world, ingested over HTTP and trained twice; the second trio is live."""
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setenv(name, value)
        settings = Settings(
            data_dir=tmp_path_factory.mktemp("service") / "data",
            database_url=url,
            max_bulk_bytes=8 * 1024 * 1024,
            port=free_port(),
        )
    key = prepare(settings)
    assert key
    with serving(settings) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        post_all(http, planted_events())
        shop = open_workshop(settings)
        sealed = steps.snapshot(shop, RetrainRequest(), _silent)
        made = [_trio(shop, sealed, seed) for seed in SEEDS]
        report = steps.judge(
            shop, (sealed, made[1][0]), {"frozen": made[1][2]}, seed=0, tick=_silent
        )
        for _, _, ranker in made:
            promote(shop.database, ranker, reason="test")
        eventually(
            "the server follows",
            lambda: http.get("/health/ready").json()["generation"] == len(SEEDS),
            seconds=10,
        )
        bundles, indexes, rankers = (list(column) for column in zip(*made, strict=True))
        yield Trained(settings, http, key, sealed, bundles, indexes, rankers, report)
        shop.database.dispose()


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

    return tmp_path


def _trio(shop: Workshop, snapshot: str, seed: int) -> tuple[str, str, str]:
    bundle = embed(shop, snapshot, seed=seed, tick=_silent)
    index = steps.index(shop, bundle, _silent)
    ranker = steps.rank(shop, (snapshot, bundle), arm="frozen", seed=seed, tick=_silent)
    return bundle, index, ranker


def _silent(_done: int, _total: int, _note: str) -> None:
    return None
