"""Rankers and their rivals, judged on TEST.

Takes examples and each ranker's probabilities of the TEST rows, gives report rows with 95 %
intervals; never chooses anything by what it sees here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from graphsvc.report import Row
from graphsvc.snapshot import Span
from ranking.bundle import Ranker
from ranking.config import ARMS
from ranking.errors import NotEnoughRows, StatesMismatch
from ranking.examples import Examples, of_head
from ranking.intervals import Judged, Resampled, interval, resample_each
from ranking.reliability import HISTORY
from ranking.rivals import COUNTING, Rival, fit_rivals

#: Metric -> unit.
_UNITS = {"auc": "share", "logloss": "nats", "ece": "probability", "gauc": "share"}
#: head -> model -> probabilities of the TEST rows that the head answers about
Answers = Mapping[str, Mapping[str, Float64[np.ndarray, "_"]]]


def answers_of(examples: Examples, ranker: Ranker, name: str) -> Answers:
    """What every head of a ranker says of its TEST rows, each shown where it was.

    Under `<name>_served` also what it would have been ordered by, all in the served place, where
    that makes a difference. A head without enough rows to judge it is left out.
    """
    told = {}
    for head in ranker.head_names:
        try:
            test = of_head(examples, head).rows[Span.TEST]
        except NotEnoughRows:
            continue
        places = {name: test.exposures}
        if ranker.reads_position:
            places[f"{name}_served"] = test.exposures.at(ranker.served_position)
        told[head] = {
            model: ranker.scored(test.heads, test.tails, exposures).probabilities[head]
            for model, exposures in places.items()
        }
    return told


def judge_heads(
    examples: Examples, answers: Answers, *, seed: int = 0, pairs: Sequence[tuple[str, str]] = ()
) -> list[Row]:
    """`evaluate_rankers` of every head, with the models that have it."""
    rows: list[Row] = []
    for head, models in answers.items():
        own = [(a, b) for a, b in pairs if a in models and b in models]
        rows += evaluate_rankers(examples, models, seed=seed, pairs=own, head=head)
    return rows


def evaluate_rankers(
    examples: Examples,
    scores: Mapping[str, Float64[np.ndarray, "n"]],
    *,
    resamples: int = 1000,
    seed: int = 0,
    pairs: Sequence[tuple[str, str]] = (),
    head: str = "ctr",
) -> list[Row]:
    """AUC, log loss, ECE and gAUC of every model on TEST, and paired differences.

    `scores`: name (`ranker_<arm>`, or any other) -> calibrated probabilities of
    `examples.rows[Span.TEST]` in its order. The rivals of `rivals.py` are fitted and judged beside
    them. `head`: of `cvr` only clicked rows count, with conversions as labels, and the split says
    so. Differences `a - b`: every ranker against both rivals that count, any two arms of
    `ARMS`, and of `pairs` (a, b). Intervals: bootstrap over users, the same draws for all. Under
    the protocol global_time also by the head's known outcomes before the row. A slice without both
    labels is left out. Raises `StatesMismatch` for scores of another length.
    """
    examples = of_head(examples, head)
    test = examples.rows[Span.TEST]
    for name, values in scores.items():
        if values.shape != test.labels.shape:
            raise StatesMismatch(
                f"scores of {name} should have shape {test.labels.shape}, received {values.shape}"
            )
    rivals = fit_rivals(examples, head)
    models = {rival.name: rival.probabilities for rival in rivals} | dict(scores)
    split = f"{examples.protocol}/test" + ("" if head == "ctr" else f"/head={head}")
    rows = list(_trial_rows(rivals, split))
    everything = np.arange(len(test.labels))
    gaps = [*_pairs(list(scores), COUNTING[head]), *pairs]
    rows += _judge(examples, models, (split, everything), gaps, (resamples, seed))
    if examples.protocol == "global_time":
        for name, least, most in HISTORY:
            known = test.heads.outcomes
            chosen = np.flatnonzero((known >= least) & (known <= most))
            part = (f"{split}/history={name}", chosen)
            rows += _judge(examples, models, part, gaps, (resamples, seed))
    return rows


def _judge(
    examples: Examples,
    models: Mapping[str, Float64[np.ndarray, "n"]],
    part: tuple[str, np.ndarray],
    pairs: Sequence[tuple[str, str]],
    draws: tuple[int, int],
) -> list[Row]:
    split, chosen = part
    test = examples.rows[Span.TEST]
    judged = Judged(test.labels[chosen], test.cluster[chosen], test.weight[chosen])
    if len(np.unique(judged.labels)) < 2:
        return []
    users = len(np.unique(judged.cluster))
    here = {name: values[chosen] for name, values in models.items()}
    figures = resample_each(judged, here, resamples=draws[0], seed=draws[1])
    rows = [_count(split, "rows", len(chosen)), _count(split, "users", users)]
    gaps = {f"{a} - {b}": _differences(figures[a], figures[b]) for a, b in pairs}
    for name, resampled in {**figures, **gaps}.items():
        rows += _metric_rows(split, name, resampled)
    return rows


def _pairs(names: Sequence[str], rivals: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every ranker and each rival; every two arms, the one that is further up the ladder first."""
    for name in names:
        yield from ((name, rival) for rival in rivals)
    arms = [name for arm in ARMS if (name := f"ranker_{arm}") in names]
    yield from ((b, a) for a, b in combinations(arms, 2))


def _differences(a: Resampled, b: Resampled) -> Resampled:
    return {metric: a[metric] - b[metric] for metric in a}


def _metric_rows(split: str, model: str, figures: Resampled) -> Iterator[Row]:
    """One row per metric; an undefined one (gAUC where no user has both labels) is left out."""
    for metric, unit in _UNITS.items():
        value, lo, hi = interval(figures[metric])
        if math.isfinite(value):
            yield Row(
                metric=metric,
                value=value,
                lo=lo if math.isfinite(lo) else None,
                hi=hi if math.isfinite(hi) else None,
                unit=unit,
                split=split,
                model=model,
            )


def _trial_rows(rivals: Sequence[Rival], split: str) -> Iterator[Row]:
    """What was chosen on VALID, so that the rivals can be rebuilt."""
    for rival in rivals:
        for side, value in rival.smoothing.items():
            yield Row(
                metric=f"smoothing_{side}",
                value=value,
                unit="exposures",
                split=split,
                model=rival.name,
            )
        yield _count(split, "trials", rival.trials, rival.name)


def _count(split: str, metric: str, value: int, model: str = "all") -> Row:
    return Row(metric=metric, value=float(value), unit="count", split=split, model=model)
