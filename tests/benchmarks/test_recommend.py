"""benchmarks/recommend.py on a few hundred ads: what is asked, what is found, what is true."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import recommend
import recommend_recall
import recommend_service
import recommend_world
from recommend_world import Inventory


def test_an_inventory_is_the_same_each_time_and_as_its_words_say() -> None:
    inventory = Inventory(2_000)
    assert list(inventory.events("ctr"))[::97] == list(Inventory(2_000).events("ctr"))[::97]
    shown = inventory.shown
    liked = inventory.topic[inventory.advertiser[shown.item]][:, None] == inventory.taste[shown.who]
    clicked = [shown.clicked[liked.any(axis=1) == of_taste].mean() for of_taste in (True, False)]
    assert clicked == pytest.approx([0.4, 0.05], abs=0.05)
    assert np.bincount(inventory.history.ravel() % recommend_world.ADS_EACH).argmax() == 0
    assert inventory.history.max() < 2_000


def test_what_may_be_shown_is_read_from_what_is_asked() -> None:
    inventory = Inventory(1_000)
    body = recommend_service.body(inventory, "all together", 7, retrieve=50)
    of = [body["filter"][part][-1]["of"]["id"] for part in ("should", "must_not")]
    liked, blocked = (int(id_[1:]) for id_ in of)
    assert liked != blocked
    may = recommend_service.allowed(inventory, "all together", 7)
    for item in range(1_000):
        format_, owner = recommend_world.FORMATS[inventory.format[item]], item // 50
        passes = format_ == "video" or (format_ == "image" and owner == liked)
        assert may[item] == (
            passes and owner != blocked and item not in inventory.clicked_by(7).tolist()
        )
    assert recommend_service.allowed(inventory, "plain", 7).all()


def test_what_breaks_a_rule_is_told() -> None:
    inventory = Inventory(1_000)
    ad = recommend_world.ad

    def obeyed(kind: str, *numbers: int) -> bool:
        return recommend_service.obeyed(inventory, kind, 7, [ad(n) for n in numbers])

    assert obeyed("plain", 0, 1, 2)
    assert not obeyed("plain", 0, 0)
    assert obeyed("capped", 0, 1, 50)
    assert not obeyed("capped", 0, 1, 2)
    clicked = int(inventory.history[7, 0])
    assert obeyed("plain", clicked)
    assert not obeyed("seen out", clicked)
    passing = np.flatnonzero(recommend_service.allowed(inventory, "filtered", 7))
    others = np.setdiff1d(np.arange(1_000), passing)
    assert obeyed("filtered", *passing[:3].tolist())
    assert not obeyed("filtered", int(passing[0]), int(others[0]))


def test_an_interval_over_people_by_hand() -> None:
    """Shares .4 and .6: .5, and t of one degree of freedom is 12.706 standard errors of .1."""
    assert recommend_recall.over_people([0.4, 0.6]) == pytest.approx((0.5, 0.0, 1.0))
    value, low, high = recommend_recall.over_people([0.5, 0.5, 0.5, 0.5, 0.54])
    assert (value - low, high - value) == pytest.approx((0.008 * 2.776, 0.008 * 2.776), abs=1e-4)


def test_turns_become_a_mean_with_an_interval() -> None:
    found = {
        f"alone-all-together-200-{n}-x": {"p50_ms": 2.0 * n, "p99_ms": 9.0, "server_peak_mib": 5.0}
        for n in (1, 2)
    }
    rows = {row.metric: row for row in recommend.result_rows(found)}
    assert rows["recommend_p50_ms"].value == 3.0
    assert rows["recommend_p50_ms"].hi == pytest.approx(3 + 12.706, abs=1e-3)
    row = rows["recommend_p99_ms"]
    assert (row.model, row.split) == ("all together", "retrieve=200")
    assert recommend.AIMS[0].is_of(row)


@pytest.mark.slow
def test_a_small_service_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"CALLS": 20, "WARM": 5, "NEAREST_PEOPLE": 8, "RANKED_PEOPLE": 3, "SIZES": (200, 600)}
    for name, value in few.items():
        monkeypatch.setattr(recommend, name, value)
    kinds = {kind: recommend.KINDS[kind] for kind in recommend.SIZED}
    monkeypatch.setattr(recommend, "KINDS", kinds)
    monkeypatch.setattr(recommend_recall, "_BLOCK", 250)
    monkeypatch.setattr(recommend_service, "THREADS", 1)
    given = ["recommend.py", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", [*given, "--items", "600", "--turns", "1"])
    recommend.main()
    report = json.loads((tmp_path / "out" / "recommend.json").read_text())
    told = {(row["metric"], row["model"], row["split"]): row["value"] for row in report["rows"]}
    for kind, retrieve in recommend.asked():
        where = kind, f"retrieve={retrieve}"
        assert 0 < told["recommend_p50_ms", *where] <= told["recommend_p99_ms", *where]
        # So few ads are all compared, and rules are kept by an oracle that knows no service.
        assert told["retrieval_recall", *where] == told["told_recall", *where] == 1.0
        assert told["obeyed", *where] == 1.0
    # Whoever retrieves all has what ranking all gives; whoever retrieves less has no more.
    for way in ("plain", "completing click"):
        best = [told["best_score@10", way, f"retrieve={size}"] for size in (200, 600)]
        assert best[1] == pytest.approx(1.0, abs=1e-4)
        assert max(best) < 1.0 + 1e-4
        assert told["best_recall@10", way, "retrieve=600"] == 1.0
    assert (tmp_path / "out" / "recall.png").stat().st_size > 1_000
    page = (tmp_path / "out" / "README.md").read_text()
    assert "recall.png" in page
    assert "600 ads" in page
