"""Validation MRR against minutes of training, TransRA beside two of PyKEEN's models.

Takes triples and minutes, gives cells and the rows of what they found; never decides how a model
is trained. Learning rates fall over the minutes given, for all alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from grid import Measure
from link_prediction import measure
from training_speed import spread

from graphsvc.report import Row
from kge.files import TripleFiles

OURS = "transra"


@dataclass(frozen=True, kw_only=True)
class QualitySizes:
    """Who is trained, how long and how often."""

    minutes: float = 10.0
    seeds: int = 3
    models: Sequence[str] = (OURS, "transr-pykeen", "rotate")
    #: when validation is measured: of 10 minutes, at .25, .5, 1, 2, 3, 5, 7.5 and 10
    shares: Sequence[float] = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)

    @property
    def moments(self) -> list[float]:
        """Minutes at which validation is measured."""
        return [self.minutes * share for share in self.shares]


def cells(data: TripleFiles, key: str, sizes: QualitySizes, memory: int) -> dict[str, Measure]:
    same = {"minutes": sizes.minutes, "memory": memory, "shares": sizes.shares}
    return {
        _cell(key, name, seed, sizes): partial(measure, data, name, seed, **same)
        for seed in range(sizes.seeds)
        for name in sizes.models
    }


def _cell(key: str, name: str, seed: int, sizes: QualitySizes) -> str:
    return f"quality-{key}-{name}-seed{seed}-{sizes.minutes:g}m"


def curves(
    found: Mapping[str, Mapping[str, Any]], key: str, sizes: QualitySizes
) -> dict[str, dict[int, list[float]]]:
    """Model -> seed -> validation MRR at each of the moments."""
    told: dict[str, dict[int, list[float]]] = {}
    for name in sizes.models:
        for seed in range(sizes.seeds):
            if cell := found.get(_cell(key, name, seed, sizes)):
                seconds = [point["seconds"] for point in cell["curve"]]
                mrr = [point["mrr"] for point in cell["curve"]]
                # A step may end a little after the moment at which validation was due.
                there = np.interp(60.0 * np.array(sizes.moments), seconds, mrr)
                told.setdefault(name, {})[seed] = there.tolist()
    return told


def rows_of(
    found: Mapping[str, Mapping[str, Any]], key: str, graph: str, sizes: QualitySizes
) -> list[Row]:
    """MRR of each model at each moment, and from when on ours is ahead of all others."""
    told = curves(found, key, sizes)
    rows = []
    for name, by_seed in told.items():
        for n, minute in enumerate(sizes.moments):
            values = {seed: curve[n] for seed, curve in by_seed.items()}
            rows += spread("valid_mrr", "share", f"{graph}/minute={minute:g}", name, values)
    if set(told) == set(sizes.models):
        means = {name: np.mean(list(by_seed.values()), axis=0) for name, by_seed in told.items()}
        ours = means.pop(OURS)
        rivals = np.max(list(means.values()), axis=0)
        same = {"split": graph, "model": f"{OURS} - best rival", "seed": "all"}
        lead = float(ours[-1] - rivals[-1])
        rows.append(Row(metric="lead_at_end", value=lead, unit="mrr", **same))
        since = ahead_from(sizes.moments, ours.tolist(), rivals.tolist())
        if since is not None:
            same["model"] = graph
            rows.append(Row(metric="ahead_from_minutes", value=since, unit="minutes", **same))
    return rows


def ahead_from(
    moments: Sequence[float], ours: Sequence[float], rivals: Sequence[float]
) -> float | None:
    """The first moment from which on `ours` stays above; None where it is not above at the end."""
    ahead = [own > other for own, other in zip(ours, rivals, strict=True)]
    behind = [n for n, above in enumerate(ahead) if not above]
    first = behind[-1] + 1 if behind else 0
    return moments[first] if first < len(moments) else None
