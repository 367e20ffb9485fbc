"""The views of the page, and the way from one to another."""

from playwright.sync_api import Page

VIEWS = (
    "Overview",
    "Graph",
    "Neighbors",
    "Map",
    "Score",
    "Jobs",
    "Models",
    "Audit",
    "Keys and settings",
)


def to(tab: Page, view: str, *, phone: bool = False) -> None:
    if phone:
        tab.get_by_role("button", name="Views").click()
    tab.get_by_role("link", name=view).click()
    tab.get_by_role("heading", name=view, exact=True).wait_for()
    # What is typed before the view is connected is known to the browser alone.
    tab.wait_for_function("() => window.did_handshake")


def choose(tab: Page, label: str, option: str) -> None:
    """An option of a list, by what its name begins with."""
    tab.get_by_label(label).click()
    tab.get_by_role("option", name=option).first.click()
