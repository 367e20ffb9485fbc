"""The gate: may a candidate take the champion's place, by what both say of the same rows?

Takes labels, users, weights, two columns of probabilities and slices, gives a `Verdict` with every
number it rests on; never sees a model, and never chooses which candidate is judged.

Which rows those are decides whether the answer is honest: neither model may have learned from them,
been stopped on them or calibrated on them. `contest.py` finds them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from ranking.errors import StatesMismatch
from ranking.gating import GateConfig
from ranking.intervals import (
    METRICS,
    Judged,
    Resampled,
    chance_without_loss,
    holm,
    interval,
    resample_each,
)

__all__ = [
    "NOT_DECIDED",
    "PASSED",
    "REFUSED",
    "Decision",
    "Judged",
    "MetricGain",
    "SliceGain",
    "Verdict",
    "compare",
    "together",
]

Decision = Literal["passed", "refused", "not decided"]
PASSED: Decision = "passed"
REFUSED: Decision = "refused"
NOT_DECIDED: Decision = "not decided"

Finding = Literal["no loss", "loss", "open", "too little"]
#: Metrics that decide.
PRIMARY = ("auc", "logloss")
#: Metric -> 1 where more is better, -1 where less is.
_BETTER = {"auc": 1.0, "logloss": -1.0, "ece": -1.0, "gauc": 1.0}
#: Slices that a reason names; all are in the verdict.
_MOST_NAMED = 5
#: Root of the most times as many users that anybody is told to wait for.
_MOST_ROOT = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricGain:
    """How much better the candidate is by one metric, with the 95 % interval.

    A gain is positive where the candidate is better, whichever way the metric goes. None: it is not
    defined on these rows.
    """

    #: auc (share) | logloss (nats) | ece (probability) | gauc (share)
    metric: str
    candidate: float | None
    champion: float | None
    gain: float | None
    lo: float | None
    hi: float | None
    #: The loss that has to be excluded, in the metric's unit; None where the metric has no say.
    margin: float | None
    #: no loss: none beyond the margin. loss: one is shown. open: neither. None: it has no say.
    finding: Finding | None
    #: Where it is open: some so many users like those there are would exclude such a loss; None
    #: where none would, since the gain is about as low.
    users_needed: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceGain:
    """The same of one slice by a primary metric; None everywhere where there is too little."""

    slice: str
    metric: str
    rows: int
    users: int
    outcomes: int
    gain: float | None
    lo: float | None
    hi: float | None
    #: Chance of a gain as low if nothing were lost; and that, with all other tests in mind.
    p: float | None
    adjusted: float | None
    #: loss: it is detected, and vetoes. no loss: none is. too little: nobody looked.
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The decision, why in a sentence, and all numbers behind it."""

    decision: Decision
    reason: str
    rows: int
    users: int
    outcomes: int
    metrics: tuple[MetricGain, ...] = ()
    slices: tuple[SliceGain, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Size(NamedTuple):
    rows: int
    users: int
    outcomes: int


def compare(
    judged: Judged,
    candidate: Float64[np.ndarray, "n"],
    champion: Float64[np.ndarray, "n"],
    *,
    slices: Mapping[str, Bool[np.ndarray, "n"]],
    dials: GateConfig,
) -> Verdict:
    """Judge a candidate's calibrated probabilities of n rows against the champion's.

    gain = AUC_candidate - AUC_champion,   log loss_champion - log loss_candidate

    with intervals of a paired bootstrap over users. By each primary metric there is "no loss" if
    lo > -margin, else a "loss" if hi < 0, else it is "open". Refused: by a loss, or by a slice in
    which a loss is detected (p after Holm below `slice_level`, over all slices and metrics). Not
    decided: something is open, or there are too few users or outcomes. Else passed. Our design:
    non-inferiority with a veto. Raises `StatesMismatch` for columns of other lengths.
    """
    for name, values in (("candidate", candidate), ("champion", champion), *slices.items()):
        if values.shape != judged.labels.shape:
            raise StatesMismatch(
                f"{name} should have shape {judged.labels.shape}, received {values.shape}"
            )
    size = _size(judged)
    if short := _too_little(size, dials):
        return Verdict(decision=NOT_DECIDED, reason=f"there is too little: {short}", **_told(size))
    pair = _resampled(judged, (candidate, champion), dials)
    metrics = tuple(_metric_gain(metric, pair, size.users, dials) for metric in _BETTER)
    found = _slice_gains(judged, (candidate, champion), slices, dials)
    decision, reason = _decide(metrics, found, size.users)
    return Verdict(decision=decision, reason=reason, metrics=metrics, slices=found, **_told(size))


def together(verdicts: Mapping[str, Verdict]) -> tuple[Decision, str]:
    """One decision of those on each head, with the reason.

    Refused where one is; else not decided where one is not; passed where all are. Our design. The
    margins are those of one head each, so two heads make it harder to pass, and a loss in one is
    not made up for by the other.
    """
    found = {verdict.decision for verdict in verdicts.values()}
    decision = next((one for one in (REFUSED, NOT_DECIDED) if one in found), PASSED)
    reasons = [verdict.reason for verdict in verdicts.values()]
    if len(verdicts) > 1:
        reasons = [f"{head}: {verdict.reason}" for head, verdict in verdicts.items()]
    return decision, ". ".join(reasons)


def _size(judged: Judged) -> _Size:
    users = len(np.unique(judged.cluster))
    return _Size(len(judged.labels), users, int((judged.labels == 1).sum()))


def _told(size: _Size) -> dict[str, Any]:
    return size._asdict()


def _too_little(size: _Size, dials: GateConfig) -> str:
    """What is missing, in words; empty if nothing is."""
    others = size.rows - size.outcomes
    if size.users < dials.least_users:
        return f"{size.users} users, and at least {dials.least_users} are needed"
    if min(size.outcomes, others) < dials.least_outcomes:
        return (
            f"{size.outcomes} rows with the outcome and {others} without it, "
            f"and at least {dials.least_outcomes} of each are needed"
        )
    return ""


def _resampled(
    judged: Judged,
    scores: tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]],
    dials: GateConfig,
    metrics: Sequence[str] = METRICS,
) -> tuple[Resampled, Resampled]:
    models = {"candidate": scores[0], "champion": scores[1]}
    draws = {"resamples": dials.resamples, "seed": dials.seed}
    found = resample_each(judged, models, **draws, metrics=metrics)
    return found["candidate"], found["champion"]


def _gains(metric: str, pair: tuple[Resampled, Resampled]) -> Float64[np.ndarray, "b"]:
    return _BETTER[metric] * (pair[0][metric] - pair[1][metric])


def _margin(metric: str, champion: float, dials: GateConfig) -> float | None:
    """The loss that a primary metric tolerates: log loss as a share of the champion's."""
    margins = {"auc": dials.auc_margin, "logloss": dials.logloss_margin * champion}
    return margins.get(metric)


def _metric_gain(
    metric: str, pair: tuple[Resampled, Resampled], users: int, dials: GateConfig
) -> MetricGain:
    ours, theirs = (float(figures[metric][0]) for figures in pair)
    margin = _margin(metric, theirs, dials)
    gain, lo, hi = interval(_gains(metric, pair))
    finding: Finding | None = None
    if margin is not None:
        finding = "no loss" if lo > -margin else "loss" if hi < 0 else "open"
    return MetricGain(
        metric=metric,
        candidate=_finite(ours),
        champion=_finite(theirs),
        gain=_finite(gain),
        lo=_finite(lo),
        hi=_finite(hi),
        margin=margin,
        finding=finding,
        users_needed=_users_needed(gain, lo, margin, users) if finding == "open" else None,
    )


def _users_needed(gain: float, lo: float, margin: float | None, users: int) -> int | None:
    """How many users would exclude a loss beyond the margin, if they are like those there are.

    n = u ((gain - lo) / (gain + margin))^2,   since an interval narrows with the root of its users

    A guess to plan by, not a finding: the gain itself will move. None where no number would, or one
    that is beyond all reason.
    """
    if margin is None or not (gain + margin) * _MOST_ROOT > gain - lo:
        return None
    return math.ceil(users * ((gain - lo) / (gain + margin)) ** 2)


def _slice_gains(
    judged: Judged,
    scores: tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]],
    slices: Mapping[str, Bool[np.ndarray, "n"]],
    dials: GateConfig,
) -> tuple[SliceGain, ...]:
    """Every slice by every primary metric; those with enough data are one family of tests."""
    found = [
        gain
        for name, chosen in slices.items()
        for gain in _slice(name, np.flatnonzero(chosen), (judged, scores), dials)
    ]
    tested = [place for place, gain in enumerate(found) if gain.p is not None]
    adjusted = holm(np.array([found[place].p for place in tested], dtype=np.float64))
    for place, chance in zip(tested, adjusted.tolist(), strict=True):
        lost = chance < dials.slice_level
        finding: Finding = "loss" if lost else "no loss"
        found[place] = replace(found[place], adjusted=chance, finding=finding)
    return tuple(found)


def _slice(
    name: str,
    rows: np.ndarray,
    data: tuple[Judged, tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]],
    dials: GateConfig,
) -> Iterator[SliceGain]:
    judged, scores = data
    weight = None if judged.weight is None else judged.weight[rows]
    part = Judged(judged.labels[rows], judged.cluster[rows], weight)
    size = _size(part)
    if _too_little(size, dials):
        nothing = SliceGain(
            slice=name,
            metric="",
            gain=None,
            lo=None,
            hi=None,
            p=None,
            adjusted=None,
            finding="too little",
            **_told(size),
        )
        yield from (replace(nothing, metric=metric) for metric in PRIMARY)
        return
    pair = _resampled(part, (scores[0][rows], scores[1][rows]), dials, PRIMARY)
    for metric in PRIMARY:
        gains = _gains(metric, pair)
        tolerated = dials.slice_margin_share * (
            _margin(metric, float(pair[1][metric][0]), dials) or 0.0
        )
        gain, lo, hi = interval(gains)
        yield SliceGain(
            slice=name,
            metric=metric,
            gain=_finite(gain),
            lo=_finite(lo),
            hi=_finite(hi),
            p=chance_without_loss(gains, size.users, tolerated),
            adjusted=None,
            finding="no loss",
            **_told(size),
        )


def _decide(
    metrics: Sequence[MetricGain], slices: Sequence[SliceGain], users: int
) -> tuple[Decision, str]:
    primary = [gain for gain in metrics if gain.margin is not None]
    lost = [gain for gain in primary if gain.finding == "loss"]
    if lost:
        return REFUSED, f"a loss is shown: {_in_words(lost)}"
    vetoes = [gain for gain in slices if gain.finding == "loss"]
    if vetoes:
        return REFUSED, f"a loss is detected in slices: {_of_slices(vetoes)}"
    left_open = [gain for gain in primary if gain.finding == "open"]
    if left_open:
        return NOT_DECIDED, (
            f"neither a loss nor its absence is shown: {_in_words(left_open)}; "
            f"more rows would tell{_how_many(left_open, users)}"
        )
    return PASSED, f"no loss beyond the margins: {_in_words(primary)}"


def _how_many(left_open: Sequence[MetricGain], users: int) -> str:
    """How many users would do, where some number would for every metric."""
    needed = [gain.users_needed for gain in left_open]
    known = [count for count in needed if count is not None]
    if len(known) < len(needed):
        return ""
    return f", of some {max(known):,} users like the {users:,} there are"


def _in_words(gains: Sequence[MetricGain]) -> str:
    return "; ".join(
        f"{gain.metric} gains {_signed(gain.gain)} [{_signed(gain.lo)}, {_signed(gain.hi)}], "
        f"where {gain.margin:.4f} may be lost"
        for gain in gains
    )


def _of_slices(vetoes: Sequence[SliceGain]) -> str:
    """The slices with the least chances first."""
    ordered = sorted(vetoes, key=lambda gain: gain.adjusted or 0.0)
    named = "; ".join(
        f"{gain.slice}, {gain.metric} gains {_signed(gain.gain)} [{_signed(gain.lo)}, "
        f"{_signed(gain.hi)}]"
        for gain in ordered[:_MOST_NAMED]
    )
    more = len(ordered) - _MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.4f}"


def _finite(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None
