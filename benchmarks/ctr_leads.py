"""Whether ML-DCN is ahead of each rival at each budget.

Takes the cells of runs and the draws beside them, gives leads, rows and a table; never trains.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ctr_cells import BETTER, CONTROLS, OURS, RIVALS, WHOLE, kept
from ctr_judge import Draws, Lead, lead, mean_of
from differences import interval
from pages import table

from graphsvc.report import Row

_WORDS = """
## Ahead or behind

AUC of `ml_dcn` on TEST less that of the other at the same budget: a t interval over the seeds that
both have, and a paired bootstrap over the {by} of TEST, each drawn with all its rows for both
models and all runs. It is ahead or behind where neither interval holds 0.
"""


class Compared(NamedTuple):
    """ML-DCN against one arm at one budget."""

    rival: str
    times: float
    auc: Lead
    #: less is better
    logloss: Lead


class Runs(NamedTuple):
    """An arm at a budget: which family it is, and its runs by seed."""

    kind: str
    auc: dict[int, float]
    logloss: dict[int, float]
    draws: dict[int, Draws]
    #: history -> AUC of these rows by seed
    history: dict[str, dict[int, float]]


def runs_of(found: Mapping[str, Mapping[str, Any]], out: Path) -> dict[tuple[str, float], Runs]:
    """The runs of every arm and budget, as far as their draws lie beside their cells."""
    made: dict[tuple[str, float], Runs] = {}
    for name, told in found.items():
        drawn = kept(out, name) if name.startswith("run-") else None
        if drawn is None:
            continue
        key = (told["arm"], told["times"])
        runs = made.setdefault(key, Runs(told["kind"], {}, {}, {}, {}))
        seed = told["seed"]
        runs.auc[seed], runs.logloss[seed] = told["auc"], told["logloss"]
        runs.draws[seed] = drawn
        for past, value in told["auc_by_history"].items():
            runs.history.setdefault(past, {})[seed] = value
    return made


def compared(runs: Mapping[tuple[str, float], Runs]) -> list[Compared]:
    """Every comparison for which there are runs of the same seeds."""
    made = []
    for times in sorted({times for _, times in runs}):
        ours = runs.get((OURS, times))
        for rival in (*RIVALS, WHOLE, *CONTROLS):
            theirs = runs.get((rival, times))
            if ours and theirs and set(ours.auc) & set(theirs.auc):
                made.append(_compare(rival, times, ours, theirs))
    return made


def by_history(runs: Mapping[tuple[str, float], Runs]) -> Iterator[Row]:
    """AUC of those without a known one before the row, with few, and with more."""
    for (arm, times), each in runs.items():
        for name, by_seed in each.history.items():
            mean, low, high = interval(list(by_seed.values()))
            yield Row(
                metric="auc",
                value=mean,
                lo=low,
                hi=high,
                unit="share",
                split=f"{times:g}x/test/history={name}",
                model=called(arm, each.kind),
                seed="all",
            )


def _compare(rival: str, times: float, ours: Runs, theirs: Runs) -> Compared:
    both = sorted(set(ours.auc) & set(theirs.auc))
    mine, other = (mean_of([runs.draws[seed] for seed in both]) for runs in (ours, theirs))
    return Compared(
        called(rival, theirs.kind),
        times,
        lead(ours.auc, theirs.auc, (mine.auc, other.auc)),
        lead(ours.logloss, theirs.logloss, (mine.logloss, other.logloss)),
    )


def rows_of(found: Sequence[Compared]) -> Iterator[Row]:
    """Each lead with both of its intervals."""
    for rival, times, *leads in found:
        for metric, unit, one in zip(("auc", "logloss"), ("share", "nats"), leads, strict=True):
            same = {"unit": unit, "split": f"{times:g}x/test", "model": f"{OURS} - {rival}"}
            for over, ends in (("seeds", one.by_seed), ("users", one.by_user)):
                if ends:
                    name = f"{metric}_difference_over_{over}"
                    low, high = ends
                    yield Row(metric=name, value=one.value, lo=low, hi=high, seed="all", **same)


def section(found: Sequence[Compared], clustered_by: str) -> str:
    """What a page says of them; nothing where there are none."""
    if not found:
        return ""
    lines = [
        (
            f"{OURS} - {one.rival}",
            f"{one.times:g}x",
            str(one.auc.seeds),
            f"{one.auc.value:+.4f}",
            _range(one.auc.by_seed) if one.auc.by_seed else "",
            _range(one.auc.by_user),
            one.auc.decided,
            f"{one.logloss.value:+.4f}",
        )
        for one in found
    ]
    names = ("difference", "budget", "seeds", "AUC", "95 % over seeds (t)")
    names += (f"95 % over {clustered_by} (bootstrap)", "it is", "log loss")
    return f"{_WORDS.format(by=clustered_by).strip()}\n\n{table(names, lines, left=2)}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def called(arm: str, kind: str) -> str:
    """An arm as pages call it: which MaskNet the better one was."""
    return kind if arm == BETTER else arm
