"""Validation MRR against minutes of training, TransRA beside two of PyKEEN's models.

Takes cells of `benchmarks/link_prediction.py`, gives the rows of what they found; never trains.
Learning rates fall over the minutes given, for all alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from link_cells import cell_name
from timed import SHARES
from training_speed import spread

from graphsvc.report import Row

OURS = "transra"


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
    """Model -> seed -> validation MRR at each of the moments; `files` is their digest."""
    told: dict[str, dict[int, list[float]]] = {}
    for name in sizes.models:
        for seed in range(sizes.seeds):
            if cell := found.get(cell_name(name, seed, sizes.minutes, files)):
                seconds = [point["seconds"] for point in cell["curve"]]
                mrr = [point["mrr"] for point in cell["curve"]]
                # A step may end a little after the moment at which validation was due.
                there = np.interp(60.0 * np.array(sizes.moments), seconds, mrr)
                told.setdefault(name, {})[seed] = there.tolist()
    return told


def rows_of(
    found: Mapping[str, Mapping[str, Any]], files: str, graph: str, sizes: QualitySizes
) -> list[Row]:
    """MRR of each model at each moment, and from when on ours is ahead of all others."""
    told = curves(found, files, sizes)
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
