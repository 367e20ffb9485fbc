"""A trained service with its page, as people start it, and Debian's Chromium in front of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from planted import planted_events
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from running import Service, post_all, service, wait_job

#: Where people have a browser; Playwright's own is downloaded, which not every network allows.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
#: Where pictures of the page go; docs/page shows them.
PICTURES = Path(os.environ.get("PAGE_PICTURES", "build/pictures"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the planted world, retrained twice, with server and worker."""
    with service(tmp_path_factory.mktemp("page")) as made:
        made.start("serve")
        made.start("worker")
        made.wait_ready()
        with made.client() as http:
            post_all(http, planted_events())
            asked = {"arms": ["frozen", "attention"]}
            wait_job(http, http.post("/v1/retrains", json=asked).json()["job"])
            # Another bundle and ranker, beside what is live.
            other = {"arms": ["frozen"], "seed": 7, "promote": False}
            wait_job(http, http.post("/v1/retrains", json=other).json()["job"])
        yield made


@pytest.fixture(scope="session")
def http(running: Service) -> Iterator[httpx.Client]:
    """The same service over HTTP, for what a page is compared with."""
    with running.client() as client:
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, running: Service) -> Iterator[Callable[..., Page]]:
    """A tab of a size and colors, signed in; whatever went wrong in it fails the test."""
    wrong: list[str] = []
    contexts = []

    def make(
        size: str = "desktop",
        colors: str = "light",
        *,
        key: str = "",
        at: Service = running,
        expects: str = "nothing",
    ) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=colors,  # type: ignore[arg-type]
            base_url=f"http://127.0.0.1:{at.port}",
            has_touch=size == "phone",
        )
        context.set_default_timeout(10_000)
        context.add_cookies([_signed_in(at.port, key or at.key)])  # type: ignore[list-item]
        contexts.append(context)
        tab = context.new_page()

        def said(what: ConsoleMessage) -> None:
            if what.type == "error" and expects not in what.text:
                wrong.append(what.text)

        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", said)
        tab.on("request", lambda asked: _here(asked.url, at.port, wrong))
        tab.goto("/ui/")
        tab.get_by_role("heading", name="Overview").wait_for()
        return tab

    yield make
    for context in contexts:
        context.close()
    assert wrong == []


def _signed_in(port: int, key: str) -> dict[str, str]:
    """What a browser keeps of signing in; the form is filled in by a test of its own."""
    answer = httpx.post(f"http://127.0.0.1:{port}/ui/login", data={"key": key})
    (cookie,) = answer.cookies.jar
    return {"name": cookie.name, "value": str(cookie.value), "domain": "127.0.0.1", "path": "/ui"}


def _here(url: str, port: int, wrong: list[str]) -> None:
    """Every asset is local."""
    if not url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:")):
        wrong.append(f"asked elsewhere: {url}")


@pytest.fixture
def pictures() -> Path:
    """The folder of pictures, and of what is measured in a browser."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


@pytest.fixture
def picture(pictures: Path) -> Callable[[Page, str], None]:
    """Keep what a tab looks like under a name."""

    def keep(tab: Page, name: str) -> None:
        tab.evaluate("window.scrollTo(0, 0)")  # else its head is in the middle
        tab.screenshot(path=pictures / f"{name}.png", full_page=True)

    return keep
