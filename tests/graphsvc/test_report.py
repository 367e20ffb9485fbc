"""Reports: rows come back as they were, and a header says on what they were measured."""

import json

import pytest

from graphsvc.report import Row, as_report, rows_of

HEADER = {"machine": {"cores": 2}, "commit": "abc", "dials": {}}


def test_rows_come_back_through_json() -> None:
    rows = [
        Row(metric="auc", value=0.5, unit="probability", split="a/test", model="m", lo=0.4, hi=0.6),
        Row(metric="score_p99_ms", value=3.0, unit="ms", split="demo", model="100", seed="all"),
    ]
    report = json.loads(json.dumps(as_report(rows, HEADER)))
    assert rows_of(report) == rows
    assert set(report["rows"][0]) == {
        *("metric", "value", "lo", "hi", "split", "model", "seed", "unit")
    }


def test_a_header_without_a_commit_is_refused() -> None:
    with pytest.raises(ValueError, match="commit"):
        as_report([], {"machine": {}, "dials": {}})


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match=r"graphsvc\.report/1"):
        rows_of({"schema": "other/1", "rows": []})
