"""What people see and do at /ui, in a real browser."""

import re
import time
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect
from running import Service
from views import VIEWS, to

from api.known_keys import SECONDS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_view_opens(open_page, picture: Callable[[Page, str], None], size) -> None:
    tab = open_page(size)
    for view in VIEWS:
        if view != "Overview":
            to(tab, view, phone=size == "phone")
        for colors in ("light", "dark"):
            tab.emulate_media(color_scheme=colors)
            # What is drawn and moves has come to rest.
            tab.wait_for_timeout(120)
            width = tab.evaluate("document.documentElement.scrollWidth")
            assert width <= tab.viewport_size["width"] + 1, f"{view} is wider than the screen"
            picture(tab, f"{view.split()[0].lower()}-{size}-{colors}")
        dark = tab.evaluate("document.body.classList.contains('body--dark')")
        assert dark, "it follows the system"


def test_overview_tells_what_there_is(open_page, http: httpx.Client) -> None:
    tab = open_page()
    live = http.get("/health/ready").json()["generation"]
    expect(tab.get_by_text(re.compile(rf"generation {live}, live since"))).to_be_visible()
    expect(tab.get_by_text(re.compile(r"events in the last hour"))).to_be_visible()
    for kind in ("bundle", "index", "ranker"):
        expect(tab.get_by_text(re.compile(rf"^{kind}, sealed .* ago$"))).to_be_visible()
    expect(tab.get_by_text("scores: ready to answer")).to_be_visible()
    expect(tab.locator("canvas")).to_be_visible()
    expect(tab.get_by_role("cell", name="film", exact=True)).to_be_visible()


def test_an_entity_is_found(open_page, picture) -> None:
    tab = open_page()
    to(tab, "Graph")
    tab.get_by_label("type").click()
    tab.get_by_role("option", name="user").click()
    tab.get_by_label("id", exact=True).fill("u1")
    tab.get_by_label("id", exact=True).press("Enter")
    expect(tab.get_by_text("What is known")).to_be_visible()
    expect(tab.get_by_role("cell", name="onsite").first).to_be_visible()
    # It was shown, and never clicked: an event, and no edge.
    expect(tab.get_by_role("cell", name="film/d16", exact=True)).to_be_visible()
    chart = tab.get_by_role("img", name="edges by relation over time")
    expect(chart.locator("canvas")).to_be_visible()
    picture(tab, "graph-found")
    assert "u1" not in tab.url
    tab.get_by_label("id", exact=True).fill("nobody")
    tab.get_by_role("button", name="Find").click()
    expect(tab.get_by_text("no event has named user 'nobody' yet")).to_be_visible()


def test_neighbors_are_told_with_distances_and_reasons(open_page, picture) -> None:
    tab = open_page()
    to(tab, "Neighbors")
    tab.get_by_label("id", exact=True).fill("d1")
    tab.get_by_role("button", name="Look").click()
    expect(tab.get_by_text(re.compile("measured recall"))).to_be_visible()
    expect(tab.get_by_role("cell").first).to_be_visible()
    picture(tab, "neighbors-found")


def test_scores_are_explained(open_page, picture) -> None:
    tab = open_page()
    to(tab, "Score")
    tab.get_by_label("id of a user").fill("u1")
    tab.get_by_role("button", name="Score").click()
    expect(tab.get_by_role("columnheader", name="without KGE")).to_be_visible()
    expect(tab.get_by_role("cell", name=re.compile("^(drama|comedy) ")).first).to_be_visible()
    tab.get_by_text(re.compile("^Why ")).first.click()
    expect(tab.get_by_role("columnheader", name="adds to the logit")).to_be_visible()
    picture(tab, "score-found")


def test_a_retrain_is_started_and_watched(open_page, http: httpx.Client, picture) -> None:
    tab = open_page()
    to(tab, "Jobs")
    tab.get_by_role("button", name="Start a retrain").click()
    tab.get_by_label("seed").fill("-3")
    tab.get_by_role("button", name="Start", exact=True).click()
    expect(tab.get_by_text(re.compile("seed: should be"))).to_be_visible()
    tab.get_by_label("seed").fill("5")
    days = tab.get_by_label("conversion_days")
    expect(days).not_to_be_visible()
    picture(tab, "jobs-form")
    tab.get_by_text("What it learns from").click()
    days.fill("0")
    tab.get_by_text("What it learns from").click()
    expect(days).not_to_be_visible()
    tab.get_by_role("button", name="Start", exact=True).click()
    expect(tab.get_by_text(re.compile("conversion_days: should be"))).to_be_visible()
    expect(days).to_be_visible()
    days.fill("7")
    tab.get_by_text("How rankers are made").click()
    tab.get_by_text(re.compile("^Dials of the rankers")).click()
    tab.get_by_label("calibration", exact=True).fill("isotonic")
    expect(tab.get_by_text("`platt` or `isotonic`.")).to_be_visible()
    tab.get_by_role("button", name="Start", exact=True).click()
    expect(tab.get_by_text(re.compile("waits for the worker"))).to_be_visible()
    newest = http.get("/v1/jobs", params={"limit": 1}).json()["items"][0]
    assert newest["request"]["seed"] == 5
    assert newest["request"]["ranker"]["calibration"] == "isotonic"
    assert newest["request"]["training"] is None
    rows = http.get("/v1/audit", params={"limit": 2}).json()["items"]
    assert {row["action"] for row in rows} == {"POST /v1/retrains"}
    tab.get_by_role("button", name=f"job {newest['id']}").click()
    expect(tab.get_by_text(newest["id"])).to_be_visible()
    tab.get_by_role("button", name="cancel").click()
    expect(tab.get_by_text("retrain, cancelled")).to_be_visible(timeout=20_000)
    log = tab.get_by_role("log")
    expect(log.get_by_text(re.compile("cancelled, as was asked"))).to_be_visible()
    expect(tab.get_by_role("progressbar", name=re.compile(": running"))).to_have_count(0)
    expect(tab.get_by_text("the gate: passed, promoted").first).to_be_visible()
    picture(tab, "jobs-one")


def test_a_ranker_is_promoted_with_a_reason(open_page, http: httpx.Client, picture) -> None:
    tab = open_page()
    watching = tab.context.new_page()
    watching.goto("/ui/")
    watching.get_by_text("What answers").wait_for()
    tab.bring_to_front()
    to(tab, "Models")
    tab.get_by_label("look at one").focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("option").first.wait_for()
    named = tab.get_by_role("option").all_inner_texts()
    for _ in range(1 + next(n for n, told in enumerate(named) if "sealed" in told)):
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("Lineage")).to_be_visible()
    tab.get_by_label("only what has this in it").fill("logloss")
    expect(tab.get_by_role("cell", name="logloss", exact=True).first).to_be_visible()
    expect(tab.get_by_role("cell", name="auc", exact=True)).to_have_count(0)
    expect(tab.locator("svg").first).to_be_visible()
    for shown in ("Calibration", "Training of the ranker", "Training of the embeddings"):
        drawn = tab.get_by_role("img", name=re.compile(f"^{shown}"))
        assert drawn.evaluate("image => image.naturalWidth") > 300
    tab.get_by_label("by", exact=True).focus()
    expect(tab.locator("canvas")).to_be_visible()
    picture(tab, "models-one")
    tab.get_by_role("button", name="Promote").click()
    tab.get_by_label(re.compile("^reason")).fill("looked at it")
    tab.get_by_role("button", name="Make it live").click()
    expect(tab.get_by_text(re.compile(r"ranker \w+ is live"))).to_be_visible()
    newest = http.get("/v1/promotions", params={"limit": 1}).json()["items"][0]
    assert newest["reason"] == "looked at it"
    live = watching.get_by_text(re.compile(rf"^generation {newest['generation']}, live since"))
    expect(live).to_be_visible(timeout=20_000)
    expect(watching.get_by_text(newest["ranker"][:8])).to_be_visible()
    tab.get_by_role("button", name="Roll back to ranker").click()
    tab.get_by_label(re.compile("^reason")).fill("it was better before")
    tab.get_by_role("button", name="Make it live").click()
    expect(tab.get_by_text(re.compile("it was better before"))).to_be_visible()
    [back, _, first] = http.get("/v1/promotions", params={"limit": 3}).json()["items"]
    assert [back[part] for part in ("ranker", "bundle")] == [
        first[part] for part in ("ranker", "bundle")
    ]


def _opens(http: httpx.Client, key: str) -> int:
    """What a key is answered that may not read: 403, or 401 where it is none."""
    headers = {"Authorization": f"Bearer {key}"}
    return http.get("/v1/graph", headers=headers).status_code


def test_a_key_is_made_rotated_and_revoked(open_page, http: httpx.Client, picture) -> None:
    tab = open_page()
    to(tab, "Keys and settings")
    tab.get_by_role("button", name="Make a key").click()
    tab.get_by_label("what it is for").fill("browser")
    tab.get_by_role("button", name="Make", exact=True).click()
    key = tab.get_by_text(re.compile("^gs_")).inner_text()
    assert _opens(http, key) == 403
    tab.get_by_role("button", name="I have it").click()
    expect(tab.get_by_text(key)).to_have_count(0)
    tab.get_by_role("button", name="Rotate").click()
    expect(tab.get_by_text("choose a key first")).to_be_visible()
    tab.get_by_role("row", name=key.split("_")[1]).get_by_role("checkbox").click()
    tab.get_by_role("button", name="Rotate").click()
    tab.get_by_label("hours that the former one").fill("0")
    tab.get_by_role("button", name="Make it").click()
    other = tab.get_by_text(re.compile("^gs_")).inner_text()
    picture(tab, "access-rotated")
    assert other != key
    assert _opens(http, other) == 403
    tab.get_by_role("button", name="I have it").click()
    expect(tab.get_by_text(other)).to_have_count(0)
    tab.get_by_role("row", name=other.split("_")[1]).get_by_role("checkbox").click()
    tab.get_by_role("button", name="Revoke").click()
    expect(tab.get_by_text(other.split("_")[1])).to_have_count(0)
    time.sleep(SECONDS)
    assert (_opens(http, key), _opens(http, other)) == (401, 401)
    to(tab, "Audit")
    for verb, about in (("POST", ""), ("POST", "/{id}/rotate"), ("DELETE", "/{id}")):
        cell = tab.get_by_role("cell", name=f"{verb} /v1/keys{about}", exact=True).first
        row = tab.get_by_role("row").filter(has=cell).first
        expect(row.get_by_role("cell", name="done (200)")).to_be_visible()
    picture(tab, "audit-keys")


def test_who_may_only_read_can_change_nothing(open_page, http: httpx.Client) -> None:
    made = http.post("/v1/keys", json={"name": "eyes", "scopes": ["read"]}).json()
    tab = open_page(key=made["key"])
    to(tab, "Keys and settings")
    expect(tab.get_by_text("this needs a key with the scope admin")).to_be_visible()
    to(tab, "Audit")
    expect(tab.get_by_role("alert")).to_contain_text("this needs a key with the scope admin")
    to(tab, "Jobs")
    tab.get_by_role("button", name="Start a retrain").click()
    tab.get_by_role("button", name="Start", exact=True).click()
    expect(tab.get_by_text("this needs a key with the scope train")).to_be_visible()
    assert http.delete(f"/v1/keys/{made['id']}").status_code == 200
    tab.reload()
    expect(tab.get_by_role("alert").first).to_contain_text("revoked")


def test_it_is_reached_by_keyboard(open_page) -> None:
    tab = open_page()
    tab.keyboard.press("Tab")
    expect(tab.get_by_text("To the content")).to_be_focused()
    for _ in range(12):
        tab.keyboard.press("Tab")
        name = tab.evaluate("document.activeElement.textContent")
        if "Jobs" in name:
            break
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="Jobs").wait_for()


def test_signing_out_ends_what_is_open_elsewhere_too(open_page) -> None:
    tab = open_page()
    other = tab.context.new_page()
    other.goto("/ui/jobs")
    other.get_by_role("button", name="Start a retrain").click()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_label("API key")).to_be_visible()
    other.get_by_role("button", name="Start", exact=True).click()
    expect(other.get_by_text("your session has ended").first).to_be_visible()


def test_signing_out_ends_it_and_a_key_lets_in_again(open_page, running: Service) -> None:
    tab = open_page()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_label("API key")).to_be_visible()
    tab.goto("/ui/jobs")
    tab.get_by_label("API key").fill(running.key)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("heading", name="Overview").wait_for()
