"""What applications send as ids and attributes is text to whoever looks, whatever it says."""

from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect
from views import to

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def test_a_name_that_is_a_program_is_shown_and_not_run(open_page, http: httpx.Client) -> None:
    path = f"/v1/entities/film/{quote(HOSTILE, safe='')}"
    assert http.put(path, json={"attributes": {"title": HOSTILE}}).is_success
    tab = open_page()
    to(tab, "Graph")
    tab.get_by_label("type").click()
    tab.get_by_role("option", name="film").click()
    tab.get_by_label("id", exact=True).fill(HOSTILE)
    tab.get_by_label("id", exact=True).press("Enter")
    expect(tab.get_by_role("cell", name=HOSTILE, exact=True)).to_be_visible()
    expect(tab.locator("img[src=x]")).to_have_count(0)
    assert tab.title() != "owned"
