"""What `offsite.py` and `position.py` measured as rows, and what is decided by them.

Takes the results of cells, gives rows and a table of verdicts; never measures anything.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from differences import interval
from pages import figure, table

from graphsvc.report import Row

AHEAD, BEHIND, OPEN = "ahead", "behind", "not decided"
GONE, THERE = "vanished", "still there"
#: Null -> what must vanish: the metric, and of what.
VANISHES = {
    "offsite": ("auc_ahead", "both - onsite"),
    "interactions": ("auc_lift", ""),
    "kge": ("auc_lift", ""),
    "unbiased": ("auc_lift", ""),
}
_Z = 1.96

_WORDS = """
## Decided

`ahead`: both 95 % intervals lie above 0, that over seeds (t) and that over users; `behind`: both
below; else `not decided`. The one over users is of the mean over seeds, which are independent: its
deviation follows from those of the bootstraps of each. What must vanish in a null has `vanished`
where it is not ahead by these two; how much could hide in them is what their ends say. Each line is
decided by itself: of many, one in twenty may be ahead by chance in one interval, few in both.
"""


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row per figure and seed, with its interval over users, and one over seeds."""
    told: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for result in found.values():
        for task, figures in result["figures"].items():
            for metric, models in figures.items():
                for model, values in models.items():
                    key = (metric, _split(result, task), model)
                    told.setdefault(key, {})[result["seed"]] = values
        for task, facts in result["tasks"].items():
            for name, value in facts.items():
                key = (name, _split(result, task), "all")
                told.setdefault(key, {})[result["seed"]] = [value, math.nan, math.nan, 0.0]
    rows: list[Row] = []
    for (metric, split, model), by_seed in told.items():
        rows += _rows(metric, split, model, by_seed)
    return rows


def _split(result: Mapping[str, Any], task: str) -> str:
    parts = (result["kind"], result.get("size"), task)
    return "/".join(part for part in parts if part)


def _rows(
    metric: str, split: str, model: str, by_seed: Mapping[int, Sequence[float]]
) -> Iterator[Row]:
    """Every seed, the mean with its t interval, and how far off it is by users."""
    known = {seed: values for seed, values in by_seed.items() if math.isfinite(values[0])}
    if not known:
        return
    unit = "rows" if metric in ("rows", "ones", "train_rows") else "share"
    unit = "nats" if metric.startswith("logloss") else unit
    same = {"metric": metric, "unit": unit, "split": split, "model": model}
    for seed, (value, low, high, _) in sorted(known.items()):
        ends = (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)
        yield Row(value=value, lo=ends[0], hi=ends[1], seed=seed, **same)
    mean, low_t, high_t = interval([values[0] for values in known.values()])
    yield Row(value=mean, lo=low_t, hi=high_t, seed="all", **same)
    deviation = math.sqrt(sum(values[3] ** 2 for values in known.values())) / len(known)
    if metric in ("auc_lift", "auc_ahead", "logloss_saved"):
        low, high = mean - _Z * deviation, mean + _Z * deviation
        yield Row(value=mean, lo=low, hi=high, seed="users", **same)


def section(rows: Sequence[Row]) -> str:
    """What a page says of lifts and leads, those of nulls included; nothing without one."""
    by_users = {_key(row): row for row in rows if row.seed == "users"}
    lines = []
    for row in rows:
        if row.seed != "all" or _key(row) not in by_users:
            continue
        users = by_users[_key(row)]
        ends = (_ends(row), _ends(users))
        said = decided(row, users)
        lines.append((row.metric, row.model, row.split, figure(row.value), *ends, said))
    if not lines:
        return ""
    names = ("metric", "of", "where", "value", "over seeds", "over users", "it is")
    return f"{_WORDS.strip()}\n\n{table(names, lines, left=3)}"


def decided(row: Row, users: Row) -> str:
    """By both intervals of one figure; a single seed decides nothing."""
    lows, highs = (row.lo, users.lo), (row.hi, users.hi)
    said = OPEN
    if all(low is not None and low > 0 for low in lows):
        said = AHEAD
    elif all(high is not None and high < 0 for high in highs):
        said = BEHIND
    metric, model = VANISHES.get(row.split.partition("/")[0], ("", ""))
    if row.metric == metric and row.model.startswith(model):
        return THERE if said == AHEAD else GONE if row.lo is not None else OPEN
    return said


def _key(row: Row) -> tuple[str, str, str]:
    return row.metric, row.split, row.model


def _ends(row: Row) -> str:
    if row.lo is None or row.hi is None:
        return ""
    return f"{figure(row.lo)} to {figure(row.hi)}"
