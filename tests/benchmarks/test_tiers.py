"""benchmarks/tiers.py: turns become intervals, and a small service is measured by each way."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import tiers
import torch


def _cell(**told: object) -> dict[str, object]:
    return {"way": "all on the GPU", "precision": "int8", **told}


def test_turns_become_a_mean_with_an_interval() -> None:
    """Two turns, 3 and 5: 4, and t of one degree of freedom is 12.706 standard errors of 1."""
    found = {
        str(turn): _cell(candidates=100, p50_ms=value, p99_ms=9.0)
        for turn, value in enumerate((3.0, 5.0))
    }
    row = next(row for row in tiers.result_rows(found) if row.metric == "score_p50_ms")
    assert (row.split, row.model) == ("int8/100 candidates", "all on the GPU")
    assert (row.value, row.hi) == (4.0, pytest.approx(4 + 12.706, abs=1e-3))


def test_a_rate_is_the_middle_of_its_runs_and_bytes_are_the_most() -> None:
    told = {
        "workers": 1,
        "as_is_best_per_second": [30.0, 10.0, 20.0],
        "by_batch_per_second": [10.0, 10.0, 40.0],
        "device_planned_bytes": 2**20,
    }
    found = {
        str(turn): _cell(**told, logit_difference=away, device_held_bytes=held * 2**20)
        for turn, (away, held) in enumerate(((0.1, 3), (0.2, 2)))
    }
    values = {(row.metric, row.split): row for row in tiers.result_rows(found)}
    assert values["pairs_per_second", "int8/1 worker"].value == 20.0
    assert values["by_batch_by_batch", "int8/1 worker"].value == 2.0
    assert values["logit_difference", "int8/placed"].value == 0.2
    held = values["device_held", "int8/placed"]
    assert (held.value, held.lo) == (3.0, None)


@pytest.mark.usefixtures("small_service")
def test_a_small_service_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "CANDIDATES", (5,))
    given = ["tiers.py", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    small = [*given, "--turns", "1", "--pairs", "5000", "--only", "trained"]
    monkeypatch.setattr(sys, "argv", [*small, "--ways", "CPU"])
    tiers.main()
    report = json.loads((tmp_path / "out" / "tiers.json").read_text())
    told = {(row["metric"], row["split"]): row["value"] for row in report["rows"]}
    assert {row["model"] for row in report["rows"]} == {"CPU"}
    assert (
        told["score_p99_ms", "trained/5 candidates"] >= told["score_p50_ms", "trained/5 candidates"]
    )
    assert told["pairs_per_second", "trained/1 worker"] > 0
    assert told["logit_difference", "trained/placed"] < 1e-4
    assert told["device_planned", "trained/placed"] == told["device_held", "trained/placed"] == 0
    assert (tmp_path / "out" / "rates.png").stat().st_size > 1_000
    if torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", small)
        tiers.main()
        report = json.loads((tmp_path / "out" / "tiers.json").read_text())
        assert {row["model"] for row in report["rows"]} == set(tiers.WAYS)
        return
    monkeypatch.setattr(sys, "argv", [*small, "--ways", "all on the GPU"])
    with pytest.raises(SystemExit, match="torch finds no GPU here; `--ways CPU`"):
        tiers.main()
