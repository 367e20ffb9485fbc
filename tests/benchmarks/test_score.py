"""benchmarks/score.py: percentiles by hand, a small service asked alone and by several at once."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import score
import score_rows
import scoring_service
from score_forwards import EAGER, EXPORTED, ONNX

from ranking.config import RankerConfig


def test_percentiles_by_hand() -> None:
    seconds = [n / 1000 for n in range(101)]
    assert score.percentiles(seconds) == {"p50_ms": pytest.approx(50), "p99_ms": pytest.approx(99)}


def test_tables_are_large_and_all_else_is_by_default() -> None:
    dials = scoring_service.ranker_dials("int8")
    assert dials.ids.buckets >= 1_000_000
    assert dials.crossing == RankerConfig().crossing
    assert dials.training == RankerConfig().training


def test_turns_become_a_mean_with_an_interval(tmp_path: Path) -> None:
    """Two turns, 2 and 4 ms: 3, and t of one degree of freedom is 12.706 standard errors of 1."""
    same = {"p99_ms": 9.0, "server_peak_mib": 5.0}
    found = {f"alone-trained-100-{n}-x": {"p50_ms": 2.0 * n, **same} for n in (1, 2)}
    crowd = {"answers_per_second": 7.0, "p50_ms": 1.0, "p99_ms": 2.0}
    found |= {"loaded-trained-4-x": crowd, "loaded-int8-4-x": crowd}
    asked = score_rows.Asked("attention", ("trained", "int8"), (100,), (4,))
    rows = score_rows.result_rows(found, asked)
    told = {(row.metric, row.split): row for row in rows}
    row = told["score_p50_ms", "trained/100 candidates"]
    assert (row.value, row.model) == (3.0, "100")
    assert row.hi == pytest.approx(3 + 12.706, abs=1e-3)
    assert told["answers_per_second", "int8/4 clients"].value == 7.0
    score_rows.draw(tmp_path / "picture.png", rows, asked)
    assert (tmp_path / "picture.png").stat().st_size > 1_000


@pytest.mark.slow
@pytest.mark.usefixtures("small_service")
def test_a_small_service_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "PRECISIONS", ("int8",))
    small = {"CALLS": 30, "WARM": 5, "SECONDS": 0.5, "EVERY": 0.02}
    for name, value in {**small, "FORWARD_TURNS": 2}.items():
        monkeypatch.setattr(score, name, value)
    monkeypatch.setattr(score, "CANDIDATES", (5, 10))
    monkeypatch.setattr(score, "CLIENTS", (2,))
    monkeypatch.setattr(score, "AT_ONCE", (1, 3))
    given = ["score.py", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", [*given, "--turns", "2"])
    score.main()
    report = json.loads((tmp_path / "out" / "score.json").read_text())
    told = {(row["metric"], row["split"]): row["value"] for row in report["rows"]}
    assert 0.0 < told["test_auc", "int8"] <= 1.0
    assert told["tokens", "int8"] > 2
    assert told["layers", "int8"] == RankerConfig().crossing.layers
    # Two tables of 4,096 hashed rows and some, as wide as the vectors: a byte a number, and more.
    assert told["table_mib", "int8"] > 2 * 4096 * 32 / 2**20
    for count in (5, 10):
        alone = f"int8/{count} candidates"
        assert told["forward_p50_ms", alone] > 0
        assert told["score_p50_ms", alone] <= told["score_p99_ms", alone]
    forms = {
        (row["metric"], row["model"]): row["value"]
        for row in report["rows"]
        if row["split"] == "network alone/10 candidates"
    }
    assert forms["by_eager", "eager"] == 1.0
    assert forms["network_p50_ms", "torch.export"] > 0
    assert {form for metric, form in forms if metric == "logit_difference"} == {
        EAGER,
        EXPORTED,
        ONNX,
    }
    for form in (EAGER, EXPORTED, ONNX):
        assert forms["logit_difference", form] < 1e-5
    assert told["score_p50_ms", "int8/while events come"] > 0
    assert told["answers_per_second", "int8/2 clients"] > 0
    assert told["answers_per_second", "one process/3 at once"] > 0
    page = (tmp_path / "out" / "README.md").read_text()
    assert "saturation.png" in page
    assert (tmp_path / "out" / "saturation.png").exists()
