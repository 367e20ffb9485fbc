"""What the cells of the ladder say: AUC of each arm, its lift over no KGE, and who is ahead.

Takes the cells of `benchmarks/ladder.py` and the draws that lie beside them, gives rows and a
table; never measures anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from differences import Ends, decided, interval, whole
from numpy.typing import NDArray
from pages import figure, table

from graphsvc.report import Row
from ranking.config import LADDER
from ranking.intervals import interval as of_draws

BASE, OURS = "none", "attention"
#: Of the draws beside a cell: of all rows, with the bundle of T0 and with the refreshed one.
OLD, NEW = "old", "new"

_WORDS = """
## Ahead or behind

AUC of the first less that of the second, mean over seeds. `ahead` or `behind`: neither the t
interval over seeds nor the bootstrap over users holds 0; else `not decided`, as with one seed.
"""

#: Name of a slice -> AUC of the rows as they are, then of each draw of users.
Draws = Mapping[str, NDArray[np.float64]]


class Run(NamedTuple):
    """One ranker: what its cell says, and its draws."""

    told: Mapping[str, Any]
    draws: Draws


class Gap(NamedTuple):
    """By how much one is better than another: a mean over seeds, with two 95 % intervals."""

    value: float
    seeds: int
    #: t interval over seeds; None for one seed
    by_seed: Ends | None
    #: bootstrap over users
    by_user: Ends

    @property
    def decided(self) -> str:
        return decided(self.by_seed, self.by_user)

    @property
    def whole(self) -> Ends | None:
        """Both intervals as one; None for one seed."""
        return None if self.by_seed is None else whole(self.by_seed, self.by_user)


def keep(file: Path, draws: Draws) -> None:
    """Write the draws of a cell; seven digits of an AUC are more than its interval needs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {name: values.astype(np.float32) for name, values in draws.items()}
    np.savez_compressed(file, **named)


#: (world, task) -> arm -> seed
Runs = Mapping[tuple[str, str], Mapping[str, Mapping[int, Run]]]


def runs_of(found: Mapping[str, Mapping[str, Any]], folder: Path) -> Runs:
    """The rankers that were trained; `folder` holds the cells."""
    made: dict[tuple[str, str], dict[str, dict[int, Run]]] = {}
    for cell, told in found.items():
        if not cell.startswith("run-"):
            continue
        with np.load(folder / f"{cell}.npz") as file:
            run = Run(told, {name: file[name].astype(np.float64) for name in file.files})
        arms = made.setdefault((told["world"], told["task"]), {})
        arms.setdefault(told["arm"], {})[told["seed"]] = run
    return made


def gap(
    ours: Mapping[int, Run], theirs: Mapping[int, Run], name: str = OLD, other: str | None = None
) -> Gap | None:
    """AUC of ours less theirs over the seeds that both have, by the draws of a name.

    `other`: theirs by the draws of another name. None where there is no such pair.
    """
    second = other or name
    pairs = [
        ours[seed].draws[name] - theirs[seed].draws[second]
        for seed in sorted(set(ours) & set(theirs))
        if name in ours[seed].draws and second in theirs[seed].draws
    ]
    if not pairs:
        return None
    value, low, high = interval([float(pair[0]) for pair in pairs])
    by_seed = None if low is None or high is None else (low, high)
    # A user is drawn for both, and with all seeds.
    _, *by_user = of_draws(np.mean(pairs, axis=0))
    return Gap(value, len(pairs), by_seed, (by_user[0], by_user[1]))


def rows_of(runs: Runs) -> list[Row]:
    """Rows of every world and task."""
    rows: list[Row] = []
    for (world, task), arms in runs.items():
        where = f"{world}/{task}"
        for arm, by_seed in arms.items():
            rows += _of_arm(where, arm, by_seed)
            if arm != BASE and BASE in arms:
                for name in _slices(by_seed):
                    found = gap(by_seed, arms[BASE], name)
                    rows += gap_rows("auc_lift", f"{where}{name[3:]}", f"{arm} - {BASE}", found)
        # Ours is to be ahead of these alone: the swaps are variants of ours.
        for rival in LADDER:
            if rival != OURS and OURS in arms and rival in arms:
                found = gap(arms[OURS], arms[rival])
                rows += _lead_rows(where, f"{OURS} - {rival}", found)
    return rows


def _of_arm(where: str, arm: str, by_seed: Mapping[int, Run]) -> list[Row]:
    rows: list[Row] = []
    for metric, unit in (("auc", "share"), ("logloss", "nats"), ("parameters", "count")):
        values = {seed: float(run.told[metric]) for seed, run in by_seed.items()}
        rows += spread((metric, unit, where, arm), values)
    refreshed = gap(by_seed, by_seed, NEW, OLD)
    rows += gap_rows("auc_refreshed_change", where, f"{arm}, T2 - T0", refreshed)
    return rows


def _slices(by_seed: Mapping[int, Run]) -> list[str]:
    """`old`, and `old/history=...` of the rows of those with so many outcomes before."""
    first = next(iter(by_seed.values()))
    return [name for name in first.draws if name.partition("/")[0] == OLD]


def spread(named: tuple[str, str, str, str], values: Mapping[int, float]) -> Iterator[Row]:
    """A row per seed, and their mean with its t interval."""
    metric, unit, split, model = named
    same = {"metric": metric, "unit": unit, "split": split, "model": model}
    for seed, value in sorted(values.items()):
        yield Row(value=value, seed=seed, **same)
    mean, low, high = interval(list(values.values()))
    yield Row(value=mean, lo=low, hi=high, seed="all", **same)


def gap_rows(metric: str, where: str, model: str, found: Gap | None) -> Iterator[Row]:
    """A gap twice: with its t interval over seeds, and with the bootstrap over users."""
    if found is None:
        return
    ends = {"": found.by_seed or (None, None), "_by_user": found.by_user}
    for suffix, (low, high) in ends.items():
        yield Row(
            metric=f"{metric}{suffix}",
            value=found.value,
            lo=low,
            hi=high,
            unit="share",
            split=where,
            model=model,
            seed="all",
        )


def _lead_rows(where: str, model: str, found: Gap | None) -> Iterator[Row]:
    """The interval is both as one, so that an aim is reached where both lie above it."""
    if found is None or found.whole is None:
        return
    low, high = found.whole
    yield Row(
        metric="auc_lead",
        value=found.value,
        lo=low,
        hi=high,
        unit="share",
        split=where,
        model=model,
        seed="all",
    )


def section(runs: Runs) -> str:
    """What a page says of who is ahead; nothing without pairs."""
    lines = []
    for (world, task), arms in runs.items():
        pairs = [(arm, BASE) for arm in arms if arm != BASE]
        pairs += [(OURS, arm) for arm in arms if arm not in (BASE, OURS)]
        for first, second in pairs:
            if first not in arms or second not in arms:
                continue
            found = gap(arms[first], arms[second])
            if found is not None:
                lines.append((f"{world}/{task}", f"{first} - {second}", *_cells(found)))
    if not lines:
        return ""
    names = ("where", "pair", "AUC", "seeds", "t over seeds", "bootstrap by user", "it is")
    return f"{_WORDS.strip()}\n\n{table(names, lines, left=2)}"


def _cells(found: Gap) -> Sequence[str]:
    by_seed = "" if found.by_seed is None else _ends(found.by_seed)
    value, by_user = f"{found.value:+.4f}", _ends(found.by_user)
    return (value, figure(found.seeds), by_seed, by_user, found.decided)


def _ends(ends: Ends) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"
