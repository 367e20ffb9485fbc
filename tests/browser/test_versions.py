"""What people see of a version that is not live, beside the one that is, in a real browser."""

import re

import httpx
import pytest
from playwright.sync_api import expect
from running import eventually
from views import choose, to

pytestmark = pytest.mark.browser


def _other(http: httpx.Client) -> tuple[str, str]:
    """A ranker that is not live, with another bundle than what is; another test may promote."""
    live = http.get("/v1/promotions", params={"limit": 1}).json()["items"][0]
    rankers = http.get("/v1/artifacts", params={"kind": "ranker"}).json()["items"]
    other = next(one for one in rankers if one["parents"]["bundle"] != live["bundle"])
    return other["digest"][:8], other["parents"]["bundle"][:8]


def _answered_by(http: httpx.Client, ranker: str) -> int:
    kept = http.get("/v1/answers").json()["items"]
    return sum(one["ranker"].startswith(ranker) for one in kept)


def test_scores_of_two_versions_stand_side_by_side(open_page, http: httpx.Client, picture) -> None:
    other, _ = _other(http)
    before = _answered_by(http, other)
    tab = open_page()
    to(tab, "Score")
    choose(tab, "beside it, the version", other)
    tab.get_by_label("id of a user").fill("u1")
    tab.get_by_label(re.compile("^candidates")).fill("d0, c0, d1, c1")
    tab.get_by_role("button", name="Score").click()
    for name in (f"place by {other}", f"score by {other}", "moved"):
        expect(tab.get_by_role("columnheader", name=name)).to_be_visible()
    expect(tab.get_by_text(f"{other} is loaded beside what is live")).to_be_visible()
    rows = tab.locator("tbody").first.locator("tr").all()
    told = {cells[3]: cells for cells in (row.locator("td").all_inner_texts() for row in rows)}
    assert set(told) == {"d0", "c0", "d1", "c1"}
    ours = http.post(
        "/v1/score",
        json={"head": {"type": "user", "id": "u1"}, "candidates": ["d0", "c0", "d1", "c1"]},
    ).json()
    for place, item in enumerate(ours["scores"], start=1):
        cells = told[item["id"]]
        assert int(cells[0]) == place
        assert float(cells[5]) == pytest.approx(item["score"], rel=1e-3)
        assert cells[6] != cells[5], "the other ranker says something else"
        change = place - int(cells[1])
        wanted = "same" if not change else f"{'▲' if change > 0 else '▼'} {abs(change)}"
        assert cells[2] == wanted
    theirs = sorted(told.values(), key=lambda cells: int(cells[1]))
    scores = [float(cells[6]) for cells in theirs]
    assert scores == sorted(scores, reverse=True)
    picture(tab, "score-beside")
    # Answers are written down in their order.
    last = f"/v1/answers/{ours['request_id']}"
    eventually("it is kept", lambda: http.get(last).status_code == httpx.codes.OK, seconds=5)
    assert _answered_by(http, ours["ranker"]) >= 2, "the page's and the test's"
    assert _answered_by(http, other) == before, "it answered nobody"


def test_neighbors_by_two_versions_stand_side_by_side(
    open_page, http: httpx.Client, picture
) -> None:
    _, other = _other(http)
    tab = open_page()
    to(tab, "Neighbors")
    tab.get_by_label("id", exact=True).fill("d1")
    choose(tab, "beside it, the version", other)
    tab.get_by_role("button", name="Look").click()
    expect(tab.get_by_text("facet all, live")).to_be_visible()
    expect(tab.get_by_text(f"facet all, by bundle {other}, which is not live")).to_be_visible()
    expect(tab.get_by_role("columnheader", name="in the other")).to_have_count(2)
    ours, theirs = (
        [row.locator("td").all_inner_texts() for row in body.locator("tr").all()]
        for body in tab.locator("tbody").all()
    )
    live = http.get("/v1/entities/film/d1/neighbors").json()
    assert [cells[3] for cells in ours] == [one["id"] for one in live["items"]]
    assert [cells[5] for cells in theirs] != [cells[5] for cells in ours]
    places = {cells[3]: int(cells[0]) for cells in theirs}
    for cells in ours:
        change = int(cells[0]) - places.get(cells[3], 99)
        wanted = "same" if not change else f"{'▲' if change > 0 else '▼'} {abs(change)}"
        assert cells[1] == (wanted if cells[3] in places else "not there")
    picture(tab, "neighbors-beside")
