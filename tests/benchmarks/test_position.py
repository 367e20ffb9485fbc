"""benchmarks/position.py: paired figures by hand, the null, and one small market."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import offsite_rows
import position
from position import BEST, WITH, WITHOUT, compared

from graphsvc.report import rows_of
from graphsvc.simulate import World
from ranking.intervals import Judged

TINY = World(
    people=60,
    ads=60,
    products=40,
    advertisers=5,
    campaigns=10,
    categories=6,
    pages_per_day=400.0,
    bots=0.02,
)


def test_what_knows_the_place_is_compared_with_what_does_not() -> None:
    """Forty users with a one and a zero each: .9 and .1 are right, .5 says nothing."""
    judged = Judged(np.tile([1, 0], 40).astype(np.int8), np.repeat(np.arange(40), 2).astype("i4"))
    right, dull = np.tile([0.9, 0.1], 40), np.full(80, 0.5)
    found = compared(judged, {WITH: right, f"{WITH}, served": dull, WITHOUT: dull, BEST: right})
    assert set(found["auc"]) == {WITH, f"{WITH}, served", WITHOUT, BEST}
    assert set(found["auc_lift"]) == {f"{WITH} - {WITHOUT}", f"{WITH}, served - {WITHOUT}"}
    assert found["auc_lift"][f"{WITH} - {WITHOUT}"] == [0.5, 0.5, 0.5, 0.0]
    saved = found["logloss_saved"][f"{WITH} - {WITHOUT}"]
    assert saved[:3] == pytest.approx([np.log(0.9 / 0.5)] * 3), "nats that are not lost"
    assert found["logloss_saved"][f"{WITH}, served - {WITHOUT}"] == [0.0] * 4


def test_in_the_null_a_lift_has_to_vanish() -> None:
    lift = [0.02, 0.015, 0.025, 0.002]
    figures = {"looked_at": {"auc_lift": {f"{WITH} - {WITHOUT}": lift}}}
    same = {"size": "medium", "tasks": {}, "figures": figures}
    cells = {
        f"{kind}-{seed}": {"kind": kind, "seed": seed, **same}
        for kind in position.KINDS
        for seed in (1, 2)
    }
    text = offsite_rows.section(offsite_rows.rows_of(cells))
    said = {line.split(" | ")[2]: line for line in text.splitlines() if "auc_lift |" in line}
    assert said["default/medium/looked_at"].endswith("| ahead |")
    assert said["unbiased/medium/looked_at"].endswith("| still there |")


def options_of(out: Path, *given: str) -> argparse.Namespace:
    return position.parser().parse_args(["--out", str(out), "--seeds", "1", *given])


def test_other_markets_are_other_cells(tmp_path: Path) -> None:
    before = set(position.cells(options_of(tmp_path)))
    assert {name.rpartition("-")[0] for name in before} == {f"{kind}-1" for kind in position.KINDS}
    for given in (["--days", "3"], ["--size", "small"], ["--threads", "1"]):
        assert not before & set(position.cells(options_of(tmp_path, *given)))


@pytest.mark.slow
def test_a_small_market_becomes_figures_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny(kind: str, _size: str, seed: int) -> World:
        return replace(TINY, seed=seed, **position.KINDS[kind])

    monkeypatch.setattr(position, "market_of", tiny)
    options = options_of(tmp_path, "--days", "8", "--threads", "1")
    cells = position.cells(options)
    found = position.grid.measure(cells, options, position.ERRORS).found
    assert len(found) == len(position.KINDS)
    for told in found.values():
        facts = told["tasks"]
        assert 0 < facts["looked_at"]["ones"] <= facts["logged"]["ones"]
        if told["kind"] == "default":
            assert facts["looked_at"]["rows"] < facts["logged"]["rows"]
    position.write(found, options)
    rows = rows_of(json.loads((tmp_path / "position.json").read_text()))
    by = {(r.metric, r.model, r.split): r.value for r in rows if r.seed == "all"}
    where = "default/medium/looked_at"
    lift = by["auc", WITH, where] - by["auc", WITHOUT, where]
    assert by["auc_lift", f"{WITH} - {WITHOUT}", where] == pytest.approx(lift)
    assert by["predicted_by_true", WITH, where] > 0
    assert "| auc | best |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "lift.png").read_bytes().startswith(b"\x89PNG")
