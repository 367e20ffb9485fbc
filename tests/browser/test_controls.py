"""What single controls of the page do, in a real browser."""

import json

import httpx
import pytest
from playwright.sync_api import Page, expect
from running import eventually
from views import to

pytestmark = pytest.mark.browser


def _look(tab: Page, filter_: str) -> None:
    tab.get_by_label("filter as JSON").fill(filter_)
    tab.get_by_role("button", name="Look").click()


def test_neighbors_are_filtered(open_page, http: httpx.Client, picture) -> None:
    tab = open_page()
    to(tab, "Neighbors")
    tab.get_by_label("id", exact=True).fill("d1")
    asked = {"must": [{"ids": ["d2", "c3", "d4"]}]}
    _look(tab, json.dumps(asked))
    rows = tab.locator("tbody").first.locator("tr")
    expect(rows).to_have_count(3)
    query = {"entity": {"type": "film", "id": "d1"}, "k": 10, "filter": asked}
    told = http.post("/v1/neighbors", json={"queries": [query]}).json()["answers"][0]
    shown = [row.locator("td").all_inner_texts() for row in rows.all()]
    assert [cells[1] for cells in shown] == [item["id"] for item in told["items"]]
    picture(tab, "neighbors-filtered")
    _look(tab, "{")
    expect(tab.get_by_text("filter should be a JSON object")).to_be_visible()
    expect(rows).to_have_count(0)
    _look(tab, '{"must": [{"attribute": "year", "gte": 1990, "more": 1}]}')
    expect(tab.get_by_role("alert").first).to_contain_text("more")


def test_a_job_that_was_cancelled_is_done_again(open_page, http: httpx.Client) -> None:
    asked = http.post("/v1/retrains", json={"arms": ["frozen"], "seed": 11}).json()["job"]
    assert http.post(f"/v1/jobs/{asked}/cancel").json()["state"] == "cancelled"
    tab = open_page()
    to(tab, "Jobs")
    tab.get_by_role("button", name=f"job {asked}").click()
    tab.get_by_role("button", name="retry").click()

    def newest() -> dict | None:
        found = http.get("/v1/jobs", params={"limit": 1}).json()["items"][0]
        return found if found["id"] != asked else None

    other = eventually("a job like it is asked for", newest, seconds=5)
    assert other["request"] == http.get(f"/v1/jobs/{asked}").json()["request"]
    tab.get_by_role("button", name=f"job {other['id']}").click()
    tab.get_by_role("button", name="cancel").click()
    expect(tab.get_by_text("retrain, cancelled")).to_be_visible(timeout=20_000)
    expect(tab.get_by_role("button", name="resume")).to_be_visible()
