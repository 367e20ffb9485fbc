"""What a server finds of an index that was built without those who were out of answers."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from loops import silent
from running import eventually

from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import open_workshop
from kge import parts
from kge.bundle import open_bundle
from kge.index import Index, open_index

GONE = "d18"


def near(http: httpx.Client, **asked: Any) -> list[str]:
    answer = http.get("/v1/entities/film/d1/neighbors", params={"k": 1000, **asked})
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture(scope="module")
def index(trained) -> Iterator[Index]:
    """A film is retired, a refresh follows, and its trio is live for this file's tests."""
    http, ranker = trained.http, trained.rankers[-1]
    assert http.delete(f"/v1/entities/film/{GONE}").is_success
    shop = open_workshop(trained.settings)
    before = trained.bundles[-1]
    snapshot = steps.snapshot(shop, RetrainRequest(), silent)
    bundle = embed(shop, snapshot, seed=3, tick=silent, previous=before)
    digest = steps.index(shop, bundle, silent)

    def live(bundle: str) -> None:
        generation = promote(shop.database, ranker, bundle=bundle, reason="test").generation
        eventually(
            "the server follows",
            lambda: http.get("/health/ready").json()["generation"] == generation,
            seconds=10,
        )

    live(bundle)
    yield open_index(shop.store, digest, open_bundle(shop.store, bundle))
    http.post(f"/v1/entities/film/{GONE}/restore")
    live(before)
    shop.database.dispose()


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """What each search in this process was allowed to find, by FAISS or by what was sifted."""
    seen: list[np.ndarray | None] = []
    searching, sifting = parts.found_by, parts.Part._sifted

    def sifted(part: parts.Part, units: Any, k: int, may: np.ndarray, count: int) -> Any:
        found = sifting(part, units, k, may, count)
        seen[-1] = may
        return found

    def watched(*given: Any, allowed: np.ndarray | None = None, **named: Any) -> Any:
        seen.append(allowed)
        return searching(*given, allowed=allowed, **named)

    monkeypatch.setattr(parts, "found_by", watched)
    monkeypatch.setattr(parts.Part, "_sifted", sifted)
    return seen


def test_who_is_retired_is_in_no_later_index_and_in_no_filters_way(
    http: httpx.Client, index: Index, masks: list[np.ndarray | None]
) -> None:
    bundle = index.bundle
    [row] = bundle.rows("film", [GONE])
    assert row >= 0, "the bundle knows it, for labels"
    assert index.left_out.tolist() == [row]
    kind = bundle.types["film"]
    assert index.recipes["all", "film"].rows == kind.stop - kind.start - 1
    found = near(http)
    assert GONE not in found
    assert {"d17", "d19"} <= set(found)
    assert masks == [None], "nothing is passed over"
    assert GONE not in near(http, relation="genre", type="thing")
    clicked = http.get("/v1/entities/user/u2/neighbors", params={"relation": "click", "k": 1000})
    assert GONE not in [item["id"] for item in clicked.json()["items"]]


def test_who_is_retired_since_is_passed_over_and_whoever_is_back_is_found(
    http: httpx.Client, index: Index, masks: list[np.ndarray | None]
) -> None:
    assert http.delete("/v1/entities/film/d14").is_success
    try:
        assert "d14" not in near(http), "from the next answer on"
        eventually("it is passed over", lambda: near(http) and masks[-1] is not None, seconds=10)
        assert np.count_nonzero(~masks[-1]) == 1
        assert not {"d14", GONE} & set(near(http))
    finally:
        assert http.post("/v1/entities/film/d14/restore").is_success
    assert http.post(f"/v1/entities/film/{GONE}/restore").is_success
    eventually("both are found", lambda: {"d14", GONE} <= set(near(http)), seconds=10)
    [item] = [
        item
        for item in http.get("/v1/entities/film/d1/neighbors?k=1000").json()["items"]
        if item["id"] == GONE
    ]
    assert (item["cold"], item["edges"]) == (False, 0), "by the vector that training gave it"
    only = '{"must": [{"ids": ["d18"]}]}'
    assert near(http, filter=only) == [GONE]
