"""What people stumble over who are here for the first time, in a real browser."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from running import Service, free_port, post_all, service
from views import choose, to

pytestmark = pytest.mark.browser


def test_somebody_nobody_knows_is_recommended_what_most_know(open_page, picture) -> None:
    tab = open_page()
    to(tab, "Score")
    tab.get_by_label("id of a user").fill("nobody-yet")
    tab.get_by_role("button", name="Score").click()
    expect(tab.get_by_role("status").filter(has_text="nobody-yet")).to_contain_text(
        "So these are the best of the 40 that have most edges"
    )
    expect(tab.locator("tbody").first.locator("tr")).to_have_count(10)
    # Nothing of this world happens offsite, so nothing is said of a score without it.
    expect(tab.get_by_role("columnheader", name="without KGE")).to_be_visible()
    expect(tab.get_by_role("columnheader", name="without offsite")).to_have_count(0)
    picture(tab, "score-nobody")


def test_an_address_that_leads_nowhere_leads_on(open_page, picture) -> None:
    tab = open_page(expects="404")
    tab.goto("/ui/nothing")
    expect(tab.get_by_role("heading", name="There is no such view")).to_be_visible()
    picture(tab, "no-view")
    tab.get_by_role("link", name="Jobs").click()
    tab.get_by_role("heading", name="Jobs", exact=True).wait_for()


def _shadow(tab: Page, edge: str) -> bool:
    """Whether a table shows at one edge that it goes on there, by the colors that are seen."""
    box = tab.locator(".q-table__middle").first.bounding_box()
    x = box["x"] + 1 if edge == "left" else box["x"] + box["width"] - 2
    clip = {"x": x, "y": box["y"] + 4, "width": 1, "height": 1}
    pixel = tab.screenshot(clip=clip)
    return pixel != tab.screenshot(clip=clip | {"x": box["x"] + box["width"] / 2})


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_a_table_that_goes_on_shows_it(open_page: Callable[..., Page], colors: str) -> None:
    tab = open_page("phone", colors)
    to(tab, "Keys and settings", phone=True)
    tab.wait_for_timeout(400)
    assert (_shadow(tab, "left"), _shadow(tab, "right")) == (False, True)
    tab.locator(".q-table__middle").first.evaluate("table => table.scrollLeft = 9999")
    tab.wait_for_timeout(200)
    assert (_shadow(tab, "left"), _shadow(tab, "right")) == (True, False)


def test_a_view_that_was_too_much_fills_by_itself(
    open_page: Callable[..., Page], running: Service
) -> None:
    """A server on the same graph that lets a key read once in five seconds."""
    port = free_port()
    running.start("serve", name="slow", GRAPHSVC_PORT=str(port), GRAPHSVC_RATES__READ="0.2")
    try:
        running.wait_ready(port)
        tab = open_page(at=replace(running, port=port))
        to(tab, "Graph")
        expect(tab.get_by_role("alert")).to_contain_text("this fills by itself in")
        expect(tab.get_by_role("button", name="Find")).to_have_count(0)
        expect(tab.get_by_role("button", name="Find")).to_be_visible(timeout=10_000)
        expect(tab.get_by_role("alert")).to_have_count(0)
    finally:
        running.kill("slow")


def _said(name: str, user: str, seconds_ago: int) -> dict[str, Any]:
    return {
        "event_id": f"{name}-{user}",
        "event_name": name,
        "event_time": int(time()) - seconds_ago,
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
    }


def _did(name: str, user: str, seconds_ago: int, type_: str, source: str) -> dict[str, Any]:
    where = {"action_source": source, "object": {"type": type_, "id": f"{type_}1"}}
    agreed = {"consent": True} if source == "offsite" else {}
    return _said(name, user, seconds_ago) | where | agreed


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without a model: of two people one has agreed to offsite events, one refused."""
    with service(tmp_path_factory.mktemp("shop"), GRAPHSVC_SCHEMA="ads") as made:
        made.start("serve")
        made.wait_ready()
        events = [
            _said("opt_in", "agrees", 900),
            _did("click", "agrees", 800, "ad", "onsite"),
            _did("add_to_cart", "agrees", 600, "product", "offsite"),
            _did("click", "refuses", 500, "ad", "onsite"),
            _said("opt_out", "refuses", 400),
        ]
        with made.client() as http:
            post_all(http, events)
        yield made


def _edge(tab: Page, relation: str) -> Any:
    """The row of an edge, in Overview's table of relations or in Graph's of edges."""
    cell = tab.get_by_role("cell", name=relation, exact=True)
    return tab.get_by_role("row").filter(has=cell)


def test_offsite_events_and_what_was_said_of_them(
    open_page: Callable[..., Page], picture: Callable[[Page, str], None], shop: Service
) -> None:
    tab = open_page(at=shop)
    expect(tab.get_by_text("There are events, and nothing was trained yet")).to_be_visible()
    expect(tab.get_by_text("scores: nothing is live that could answer")).to_be_visible()
    for relation, where in (("add_to_cart", "offsite"), ("click", "onsite")):
        expect(_edge(tab, relation).get_by_role("cell", name=where, exact=True)).to_be_visible()
    picture(tab, "overview-shop")
    to(tab, "Graph")
    choose(tab, "type", "user")
    tab.get_by_label("id", exact=True).fill("agrees")
    tab.get_by_label("id", exact=True).press("Enter")
    agreed = tab.get_by_text(re.compile("^agreed to the use of offsite events at "))
    expect(agreed).to_be_visible()
    for relation, where in (("add_to_cart", "offsite"), ("click", "onsite")):
        row = _edge(tab, relation).filter(has_text="out").first
        expect(row.get_by_role("cell", name=where, exact=True)).to_be_visible()
    picture(tab, "graph-shop")
    tab.get_by_label("id", exact=True).fill("refuses")
    tab.get_by_label("id", exact=True).press("Enter")
    expect(tab.get_by_text(re.compile("^refused the use of offsite events at "))).to_be_visible()
    expect(agreed).to_have_count(0)
    expect(tab.get_by_role("cell", name="offsite", exact=True)).to_have_count(0)
    expect(tab.get_by_role("cell", name="opt_out", exact=True).first).to_be_visible()
