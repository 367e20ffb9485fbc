"""Somebody new gets the same vector online as training gave to people who were new to it."""

import numpy as np
import pytest
from planted import START, click

from api.answers import Answerer
from api.live import Live
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.schema import load_schema
from kge.foldin import History, Queries, foldin_as_of


def test_online_equals_as_of(trained) -> None:
    films = ["d1", "d3", "d3", "c2", "never-trained"]
    events = [click("twin", film, START + n, f"twin-{n}") for n, film in enumerate(films)]
    assert trained.http.post("/v1/events?backfill=true", json={"events": events}).json()[
        "accepted"
    ] == len(films)

    database = Database(trained.settings.graph_url)
    film = load_schema("film")
    live = Live(database, ArtifactStore(trained.settings.artifacts_dir), lambda: film)
    live.refresh()
    trio, answerer = live.trio(), Answerer(database, film, 200)
    with database.reading() as connection:
        online = answerer.locate(trio, connection, EntityId("user", "twin"), scoring=True)

    bundle = trio.bundle
    expected, lengths = foldin_as_of(
        bundle,
        trio.foldin,
        bundle.relation_index("click"),
        History(
            key=np.zeros(len(films), np.int64),
            tail=bundle.rows("film", films),
            time=np.arange(len(films)),
        ),
        Queries(key=np.zeros(1, np.int64), time=np.full(1, 10**6)),
    )
    assert lengths.tolist() == [len(films)]
    np.testing.assert_allclose(online.vector, expected[0], atol=1e-5)
    assert (online.state, online.edges) == ("cold", 3), "three films that training knew"
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(online.vector, bundle.prior("user"), atol=1e-5)
    database.dispose()
