"""benchmarks/batch.py: files of the same pairs, and a small service whose command is measured."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import batch
import scoring_service


def test_shares_become_a_mean_with_an_interval(tmp_path: Path) -> None:
    """Two turns, .6 and .8: .7, and t of one degree of freedom is 12.706 standard errors of .1."""
    same = {"kind": "shuffled", "both_per_second": 8.0, "start_seconds": 3.0}
    found = {
        f"shuffled-{n}": {
            **same,
            "forward_per_second": 10.0,
            "file_per_second": 10.0 * share,
            "share_of_forward": share,
            "share_between_parts": share + 0.1,
        }
        for n, share in ((1, 0.6), (2, 0.8))
    }
    rows = batch.result_rows(found)
    told = {(row.metric, row.model): row for row in rows}
    assert {row.split for row in rows} == {"shuffled"}
    row = told["share_of_forward", "score-file"]
    assert (row.value, row.hi) == (pytest.approx(0.7), pytest.approx(0.7 + 1.2706, abs=1e-3))
    assert batch.AIMS[0].is_of(row)
    assert batch.AIMS[0].verdict(row) == "not decided"
    assert told["pairs_per_second", "bare forward"].value == 10.0
    assert told["share_between_parts", "score-file"].value == pytest.approx(0.8)
    assert batch.result_rows({"shuffled-1": found["shuffled-1"]}) == []
    batch.draw(tmp_path / "rates.png", rows)
    assert (tmp_path / "rates.png").stat().st_size > 1_000


@pytest.mark.usefixtures("small_service")
def test_a_small_service_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CANDIDATES", 5)
    given = ["batch.py", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    sizes = ["--turns", "2", "--pairs", "7000", "--threads", "2", "--only", "shuffled"]
    monkeypatch.setattr(sys, "argv", [*given, *sizes])
    batch.main()
    report = json.loads((tmp_path / "out" / "batch.json").read_text())
    told = {(row["metric"], row["model"]): row["value"] for row in report["rows"]}
    assert {row["split"] for row in report["rows"]} == {"shuffled"}
    rates = {model: value for (metric, model), value in told.items() if "pairs" in metric}
    assert set(rates) == {"bare forward", "features and forward", "score-file"}
    assert 0 < rates["features and forward"] < rates["bare forward"]
    # Means of turns, whose share is taken in each.
    cells = [json.loads(file.read_text()) for file in (tmp_path / "out" / "cells").glob("*.json")]
    shares = [cell["file_per_second"] / cell["forward_per_second"] for cell in cells]
    assert told["share_of_forward", "score-file"] == pytest.approx(sum(shares) / 2)
    assert told["start_seconds", "score-file"] > 0
    made = scoring_service.service_of(None, tmp_path / "work", batch.PRECISION)
    in_order, shuffled = (
        pq.read_table(batch.pairs_file(made, kind, 7000)).to_pydict() for kind in batch.KINDS
    )
    assert len(in_order["head"]) == 7_000
    assert in_order["head"][0] == in_order["head"][4] != in_order["head"][5]
    assert len(set(in_order["candidate"][:5])) == 5
    pairs = [sorted(zip(*columns.values(), strict=True)) for columns in (in_order, shuffled)]
    assert pairs[0] == pairs[1]
    assert in_order["head"] != shuffled["head"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "rates.png" in page
    assert ">= 0.7" in page
    assert (tmp_path / "out" / "rates.png").exists()
