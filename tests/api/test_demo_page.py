"""The demo's page is made of its report: tables are replaced, words stay."""

import sys
from pathlib import Path

import pytest

from graphsvc.report import Row, as_report

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"cores": 2, "processor": "P", "memory_gib": 8, "python": "3.11"}
SHARE = {"unit": "share"}
ROWS = [
    Row(metric="mrr", value=0.5, lo=0.4, hi=0.6, split="a/test", model="ours", **SHARE),
    Row(metric="mrr", value=0.1, lo=0.0, hi=0.2, split="a/test", model="ours - theirs", **SHARE),
    Row(metric="auc", value=0.7, split="a/test", model="ranker", **SHARE),
    Row(metric="auc", value=0.2, split="a/test", model="ranker - rival", **SHARE),
    Row(metric="hits@10", value=0.3, split="a/test/degree=0", model="ours", **SHARE),
    Row(metric="hits@10", value=0.4, split="a/test/degree=1+", model="ours", **SHARE),
]
REPORT = as_report(ROWS, {"machine": MACHINE, "commit": "abc", "dials": {}})


@pytest.fixture
def demo_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import demo_page

    yield demo_page
    sys.modules.pop("demo_page")


def page(*places: str) -> str:
    return (
        "words\n\n" + "\n\n".join(f"<!-- {p} -->\nold\n<!-- end -->" for p in places) + "\nmore\n"
    )


def test_tables_are_replaced_and_words_stay(demo_page):
    places = ("made", "retrieval a/test", "ranking a/test", "differences a/test")
    found = demo_page.filled(page(*places, "slices a/test/degree="), REPORT)
    assert "old" not in found
    assert found.startswith("words\n")
    assert found.endswith("more\n")
    assert "at commit `abc`, seed 0, on 2 cores\n(P, 8 GiB), Python 3.11." in found
    assert "| ours | 0.5000 [0.4000, 0.6000] |  |  |" in found
    assert "| ours - theirs | +0.1000 [+0.0000, +0.2000] |" in found
    assert "| ranker | 0.7000 |  |  |\n<!-- end -->" in found
    assert "| model | AUC |\n| --- | --- |\n| ranker - rival | +0.2000 |" in found
    assert "|  | degree 0 | degree 1+ |\n" in found
    assert "| Hits@10, ours | 0.3000 | 0.4000 |" in found
    assert demo_page.filled(found, REPORT) == found


@pytest.mark.parametrize(
    ("place", "says"), [("table a/test", "retrieval, ranking"), ("ranking b/test", "no figures")]
)
def test_a_place_that_cannot_be_filled_is_named(demo_page, place: str, says: str):
    with pytest.raises(SystemExit, match=says):
        demo_page.filled(page(place), REPORT)


def test_the_page_has_its_places(demo_page):
    text = demo_page.PAGE.read_text()
    kinds = [place.group(1) for place in demo_page._PLACE.finditer(text)]
    assert kinds.count("retrieval") == 3, "two protocols and the arms"
    assert kinds.count("slices") == 2
    assert text.count("<!-- end -->") == len(kinds)
