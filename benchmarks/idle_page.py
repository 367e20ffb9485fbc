"""What a page that somebody has open, and does not touch, costs those who ask for scores.

    .venv/bin/python benchmarks/idle_page.py

Wants Chromium (apt-get install chromium). MovieLens-100k comes as for `graphsvc demo`: fetched
once, or from `--data FOLDER`. The service is that of `benchmarks/score.py`, which finds it in the
same `--work`. Run it alone.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from callers import ask
from live_service import COMPUTED
from playwright.sync_api import sync_playwright
from publish import About, publish
from score import CALLS, PATH, WARM, bodies, percentiles
from scoring_service import ARM, BUCKETS, ranker_dials, service_of
from served import Server, server, settle

from graphsvc.report import Row
from ranking.intervals import t_interval

PRECISION, CANDIDATES = "trained", 100
_NONE, _ELSEWHERE, _OPEN = "no browser", "a browser elsewhere", "a page open"
#: Milliseconds in which a view has drawn itself.
_DRAWN = 3_000
_TITLE = "An idle page"
_WORDS = f"""
A server as `graphsvc serve` starts it, with the ranker of `benchmarks/score.py` (arm `{ARM}`,
{BUCKETS:,} hashed rows on either side). One client asks for {CANDIDATES} candidates, {CALLS:,}
times, while nobody looks, while a Chromium on the same two cores shows an empty page of its own,
and while it has the view Overview open, which asks every 15 s for what has changed. Turn by turn,
who is first changes.

- `score_p50_ms`, `score_p99_ms`: t intervals over turns. `ratio`: with the page by without a
  browser, and by a browser that is elsewhere, turn by turn: the latter is what the server does for
  the page, the former has the browser's own share of the two cores in it.
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/idle-page")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--turns", type=int, default=15)
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    told = (asdict(ranker_dials(PRECISION)), COMPUTED, CALLS, WARM)
    return {grid.named("idle-elsewhere", *told, options.turns): partial(_idle, options)}


def _idle(options: argparse.Namespace) -> Mapping[str, Any]:
    """All ways, turn by turn, on one server."""
    made = service_of(options.data, options.work, PRECISION)
    spent: dict[str, list[dict[str, float]]] = {_NONE: [], _ELSEWHERE: [], _OPEN: []}
    with server(made.folder, "") as running, closing(running.connect()) as connection:
        settle(running)
        for turn in range(options.turns):
            asked = bodies(made, CANDIDATES, seed=turn)
            for way in list(spent)[:: 1 if turn % 2 else -1]:
                with nullcontext() if way == _NONE else _browser(running, page=way == _OPEN):
                    took = [ask(connection, running, PATH, body) for body in asked]
                spent[way].append(percentiles(took[WARM:]))
    return {"turns": spent}


@contextmanager
def _browser(running: Server, *, page: bool) -> Iterator[None]:
    """Somebody looks at Overview, or at nothing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("error: this needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(base_url=f"http://127.0.0.1:{running.port}")
        if page:
            tab.goto("/ui/")
            tab.get_by_label("API key").fill(running.key)
            tab.get_by_role("button", name="Sign in").click()
            tab.get_by_role("heading", name="Overview").wait_for()
        tab.wait_for_timeout(_DRAWN)
        yield
        browser.close()


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Both ways, and one by the other."""
    made: list[Row] = []
    for cell in found.values():
        turns = cell["turns"]
        for name in ("p50_ms", "p99_ms"):
            told = {way: [one[name] for one in turns[way]] for way in turns}
            told_of = [(f"score_{name}", way, values, "ms") for way, values in told.items()]
            for other in (_NONE, _ELSEWHERE):
                by = [a / b for a, b in zip(told[_OPEN], told[other], strict=True)]
                told_of.append((f"ratio_{name[:3]}", f"{_OPEN} by {other}", by, "ratio"))
            for metric, way, values, unit in told_of:
                value, low, high = t_interval(values)
                where = {"split": f"{CANDIDATES} candidates", "model": way, "seed": "all"}
                made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **where))
    return made


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    given = printed.given(parser(), options)
    about = About("idle_page", _TITLE, _WORDS.strip(), "who looks", given)
    publish(options.out, rows, found, {"turns": options.turns, "calls": CALLS}, about)


if __name__ == "__main__":
    main()
