"""benchmarks/idle_page.py: ratios are within turns."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import idle_page


def test_ratios_are_within_turns() -> None:
    """2 by 1 and 6 by 2: 2 and 3, whose mean is 2.5, though 8 by 3 is 2.67."""
    turns = {
        "no browser": [{"p50_ms": 1.0, "p99_ms": 1.0}, {"p50_ms": 2.0, "p99_ms": 1.0}],
        "a browser elsewhere": [{"p50_ms": 2.0, "p99_ms": 1.0}, {"p50_ms": 3.0, "p99_ms": 1.0}],
        "a page open": [{"p50_ms": 2.0, "p99_ms": 1.0}, {"p50_ms": 6.0, "p99_ms": 1.0}],
    }
    told = {
        (row.metric, row.model): row for row in idle_page.result_rows({"idle": {"turns": turns}})
    }
    ratio = told["ratio_p50", "a page open by no browser"]
    assert ratio.value == 2.5
    assert ratio.hi == pytest.approx(2.5 + 12.706 * 0.5, abs=1e-2)
    assert told["score_p50_ms", "no browser"].value == 1.5
    assert told["ratio_p50", "a page open by a browser elsewhere"].value == 1.5
    assert told["ratio_p99", "a page open by no browser"].value == 1.0
