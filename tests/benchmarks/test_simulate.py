"""benchmarks/simulate.py: its cells, and the figures of two small ones."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import simulate

from graphsvc.simulate import NULLS, World

TINY = World(
    people=100,
    ads=60,
    products=40,
    advertisers=5,
    campaigns=10,
    categories=6,
    pages_per_day=500.0,
)


def test_other_dials_are_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    options = simulate.arguments().parse_args(["--runs", "1", "--seeds", "1"])
    before = set(simulate.cells(options))
    assert len(before) == 2 * 3 + 1 + len(NULLS)
    monkeypatch.setitem(simulate.SIZES, "default", replace(World(), bots=0.5))
    after = set(simulate.cells(options))
    assert len(before - after) == 3, "the speeds of that world, and no other cell"


def test_figures_of_every_run_and_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.SIZES, "default", TINY)
    monkeypatch.setattr(simulate, "worlds", lambda: {"default": TINY})
    found = {
        "speed-1": simulate._speed("default", "json", 1, 3000),
        "speed-2": simulate._speed("default", "json", 2, 3000),
        "bayes-1": simulate._bayes("default", 1, 3.0),
    }
    assert found["speed-1"]["events"] == 3000
    rows = simulate.rows_of(found)
    speeds = [row for row in rows if row.metric == "events_per_second"]
    assert [row.seed for row in speeds] == [1, 2, "all"]
    assert speeds[2].value == pytest.approx((speeds[0].value + speeds[1].value) / 2)
    told = {row.split for row in rows if row.metric == "auc_expected"}
    assert told == {"click_looked_at", "click_logged", "click_unplaced", "purchase"}
