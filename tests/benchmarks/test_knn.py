"""benchmarks/knn.py on a few thousand vectors: the build cell and its rows."""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import knn

ROWS = 3_000


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(rows=ROWS, work=tmp_path / "work")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "QUERIES", 40)


def test_a_build_becomes_rows(options: argparse.Namespace):
    told = knn.measure_build("gaussian", options)
    assert (told["kind"], told["recall"], told["curve"]) == ("exact", 1.0, [])
    # Held beside the bundle: the directions, and a number for each.
    assert told["bytes_per_vector"] == pytest.approx(4 * 64 + 4, rel=0.01)
    [cell] = [name for name in knn.cells(options) if name.startswith("build-gaussian-3000")]
    rows = {row.metric: row for row in knn.rows_of({cell: told}, ROWS)}
    assert set(rows) == {"build", "bytes_per_vector", "recall@10"}
    assert rows["recall@10"].value == 1.0
    assert (rows["build"].split, rows["build"].model) == ("exact, 3,000 x 64", "gaussian")
