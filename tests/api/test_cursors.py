"""Every list is given in pages that together are the whole list, each item once."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Invalid
from api.routes import cursors

#: Lists, and what tells an item from the others. d1 has many edges.
LISTS = {
    "/v1/artifacts": lambda item: item["digest"],
    "/v1/jobs": lambda item: item["id"],
    "/v1/entities/film": lambda item: item["id"],
    "/v1/entities/film/d1/edges": lambda item: (item["relation"], str(item["other"])),
}


@given(st.text())
def test_a_position_survives(position: str) -> None:
    encoded = cursors.encode(position.encode(errors="replace").decode())
    assert cursors.decode(encoded) == position.encode(errors="replace").decode()


@pytest.mark.parametrize("odd", ["!", "a", "\u00e9", "/w==", "_-8", "AA=A"])
def test_what_was_not_given_out_is_refused(odd: str) -> None:
    with pytest.raises(Invalid, match="one that a list returned"):
        cursors.decode(odd)


@pytest.mark.parametrize("position", ["-1", "1.5", "9" * 16, "\u0663", ""])
def test_an_offset_is_a_plain_number(position: str) -> None:
    encoded = cursors.encode(position)
    if position == "":
        assert cursors.offset(encoded) == 0
    elif position == "\u0663":  # an Arabic digit is a digit
        assert cursors.offset(encoded) == 3
    else:
        with pytest.raises(Invalid):
            cursors.offset(encoded)


@pytest.mark.parametrize("path", LISTS)
def test_pages_make_the_whole(http: httpx.Client, path: str) -> None:
    whole = http.get(path, params={"limit": 100}).json()["items"]
    assert len(whole) > 0 or path == "/v1/jobs"
    paged: list[Any] = []
    cursor: str | None = None
    for _ in range(len(whole) + 1):
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = http.get(path, params=params).json()
        assert len(page["items"]) <= 3
        paged += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert list(map(LISTS[path], paged)) == list(map(LISTS[path], whole))
    assert len(set(map(LISTS[path], paged))) == len(paged)
