"""Rows of what `benchmarks/fairness.py` measured: by split, and over all splits.

Takes results of cells, gives rows of a report and points of a picture; never measures anything.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from differences import RESAMPLES, interval

from graphsvc.report import Row

Found = Mapping[str, Mapping[str, Any]]
#: (data set, model) -> split -> what was measured
_Told = dict[tuple[str, str], dict[int, Mapping[str, Any]]]
PLAIN = "logistic"
_SEED = 41


def rows_of(found: Found) -> list[Row]:
    """All figures: those of each split, then over all of them."""
    told: _Told = defaultdict(dict)
    for result in found.values():
        for model, one in result["models"].items():
            told[result["data"], model][result["seed"]] = one
    rows: list[Row] = []
    for (data, model), by_seed in told.items():
        rows += _figures(data, model, by_seed)
        if "tau" in next(iter(by_seed.values())):
            rows += _against(data, model, by_seed, told.get((data, PLAIN), {}))
            rows += _certified(data, model, by_seed)
    for (data, dials), taus in _unheld(found).items():
        rows += _spread("tau_without_lambda", data, f"FairSmooth, {dials}", taus)
    return rows


def _figures(data: str, model: str, by_seed: Mapping[int, Mapping[str, Any]]) -> list[Row]:
    rows = []
    for metric in next(iter(by_seed.values()))["figures"]:
        values = {}
        for seed, one in sorted(by_seed.items()):
            value, lo, hi = one["figures"][metric]
            values[seed] = value
            rows.append(_row(metric, value, data, model, ends=(lo, hi), seed=seed))
        rows.append(_over(metric, data, model, values))
    return rows


def _against(
    data: str,
    model: str,
    by_seed: Mapping[int, Mapping[str, Any]],
    plain: Mapping[int, Mapping[str, Any]],
) -> list[Row]:
    """Beside the unmitigated model, on the splits that both have."""
    both = [seed for seed in sorted(by_seed) if seed in plain]
    if not both:
        return []

    def of(metric: str, side: Mapping[int, Mapping[str, Any]]) -> list[float]:
        return [side[seed]["figures"][metric][0] for seed in both]

    lost = dict(
        zip(
            both,
            np.subtract(of("accuracy", plain), of("accuracy", by_seed)).tolist(),
            strict=True,
        )
    )
    ratio, lo, hi = ratio_of_means(of("opportunity_gap", by_seed), of("opportunity_gap", plain))
    return [
        *_spread("accuracy_lost", data, model, lost),
        _row("opportunity_ratio", ratio, data, model, ends=(lo, hi), seed="all"),
    ]


def ratio_of_means(
    ours: Sequence[float], theirs: Sequence[float]
) -> tuple[float, float | None, float | None]:
    """mean(ours) / mean(theirs), and its 95 % bootstrap interval over splits, drawn in pairs."""
    a, b = np.array(ours), np.array(theirs)
    value = float(a.mean() / b.mean())
    if len(a) < 2:
        return value, None, None
    drawn = np.random.default_rng(_SEED).integers(len(a), size=(RESAMPLES, len(a)))
    lo, hi = np.quantile(a[drawn].mean(axis=1) / b[drawn].mean(axis=1), [0.025, 0.975])
    return value, float(lo), float(hi)


def _certified(data: str, model: str, by_seed: Mapping[int, Mapping[str, Any]]) -> Iterator[Row]:
    yield from _spread("tau", data, model, {seed: one["tau"] for seed, one in by_seed.items()})
    same = {seed: one["same_decision"] for seed, one in by_seed.items()}
    yield from _spread("same_decision", data, model, same)
    under = [shift for one in by_seed.values() for shift in one["shifts"].values()]
    farthest = max(shift["farthest"] for shift in under)
    yield _row("farthest", farthest, data, model, seed="all")
    broken = sum(shift["broken"] for shift in under)
    yield _row("promises_broken", broken, data, model, seed="all", unit="promises")
    for shift in next(iter(by_seed.values()))["shifts"]:
        for rate, short in (("selection_rate", "parity"), ("true_positive_rate", "opportunity")):
            for part in ("gap", "own_gap", "bound"):
                values = {
                    seed: one["shifts"][shift][f"{rate}_{part}"]
                    for seed, one in by_seed.items()
                    if f"{rate}_{part}" in one["shifts"][shift]
                }
                yield from _spread(f"{short}_{part}", f"{data}/shift={shift}", model, values)


def _unheld(found: Found) -> dict[tuple[str, str], dict[int, float]]:
    """Tau where nothing holds groups together, by data set and s."""
    told: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for result in found.values():
        for point in result.get("grid", []):
            if point["proximity"] == 0.0:
                name = f"s={point['scale']:g}"
                told[result["data"], name][result["seed"]] = point["tau"]
    return told


def grids(found: Found) -> dict[str, list[dict[str, float | str]]]:
    """Data set -> mean accuracy, gap and tau of each choice of dials that is held together."""
    told: dict[tuple[str, str, float, float], list[tuple[float, float, float]]] = defaultdict(list)
    for result in found.values():
        for point in result.get("grid", []):
            for how in ("drawn", "threshold"):
                one = point[how]
                key = (result["data"], how, point["scale"], point["proximity"])
                told[key].append((one["accuracy"], one["opportunity_gap"], point["tau"]))
    made: dict[str, list[dict[str, float | str]]] = defaultdict(list)
    for (data, how, scale, proximity), values in told.items():
        accuracy, gap, most = np.mean(values, axis=0).tolist()
        point = {"how": how, "scale": scale, "proximity": proximity}
        made[data].append({**point, "accuracy": accuracy, "gap": gap, "tau": most})
    return made


def _spread(metric: str, data: str, model: str, values: Mapping[int, float]) -> list[Row]:
    """Every split, and all; nothing of no split."""
    if not values:
        return []
    each = [_row(metric, value, data, model, seed=seed) for seed, value in sorted(values.items())]
    return [*each, _over(metric, data, model, values)]


def _over(metric: str, data: str, model: str, values: Mapping[int, float]) -> Row:
    mean, lo, hi = interval(list(values.values()))
    return _row(metric, mean, data, model, ends=(lo, hi), seed="all")


def _row(
    metric: str,
    value: float,
    split: str,
    model: str,
    *,
    seed: int | str,
    ends: tuple[float | None, float | None] = (None, None),
    unit: str = "share",
) -> Row:
    same = {"metric": metric, "value": value, "unit": unit, "split": split, "model": model}
    return Row(**same, lo=ends[0], hi=ends[1], seed=seed)
