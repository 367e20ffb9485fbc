"""The one shape of a measured number, shared by retrains, the demo and every benchmark.

Takes figures, gives JSON; never measures anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "graphsvc.report/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured figure.

    `lo` and `hi` bound the 95 % interval and are None where none was computed. `split` says on
    which data (e.g. `per_user_time/test`, or with a slice: `global_time/test/history=0`), `model`
    which model or which difference (`a - b`), `seed` which run (a number, or `all`).
    """

    metric: str
    value: float
    unit: str
    split: str
    model: str
    lo: float | None = None
    hi: float | None = None
    seed: int | str = 0


def as_report(rows: Sequence[Row], header: Mapping[str, Any]) -> dict[str, Any]:
    """Rows beside a header of machine, commit and dials, ready for JSON."""
    missing = {"machine", "commit", "dials"} - set(header)
    if missing:
        raise ValueError(f"a report's header needs {', '.join(sorted(missing))}")
    return {"schema": SCHEMA, "header": dict(header), "rows": [asdict(row) for row in rows]}


def rows_of(report: Mapping[str, Any]) -> list[Row]:
    """The rows of a report that was read back."""
    if report.get("schema") != SCHEMA:
        raise ValueError(f"schema should be {SCHEMA!r}, received {report.get('schema')!r}")
    return [Row(**row) for row in report["rows"]]
