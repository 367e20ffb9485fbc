"""Declared shifts of who is decided about, and whether a certificate holds under them.

Takes people, scores and distances, gives weights and what was measured; never fits anything. A
shift is a weight for each person: how often somebody like this comes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from fairness_data import People
from numpy.typing import NDArray

from ranking.fairsmooth.certificates import (
    METRICS,
    added_gap,
    gap_of,
    largest_gap,
    rates,
    same_decision,
    within,
)
from ranking.fairsmooth.estimator import FairSmoothClassifier
from ranking.fairsmooth.smoothing import tau

#: How steeply the first number (age, months, LSAT) tilts who comes.
_TILT = 1.0
#: Share of each group's people that the worst shift leaves.
_WORST = 0.01
#: Scores are exact but for rounding; a promise that is broken by less is not.
_ERROR = 1e-12


def shifts(
    people: People, served: NDArray[np.float64], own: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Name -> weight of each person.

    none. covariate: exp(u) for the first number u. label: as many of each label, in each group.
    mix: as many of each group. worst: of each group those hundredth with the largest difference
    between what all are served with and the group's own.
    """
    count = len(people)
    made = {name: np.ones(count) for name in ("none", "label", "mix")}
    made["covariate"] = np.exp(_TILT * np.clip(people.features[:, 0], -3.0, 3.0))
    made["worst"] = np.zeros(count)
    for group in np.unique(people.groups):
        members = people.groups == group
        made["mix"][members] /= members.sum()
        for label in (0, 1):
            those = members & (people.labels == label)
            made["label"][those] /= max(1, int(those.sum()))
        rows = np.flatnonzero(members)
        farthest = np.argsort(-np.abs(served[rows] - own[rows]), kind="stable")
        made["worst"][rows[farthest[: max(1, round(_WORST * len(rows)))]]] = 1.0
    return made


def measured(model: FairSmoothClassifier, people: People) -> dict[str, Any]:
    """What is promised and what is found under each shift, and how many promises are broken."""
    served = model.predict_proba(people.features)[:, 1]
    own, distances = np.empty(len(people)), model.fitted_.distances
    for group in distances:
        rows = np.flatnonzero(people.groups == group)
        if len(rows):
            own[rows] = model.own_proba(people.features[rows], group)[:, 1]
    told = {
        name: _under(people, served, own, weight, (distances, model.scale))
        for name, weight in shifts(people, served, own).items()
    }
    same = [
        same_decision(served[people.groups == group], distance, model.scale).mean()
        for group, distance in distances.items()
    ]
    return {"shifts": told, "same_decision": float(min(same))}


def _under(
    people: People,
    served: NDArray[np.float64],
    own: NDArray[np.float64],
    weight: NDArray[np.float64],
    certified: tuple[Mapping[str, float], float],
) -> dict[str, float]:
    distances, scale = certified
    mine, theirs, broken, largest = {}, {}, 0, 0.0
    for group, distance in distances.items():
        rows = people.groups == group
        mine[group] = rates(own[rows], people.labels[rows], weight[rows])
        theirs[group] = rates(served[rows], people.labels[rows], weight[rows])
        broken += int((np.abs(served - own)[rows] > float(tau(distance, scale)) + _ERROR).sum())
    found: dict[str, float] = {}
    for metric in METRICS:
        # Of a rate over nobody nothing can be said.
        held = {g: r for g, r in distances.items() if not np.isnan(mine[g][metric])}
        bands = {g: within(mine[g][metric], r, scale, error=_ERROR) for g, r in held.items()}
        for group, (lo, hi) in bands.items():
            value = theirs[group][metric]
            largest = max(largest, abs(value - mine[group][metric]))
            broken += not lo - _ERROR <= value <= hi + _ERROR
        if len(held) > 1:
            gap, of_own = (gap_of({g: side[g][metric] for g in held}) for side in (theirs, mine))
            bound = largest_gap(bands)
            broken += gap > bound + _ERROR
            broken += bound > of_own + added_gap(held, scale) + 1e-9
            found |= {f"{metric}_gap": gap, f"{metric}_own_gap": of_own, f"{metric}_bound": bound}
    return {**found, "farthest": largest, "broken": float(broken)}
