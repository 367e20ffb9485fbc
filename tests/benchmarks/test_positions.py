"""benchmarks/positions.py: its cells, and one small market from events to the page."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import positions

from graphsvc.simulate import World

TINY = World(
    people=60,
    ads=60,
    products=40,
    advertisers=5,
    campaigns=10,
    categories=6,
    pages_per_day=400.0,
)


def test_kinds_differ_in_how_pages_are_ordered_and_other_dials_are_other_cells() -> None:
    worlds = {kind: positions.market_of(kind, 1) for kind in positions.KINDS}
    assert [worlds[kind].sorting for kind in ("random", "half", "sorted")] == [0.0, 0.5, 1.0]
    assert replace(worlds["null"], examination=0.8) == worlds["half"]
    before = set(positions.cells(positions.parser().parse_args(["--seeds", "2"])))
    assert len(before) == 2 * len(positions.KINDS)
    given = ["--seeds", "2", "--days", "9"]
    assert not before & set(positions.cells(positions.parser().parse_args(given)))


@pytest.mark.slow
def test_a_market_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "market_of", lambda _kind, seed: replace(TINY, seed=seed))
    given = ["--out", str(tmp_path), "--seeds", "2", "--days", "20", "--only", "half-"]
    small = ["--dim", "4", "--epochs", "1", "--threads", "1"]
    options = positions.parser().parse_args([*given, *small])
    outcome = grid.measure(positions.cells(options), options, positions.ERRORS)
    assert not outcome.failed
    assert len(outcome.found) == 2
    for told in outcome.found.values():
        auc = {name: figure[0] for name, figure in told["figures"]["ctr"]["auc"].items()}
        assert auc["best"] > max(auc["place"], auc["no place"])
    positions.write(outcome.found, options)
    page = (tmp_path / "README.md").read_text()
    assert "| auc_lead | place - no place | half/ctr |" in page
    assert (tmp_path / "positions.png").stat().st_size > 1000
