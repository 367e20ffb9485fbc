"""Validation MRR against minutes of training, TransRA beside two of PyKEEN's models.

Takes cells of `benchmarks/link_prediction.py`, gives the rows of what they found; never trains.
Learning rates fall over the minutes given, for all alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from differences import interval
from link_cells import cell_name, unlike
from numpy.typing import NDArray
from timed import SHARES
from training_speed import spread

from graphsvc.report import Row

OURS = "transra"
#: A step ends a little after the moment at which validation was due: by that factor at most.
_LATE = 1.1


class Lead(NamedTuple):
    """By how much ours is above a rival, in MRR, with a 95 % t interval over seeds."""

    value: float
    low: float | None
    high: float | None

    @property
    def unknown(self) -> bool:
        """Whether one of the two was not looked at yet."""
        return bool(np.isnan(self.value))

    @property
    def ahead(self) -> bool:
        """Whether the interval lies above 0; a single seed decides nothing."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True, kw_only=True)
class QualitySizes:
    """Who is trained, how long and how often."""

    minutes: float = 10.0
    seeds: int = 3
    models: Sequence[str] = (OURS, "transr-pykeen", "rotate")

    @property
    def moments(self) -> list[float]:
        """Minutes at which validation is measured."""
        return [self.minutes * share for share in SHARES]


def curves(
    found: Mapping[str, Mapping[str, Any]], files: str, sizes: QualitySizes
) -> dict[str, dict[int, list[float]]]:
    """Model -> seed -> validation MRR at each of the moments; `files` is their digest.

    NaN at moments before the first look: nobody knows what the model was worth then.
    """
    told: dict[str, dict[int, list[float]]] = {}
    moments = 60.0 * np.array(sizes.moments)
    for name in sizes.models:
        for seed in range(sizes.seeds):
            if cell := found.get(_cell(name, seed, files, sizes)):
                seconds = [point["seconds"] for point in cell["curve"]]
                mrr = [point["mrr"] for point in cell["curve"]]
                there = np.interp(moments, seconds, mrr)
                there[moments * _LATE < seconds[0]] = np.nan
                there[-1] = mrr[-1]  # of the end, however late the last step was
                told.setdefault(name, {})[seed] = there.tolist()
    return told


def _cell(name: str, seed: int, files: str, sizes: QualitySizes) -> str:
    return cell_name(name, seed, sizes.minutes, files)


def rows_of(
    found: Mapping[str, Mapping[str, Any]], files: str, graph: str, sizes: QualitySizes
) -> list[Row]:
    """MRR of each model at each moment, our lead, and from when on ours is ahead of all others."""
    told = curves(found, files, sizes)
    # A clock was set for all: what another processor learned by then is no other run of the same.
    alike = {
        name: not unlike({n: found[_cell(name, n, files, sizes)] for n in by_seed})
        for name, by_seed in told.items()
    }
    rows = []
    for name, by_seed in told.items():
        for n, minute in enumerate(sizes.moments):
            values = {seed: curve[n] for seed, curve in by_seed.items()}
            if np.isfinite(list(values.values())).all():
                split = f"{graph}/minute={minute:g}"
                rows += spread("valid_mrr", "share", split, name, values, alike=alike[name])
    whole = [n for n in sizes.models if alike.get(n) and len(told[n]) == sizes.seeds]
    if len(whole) == len(sizes.models):
        rows += _lead_rows(leads(told), graph, sizes)
    return rows


def leads(told: Mapping[str, Mapping[int, Sequence[float]]]) -> dict[str, list[Lead]]:
    """Rival -> at each moment our lead with its t interval, paired: of the same seed."""
    return {
        name: [Lead(*interval(apart.tolist())) for apart in _apart(told[OURS], by_seed).T]
        for name, by_seed in told.items()
        if name != OURS
    }


def _apart(
    ours: Mapping[int, Sequence[float]], theirs: Mapping[int, Sequence[float]]
) -> NDArray[np.float64]:
    """[seeds, moments] ours less theirs."""
    return np.array([np.subtract(ours[seed], theirs[seed]) for seed in ours])


def _lead_rows(found: Mapping[str, Sequence[Lead]], graph: str, sizes: QualitySizes) -> list[Row]:
    rows = []
    for n, minute in enumerate(sizes.moments):
        for name, each in found.items():
            split = f"{graph}/minute={minute:g}"
            rows += [_lead_row("valid_mrr_lead", each[n], split, name)] * (not each[n].unknown)
    # At the end the rival that is best then, so the one of the least lead.
    best = min(found, key=lambda name: found[name][-1].value)
    rows.append(_lead_row("lead_at_end", found[best][-1], graph, "best rival"))
    ahead = [all(each[n].ahead for each in found.values()) for n in range(len(sizes.moments))]
    since = ahead_from(sizes.moments, ahead)
    if since is not None:
        same = {"split": graph, "model": graph, "seed": "all"}
        rows.append(Row(metric="ahead_from_minutes", value=since, unit="minutes", **same))
    return rows


def _lead_row(metric: str, lead: Lead, split: str, rival: str) -> Row:
    return Row(
        metric=metric,
        value=lead.value,
        lo=lead.low,
        hi=lead.high,
        unit="mrr",
        split=split,
        model=f"{OURS} - {rival}",
        seed="all",
    )


def ahead_from(moments: Sequence[float], ahead: Sequence[bool]) -> float | None:
    """The first moment from which on it stays ahead; None where it is not ahead at the end."""
    behind = [n for n, above in enumerate(ahead) if not above]
    first = behind[-1] + 1 if behind else 0
    return moments[first] if first < len(moments) else None
