"""Whether ML-DCN is ahead of each rival at each budget.

Takes the cells of runs and the probabilities beside them, gives leads, rows and a table; never
trains.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ctr_spans
import numpy as np
from ctr_cells import BETTER, CONTROLS, OURS, RIVALS, kept
from ctr_data import Clicks
from ctr_judge import Judged, Lead, auc_draws, draws, judged, lead, logloss_draws
from differences import interval
from numpy.typing import NDArray
from pages import table

from graphsvc.report import Row
from ranking.metrics import auc
from ranking.reliability import HISTORY

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
    """An arm at a budget: figures by seed, probabilities by seed, and which family it is."""

    kind: str
    auc: dict[int, float]
    logloss: dict[int, float]
    scores: dict[int, NDArray[np.float32]]


def runs_of(found: Mapping[str, Mapping[str, Any]], out: Path) -> dict[tuple[str, float], Runs]:
    """The runs of every arm and budget, as far as their probabilities lie beside their cells."""
    made: dict[tuple[str, float], Runs] = {}
    for name, told in found.items():
        scores = kept(out, name) if name.startswith("run-") else None
        if scores is None:
            continue
        key = (told["arm"], told["times"])
        runs = made.setdefault(key, Runs(told["kind"], {}, {}, {}))
        seed = told["seed"]
        runs.auc[seed], runs.logloss[seed] = told["auc"], told["logloss"]
        runs.scores[seed] = scores
    return made


def compared(runs: Mapping[tuple[str, float], Runs], clicks: Clicks) -> list[Compared]:
    """Every comparison for which there are runs of the same seeds."""
    rows = clicks.rows(ctr_spans.TEST)
    _, chosen = judged(np.asarray(clicks.label[rows]), clicks.cluster[rows])
    for (arm, times), each in runs.items():
        _check(f"{arm} at {times:g}x", each, chosen)
    weights = draws(chosen)
    made = []
    for times in sorted({times for _, times in runs}):
        ours = runs.get((OURS, times))
        for rival in (*RIVALS, *CONTROLS):
            theirs = runs.get((rival, times))
            if ours and theirs and set(ours.auc) & set(theirs.auc):
                made.append(_compare(rival, times, (ours, theirs), (chosen, weights)))
    return made


def by_history(runs: Mapping[tuple[str, float], Runs], clicks: Clicks) -> Iterator[Row]:
    """AUC of those without a known one before the row, with few, and with more."""
    if clicks.clustered_by != "users":
        return
    rows = clicks.rows(ctr_spans.TEST)
    places, chosen = judged(np.asarray(clicks.label[rows]), clicks.cluster[rows])
    past = clicks.history[rows][places]
    for (arm, times), each in runs.items():
        for name, least, most in HISTORY:
            part = (past >= least) & (past <= most)
            label = chosen.label[part]
            if len(np.unique(label)) < 2:
                continue
            scored = each.scores.values()
            aucs = [auc(scores[part].astype(np.float64), label) for scores in scored]
            mean, low, high = interval(aucs)
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


def _check(name: str, runs: Runs, rows: Judged) -> None:
    """Raises `SystemExit` where what lies beside a cell is not of the rows that are judged."""
    for seed, scores in runs.scores.items():
        if len(scores) != len(rows.label):
            raise SystemExit(
                f"error: probabilities of {name}, seed {seed}, should be {len(rows.label)}, "
                f"received {len(scores)}; delete the cell to measure it anew"
            )


def _compare(
    rival: str, times: float, pair: tuple[Runs, Runs], on: tuple[Judged, NDArray[np.float64]]
) -> Compared:
    both = sorted(set(pair[0].auc) & set(pair[1].auc))
    scores = [[runs.scores[seed] for seed in both] for runs in pair]
    aucs, losses = (
        tuple(drawn(on[0], each, on[1]) for each in scores) for drawn in (auc_draws, logloss_draws)
    )
    return Compared(
        called(rival, pair[1].kind),
        times,
        lead(pair[0].auc, pair[1].auc, (aucs[0], aucs[1])),
        lead(pair[0].logloss, pair[1].logloss, (losses[0], losses[1])),
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
