"""What secrecy costs: figures by hand, dials that every arm has, and a page without Flower."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import secrecy

CELLS = {
    "all-20-abc": {"reached": [0.9, 0.8], "round_seconds": [0.2, 0.4], "rate": 0.1},
    "noise-20-abc": {"reached": [0.5, 0.6], "round_seconds": [0.2, 0.2], "rate": 0.01},
}


def test_what_an_arm_costs_is_by_seed():
    rows = {(row.metric, row.model): row for row in secrecy.rows_of(CELLS)}
    assert rows["reached", "all"].value == pytest.approx(0.85)
    assert rows["cost", "noise"].value == pytest.approx(0.3)
    low, high = rows["cost", "noise"].lo, rows["cost", "noise"].hi
    assert (low + high) / 2 == pytest.approx(0.3)
    assert ("cost", "all") not in rows
    assert rows["round_seconds", "all"].value == pytest.approx(0.3)


def test_a_picture_of_what_there_is(tmp_path):
    secrecy.draw(tmp_path / "reached.png", secrecy.rows_of(CELLS))
    assert (tmp_path / "reached.png").stat().st_size > 1000


def test_every_arm_is_measured_in_its_federations(tmp_path):
    options = secrecy.parser().parse_args(["--out", str(tmp_path)])
    names = [name.rsplit("-", 1)[0] for name in secrecy.cells(options)]
    few, many = secrecy.CLIENTS
    assert f"summed-{few}" in names
    assert f"summed-{many}" not in names, "each with each is too many"
    assert {f"all-{few}", f"all-{many}", f"noise-{many}"} <= set(names)
