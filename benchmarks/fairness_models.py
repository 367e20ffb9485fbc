"""Rivals and ours on the same split: what each says of people it has not seen.

Takes people to learn from, to choose on and to judge on, gives chances of a yes; never looks at
those it is judged on before its dials are chosen. Every rival has `TRIALS` trials on validation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from fairlearn.postprocessing import ThresholdOptimizer
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient
from fairness_data import People
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ranking.fairsmooth.certificates import FALSE_POSITIVE, SELECTION, TRUE_POSITIVE, rates
from ranking.fairsmooth.estimator import FairSmoothClassifier
from ranking.fairsmooth.smoothing import tau

#: Dials of ours: scale, proximity and balance of each trial.
DIALS = tuple(product((0.03, 0.1), (1.0, 10.0), (0.0, 0.25, 0.5)))
TRIALS = len(DIALS)
#: Of the picture, without balance; lambda = 0 is reported as well. Nothing is chosen by it.
SCALES, PROXIMITIES = (0.03, 0.1, 0.3), (1e-2, 1e-1, 1.0, 10.0)
PENALTIES = tuple(float(c) for c in np.logspace(-3, 3, TRIALS))
BOUNDS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)
#: Accuracy that may be given away on validation, and the most that a group's tau may be.
MARGIN, MOST_TAU = 0.005, 0.15
#: Rounds of fairlearn's reduction.
_ROUNDS = 25
_RESAMPLES = 500

Chances = NDArray[np.float64]
Figures = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One choice of dials: how people are decided about, and what it was called."""

    dials: Mapping[str, Any]
    #: people -> chance of a yes
    chances: Callable[[People], Chances]
    #: the largest tau of a group; None of those without a certificate
    tau: float | None = None


def figures(chances: Chances, people: People, weight: Chances | None = None) -> Figures:
    """Accuracy and gaps of decisions that are drawn by their chances, without drawing them."""
    every = np.ones(len(people)) if weight is None else weight
    told = {
        str(group): rates(chances[own], people.labels[own], every[own])
        for group in np.unique(people.groups)
        if (own := people.groups == group).any()
    }
    gaps = {
        metric: max(one[metric] for one in told.values())
        - min(one[metric] for one in told.values())
        for metric in (SELECTION, TRUE_POSITIVE, FALSE_POSITIVE)
    }
    wrong = np.where(people.labels == 1, 1.0 - chances, chances)
    return {
        "accuracy": 1.0 - float(every @ wrong / every.sum()),
        "parity_gap": gaps[SELECTION],
        "opportunity_gap": gaps[TRUE_POSITIVE],
        "odds_gap": max(gaps[TRUE_POSITIVE], gaps[FALSE_POSITIVE]),
    }


def with_intervals(chances: Chances, people: People, seed: int) -> dict[str, list[float]]:
    """Each figure with its 95 % bootstrap interval: people are drawn anew, all groups together."""
    draw, found = np.random.default_rng(seed), figures(chances, people)
    count = len(people)
    drawn = [
        figures(chances, people, draw.multinomial(count, np.full(count, 1 / count)).astype(float))
        for _ in range(_RESAMPLES)
    ]
    return {
        name: [value, *np.quantile([one[name] for one in drawn], [0.025, 0.975]).tolist()]
        for name, value in found.items()
    }


def chosen(trials: Sequence[Trial], valid: People, accuracy: float) -> Trial:
    """The smallest gap of opportunity on validation among those as accurate as the unmitigated one.

    As accurate: within MARGIN; of ours also with a tau of at most MOST_TAU. Where there is none,
    the most accurate one. The same rule for all.
    """
    told = [(figures(trial.chances(valid), valid), trial) for trial in trials]
    good = [
        (one, trial)
        for one, trial in told
        if one["accuracy"] >= accuracy - MARGIN and (trial.tau is None or trial.tau <= MOST_TAU)
    ]
    if good:
        return min(good, key=lambda pair: pair[0]["opportunity_gap"])[1]
    return most_accurate(trials, valid)


def most_accurate(trials: Sequence[Trial], valid: People) -> Trial:
    """The most accurate on validation."""
    return max(trials, key=lambda trial: figures(trial.chances(valid), valid)["accuracy"])


def decided(chances: Chances) -> Chances:
    """By the threshold: 1 above one half."""
    return (chances > 0.5).astype(np.float64)


def logistic(train: People) -> list[Trial]:
    """Unmitigated: logistic regressions."""
    made = []
    for penalty in PENALTIES:
        model = _regression(penalty).fit(train.features, train.labels)
        made.append(Trial({"C": penalty}, _by_threshold(model)))
    return made


def by_group(train: People) -> list[Trial]:
    """A logistic regression for each group, on its own rows: reads the group to decide."""
    made = []
    for penalty in PENALTIES:
        models = {}
        for group in np.unique(train.groups):
            own = train.groups == group
            fitted = _regression(penalty).fit(train.features[own], train.labels[own])
            models[str(group)] = _by_threshold(fitted)
        made.append(Trial({"C": penalty}, _each_its_own(models)))
    return made


def reductions(train: People, constraint: str) -> list[Trial]:
    """Fairlearn's ExponentiatedGradient: `parity` or `odds`, a bound per trial."""
    made = []
    for bound in BOUNDS:
        kind = DemographicParity if constraint == "parity" else EqualizedOdds
        model = ExponentiatedGradient(
            _regression(1.0), kind(difference_bound=bound), eps=bound, max_iter=_ROUNDS
        )
        model.fit(train.features, train.labels, sensitive_features=train.groups)
        made.append(Trial({"bound": bound}, _by_reduction(model)))
    return made


def thresholds(train: People) -> list[Trial]:
    """Fairlearn's ThresholdOptimizer for equalized odds: reads the group to decide."""
    made = []
    for penalty in PENALTIES:
        base = _regression(penalty).fit(train.features, train.labels)
        model = ThresholdOptimizer(
            estimator=base,
            constraints="equalized_odds",
            prefit=True,
            predict_method="predict_proba",
        )
        model.fit(train.features, train.labels, sensitive_features=train.groups)
        made.append(Trial({"C": penalty}, _by_optimizer(model)))
    return made


def smoothed(
    train: People, dials: Iterable[tuple[float, float, float]]
) -> Iterator[tuple[dict[str, float], FairSmoothClassifier]]:
    """Ours, by some dials: noise is all that is left to chance."""
    for given in dials:
        named = dict(zip(("scale", "proximity", "balance"), given, strict=True))
        model = FairSmoothClassifier(**named, link="step", least_rows=20)
        model.fit(train.features, train.labels, sensitive_features=train.groups)
        yield named, model


def shown() -> Iterator[tuple[float, float, float]]:
    """Dials of the picture, and those that hold groups together by nothing."""
    yield from product(SCALES, (0.0, *PROXIMITIES), (0.0,))


def trial_of(dials: Mapping[str, Any], model: FairSmoothClassifier, *, drawn: bool) -> Trial:
    """Ours with decisions drawn by chance, which is what is certified, or by the threshold."""

    def chances(people: People) -> Chances:
        found = model.predict_proba(people.features)[:, 1]
        return found if drawn else decided(found)

    return Trial(dials, chances, max(taus(model).values()))


def taus(model: FairSmoothClassifier) -> dict[str, float]:
    """Tau of each group."""
    return {
        name: float(tau(distance, model.scale))
        for name, distance in model.fitted_.distances.items()
    }


def _regression(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, solver="newton-cholesky", max_iter=200)


def _by_threshold(model: Any) -> Callable[[People], Chances]:
    return lambda people: decided(model.predict_proba(people.features)[:, 1])


def _each_its_own(models: Mapping[str, Callable[[People], Chances]]) -> Callable[[People], Chances]:
    def chances(people: People) -> Chances:
        found = np.empty(len(people))
        for group, own in models.items():
            rows = np.flatnonzero(people.groups == group)
            if len(rows):
                found[rows] = own(people.take(rows))
        return found

    return chances


def _by_reduction(model: Any) -> Callable[[People], Chances]:
    # Its own chances, of which `predict` draws: else its figures would have the noise of a draw.
    return lambda people: np.asarray(model._pmf_predict(people.features))[:, 1]  # noqa: SLF001


def _by_optimizer(model: Any) -> Callable[[People], Chances]:
    def chances(people: People) -> Chances:
        found = model._pmf_predict(  # noqa: SLF001
            people.features, sensitive_features=people.groups
        )
        return np.asarray(found)[:, 1]

    return chances
