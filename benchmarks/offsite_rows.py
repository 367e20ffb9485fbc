"""What `offsite.py` and `position.py` measured as rows, and what is decided by them.

Takes the results of cells, gives rows and a table of verdicts; never measures anything.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from differences import Ends, decided, interval, whole
from pages import figure, table

from graphsvc.report import Row

AHEAD, OPEN = "ahead", "not decided"
GONE, THERE = "vanished", "still there"
#: Null -> what must vanish: the metric, and of what.
VANISHES = {
    "offsite": ("auc_ahead", "both - onsite"),
    "interactions": ("auc_lift", ""),
    "kge": ("auc_lift", ""),
    "unbiased": ("auc_lift", ""),
}
#: Whose seeds are draws of the same people's pairs, and not other markets.
_SAME_PEOPLE = ("retailrocket",)
_Z = 1.96

#: Of an effect at least, so much of it may be left in its null at most.
SHARE = 1 / 3

_WORDS = f"""
## Decided

`ahead`: both 95 % intervals lie above 0, that over seeds (t) and that over users; `behind`: both
below; else `not decided`. The one over users is of the mean over seeds. Markets are independent, so
its deviation follows from those of the bootstraps of each; draws of the shop's pairs are of the
same people, so there it is the mean of theirs, and none is gained by drawing more often.

What must vanish in a null has `vanished` where it is not ahead, and the upper ends of both
intervals lie below {SHARE:.0%} of the lower ends of those of the default of the same size, which is
ahead: of what is there, at most that much is left. (The share is ours, set before the runs.)
`still there` where it is ahead; else `not decided`: too little data shows nothing. Each line is
decided by itself: of many, one in twenty may be ahead by chance in one interval, few in both.
"""


class Gap(NamedTuple):
    """A mean over seeds with both of its 95 % intervals; `by_seed` is None for a single one."""

    value: float
    by_seed: Ends | None
    by_user: Ends

    @property
    def decided(self) -> str:
        return decided(self.by_seed, self.by_user)


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
    """Every seed, the mean with its t interval, how far off it is by users, and both as one."""
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
    if metric not in ("auc_lift", "auc_ahead", "logloss_saved"):
        return
    reach = _Z * _deviation([values[3] for values in known.values()], split)
    by_user = (mean - reach, mean + reach)
    yield Row(value=mean, lo=by_user[0], hi=by_user[1], seed="users", **same)
    if metric == "auc_ahead" and low_t is not None and high_t is not None:
        low, high = whole((low_t, high_t), by_user)
        yield Row(value=mean, lo=low, hi=high, seed="all", **same | {"metric": "auc_lead"})


def _deviation(each: Sequence[float], split: str) -> float:
    """Of the mean over seeds, from those of each seed: sqrt(sum s^2) / n if independent."""
    if split.partition("/")[0] in _SAME_PEOPLE:
        return sum(each) / len(each)
    return math.hypot(*each) / len(each)


def gaps_of(rows: Sequence[Row]) -> dict[tuple[str, str, str], Gap]:
    """By metric, split and model, those that have an interval over users."""
    means = {_key(row): row for row in rows if row.seed == "all"}
    found = {}
    for row in rows:
        if row.seed == "users":
            mean, by_user = means[_key(row)], _ends(row)
            if by_user is not None:
                found[_key(row)] = Gap(mean.value, _ends(mean), by_user)
    return found


def section(rows: Sequence[Row]) -> str:
    """What a page says of lifts and leads, those of nulls included; nothing without one."""
    gaps, lines = gaps_of(rows), []
    for (metric, split, model), gap in gaps.items():
        usual = gaps.get((metric, _of_default(split), model))
        ends = (_said(gap.by_seed), _said(gap.by_user))
        said = verdict((metric, split, model), gap, usual)
        lines.append((metric, model, split, figure(gap.value), *ends, said))
    if not lines:
        return ""
    names = ("metric", "of", "where", "value", "over seeds", "over users", "it is")
    return f"{_WORDS.strip()}\n\n{table(names, lines, left=3)}"


def verdict(key: tuple[str, str, str], gap: Gap, usual: Gap | None) -> str:
    """By both intervals of one figure; `usual`: of the default, for what must vanish."""
    metric, model = VANISHES.get(key[1].partition("/")[0], ("", ""))
    if key[0] != metric or not key[2].startswith(model):
        return gap.decided
    if gap.decided == AHEAD:
        return THERE
    if usual is None or usual.decided != AHEAD or gap.by_seed is None or usual.by_seed is None:
        return OPEN
    most, least = whole(gap.by_seed, gap.by_user)[1], whole(usual.by_seed, usual.by_user)[0]
    return GONE if most < SHARE * least else OPEN


def _of_default(split: str) -> str:
    return "/".join(("default", split.partition("/")[2]))


def _key(row: Row) -> tuple[str, str, str]:
    return row.metric, row.split, row.model


def _ends(row: Row) -> Ends | None:
    return None if row.lo is None or row.hi is None else (row.lo, row.hi)


def _said(ends: Ends | None) -> str:
    return "" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"
