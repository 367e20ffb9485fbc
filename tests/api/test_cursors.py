"""Every list is given in pages that together are the whole list, each item once."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import eventually

from api.errors import Invalid
from api.routes import cursors

#: Lists, and what tells an item from the others. d1 has many edges, and gets a past in `filled`.
LISTS = {
    "/v1/artifacts": lambda item: item["digest"],
    "/v1/jobs": lambda item: item["id"],
    "/v1/entities/film": lambda item: item["id"],
    "/v1/entities/film/d1/edges": lambda item: (item["relation"], str(item["other"])),
    "/v1/entities/film/d1/history": lambda item: item["event_id"],
    "/v1/entities/user/u1/events": lambda item: (item["event_name"], item["event_id"]),
    "/v1/answers": lambda item: item["request_id"],
}


@given(st.text())
def test_a_position_survives(position: str) -> None:
    encoded = cursors.encode(position.encode(errors="replace").decode())
    assert cursors.decode(encoded) == position.encode(errors="replace").decode()


@pytest.mark.parametrize("odd", ["!", "a", "\u00e9", "/w==", "_-8", "AA=A"])
def test_what_was_not_given_out_is_refused(odd: str) -> None:
    with pytest.raises(Invalid, match="one that a list returned"):
        cursors.decode(odd)


@pytest.fixture(scope="module")
def filled(trained: Any) -> httpx.Client:
    """A client of a service whose every list has more than a page."""
    http: httpx.Client = trained.http
    for n in range(4):
        assert http.post("/v1/retrains", json={"seed": 60 + n}).status_code == 202
        put = http.put("/v1/entities/film/d1", json={"attributes": {"year": 1980 + n}})
        assert put.status_code == 200
        body = {
            "head": {"type": "user", "id": "u6"},
            "candidates": ["d1"],
            "request_id": f"page-{n}",
        }
        assert http.post("/v1/score", json=body).status_code == 200
    # Answers are written in their order, so the last one is kept after all others.
    eventually(
        "the answers are kept",
        lambda: http.get("/v1/answers/page-3").status_code == 200,
        seconds=10,
    )
    return http


def pages(http: httpx.Client, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = http.get(path, params=query).json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            return items
        assert page["items"], "a page before the last one holds something"
        query["cursor"] = page["next"]


@pytest.mark.parametrize("path", LISTS)
def test_pages_make_the_whole(filled: httpx.Client, path: str) -> None:
    whole = list(map(LISTS[path], pages(filled, path, 100)))
    assert len(whole) > 3
    assert list(map(LISTS[path], pages(filled, path, 3))) == whole
    assert len(set(whole)) == len(whole)


# Entities go by their id, and any text may be one.
@pytest.mark.parametrize("path", sorted(LISTS.keys() - {"/v1/entities/film"}))
def test_a_cursor_of_another_list_is_refused(filled: httpx.Client, path: str, problem: Any) -> None:
    problem(filled.get(path, params={"cursor": cursors.encode("odd")}), 422)
