"""A server's view of the trained world, that goes on when a test says so."""

from planted import START, click

from api.live import Following, Live
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.schema import load_schema

FILM = load_schema("film")


def opened(trained, **following: int) -> Live:
    """A server's view of the trained world, without its threads: the test takes the steps."""
    database = Database(trained.settings.graph_url)
    live = Live(
        database,
        ArtifactStore(trained.settings.artifacts_dir),
        lambda: FILM,
        Following(**following),
    )
    live.refresh()
    return live


def post(trained, film: str, users: range, *, name: str = "") -> None:
    """Clicks of users u0, u1, ... on a film, said over HTTP."""
    events = [click(f"u{n}", film, START + n, f"{film}-{n}-{name}") for n in users]
    answer = trained.http.post("/v1/events", params={"backfill": True}, json={"events": events})
    assert answer.json()["accepted"] == len(users), answer.text


def settle(live: Live) -> int:
    """Take steps until the log holds nothing newer: how many there were."""
    steps = 0
    while live.trio().tail.step():
        steps += 1
    return steps
