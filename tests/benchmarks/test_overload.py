"""benchmarks/overload.py: growth by hand, and a small service that is asked too much."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import overload


def test_growth_is_told_a_minute_and_caches_may_fill_first() -> None:
    """Two minutes in which anything goes, then 1 MiB a minute for four: 100 to 104."""
    filling = [0.0] * 120
    growing = [100 + n / 60 for n in range(240)]
    told = {row.metric: row for row in overload._memory_rows(filling + growing)}
    assert told["memory_growth"].value == pytest.approx(1.0)
    assert told["memory_growth"].lo == pytest.approx(1.0)
    assert told["memory_first"].value == pytest.approx(100.5, abs=0.01)
    assert told["memory_last"].value == pytest.approx(103.5, abs=0.01)
    assert overload._memory_rows(filling + growing[:119]) == []


def test_rows_tell_what_was_refused_and_what_failed() -> None:
    waits = {"p50_ms": 1.0, "p99_ms": 2.0}
    cell = {
        "capacity": 10.0,
        "seconds": 5.0,
        "statuses": {"200": 45, "503": 50, "500": 5},
        "alone": waits,
        "beside": {"p50_ms": 3.0, "p99_ms": 4.0},
        "memory_mib": [1.0],
    }
    told = {(row.metric, row.model): row.value for row in overload.result_rows({"soak": cell})}
    assert told["asked", "too much"] == 20.0
    assert told["answered", "too much"] == 9.0
    assert told["refused", "too much"] == 10.0
    assert told["failed", "too much"] == 5.0
    assert told["other_p99_ms", "beside"] == 4.0


@pytest.mark.slow
@pytest.mark.usefixtures("small_service")
def test_a_small_service_is_asked_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"CANDIDATES": 5, "SECONDS": 1.0, "CLIENTS": 2, "CONNECTIONS": 8, "LOOK": 0.1}
    for name, value in small.items():
        monkeypatch.setattr(overload, name, value)
    given = ["overload.py", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", [*given, "--minutes", "0.05"])
    overload.main()
    report = json.loads((tmp_path / "out" / "overload.json").read_text())
    told = {(row["metric"], row["model"]): row["value"] for row in report["rows"]}
    assert told["answered", "too much"] > 0
    assert told["failed", "too much"] == 0
    assert 0 < told["other_p50_ms", "beside"] <= told["other_p99_ms", "beside"]
    assert (tmp_path / "out" / "overload.png").stat().st_size > 1_000
