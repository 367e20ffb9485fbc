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


def test_the_hybrid_path_is_a_table_and_a_sentence(demo_page):
    def row(metric, value, model):
        return Row(metric=metric, value=value, unit="1", split="demo", model=model)

    rows = [
        row("score_p50_ms", 9.0, "100"),
        row("id_table_rows", 1500, "head_table"),
        row("id_table_trained_bytes", 192_000, "head_table"),
        row("id_table_served_bytes", 60_000, "head_table"),
        row("upper_model_bytes", 1_000_000, "upper_model"),
        row("hybrid_lookups_p50_ms", 0.125, "100"),
        row("hybrid_upper_p50_ms", 0.75, "100"),
        row("hybrid_answer_p50_ms", 3.0, "100"),
    ]
    held = {"name": "head_table", "trained": "float32", "served": "int8", "tier": "cpu"}
    upper = {"tier": "device", "device": "cuda", "by": "PyTorch"}
    words = {"tables": [held], "upper": upper, "gpu": "cuda"}
    found = demo_page.filled(page("hybrid"), as_report(rows, REPORT["header"]) | {"hybrid": words})
    assert "| head_table | 1,500 | 192,000 bytes, float32 | 60,000 bytes, int8 | cpu |" in found
    assert "| upper model |  | 1,000,000 bytes | 1,000,000 bytes | device |" in found
    assert "100 candidates takes 3.0 ms without HTTP" in found
    assert "0.12 ms and the upper model 0.75 ms" in found
    assert "it is computed by PyTorch)" in found
    assert "A GPU is there (cuda); the upper model ran on cuda." in found
    assert "old" not in found


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("table a/test", "retrieval, ranking"),
        ("ranking b/test", "no figures"),
        ("hybrid", "no figures"),
        ("erasure", "no figures"),
    ],
)
def test_a_place_that_cannot_be_filled_is_named(demo_page, place: str, says: str):
    with pytest.raises(SystemExit, match=says):
        demo_page.filled(page(place), REPORT)


def test_the_page_has_its_places(demo_page):
    text = demo_page.PAGE.read_text()
    kinds = [place.group(1) for place in demo_page._PLACE.finditer(text)]
    assert kinds.count("retrieval") == 3, "two protocols and the arms"
    assert kinds.count("slices") == 2
    assert kinds.count("hybrid") == kinds.count("erasure") == 1
    assert text.count("<!-- end -->") == len(kinds)
