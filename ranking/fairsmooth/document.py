"""A certificate as it is kept beside a classifier: numbers, and sentences for whoever reads them.

Takes distances and what the classifiers said of held-out rows, gives JSON; never trains. What it
promises is worked out in `certificates.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from ranking.fairsmooth.certificates import (
    METRICS,
    Counted,
    added_gap,
    count,
    interval,
    largest_gap,
    least_ratio,
    ratio_band,
    same_decision,
    sampled_within,
)
from ranking.fairsmooth.smoothing import tau

SCHEMA = "graphsvc.fairness/1"
#: What is certified, and what is not; the same words in every certificate.
COVERS = (
    "rates of a decision that is drawn at random, yes with the chance that the smoothed score "
    "says: of yes in all, of yes where the label is 1, of yes where it is 0, of mistakes"
)
NOT_COVERED = (
    "decisions by a fixed threshold, except for the share of rows told in same_decision; the order "
    "of candidates, who is among the first, and exposure; whether a group's own classifier is good"
)


class HeldOut(NamedTuple):
    """What is known of a group: rows that nothing was learned or chosen on, each of one person."""

    #: r_k
    distance: float
    #: how many rows its own classifier was fitted to
    learned_from: int
    #: scores of its own classifier: exact, or each under a draw of its own
    own: Float64[np.ndarray, "n"]
    #: scores of the classifier that serves all
    served: Float64[np.ndarray, "n"]
    labels: Int64[np.ndarray, "n"]


class Terms(NamedTuple):
    """What holds for all groups."""

    #: s
    scale: float
    #: which weights are smoothed, in words, and how many numbers they are
    smoothed: str
    weights: int
    #: draws of noise behind a score; 0 where it is exact
    draws: int
    seed: int
    confidence: float
    #: what else the reader should know, e.g. how the rows were chosen
    note: str = ""


def certificate(groups: Mapping[str, HeldOut], terms: Terms) -> dict[str, Any]:
    """The certificate as JSON.

    All intervals hold together with the stated confidence; what only depends on distances (tau,
    `added_gap`) holds for certain, and for any distribution of people.
    """
    family = len(groups) * len(METRICS)
    counted = {
        name: count(held.own, held.labels, np.random.default_rng([terms.seed, place]))
        for place, (name, held) in enumerate(groups.items())
    }
    told = {
        name: _group(held, counted[name], terms, family=family) for name, held in groups.items()
    }
    distances = {name: held.distance for name, held in groups.items()}
    return {
        "schema": SCHEMA,
        "sentence": sentence({name: one["tau"] for name, one in told.items()}),
        "covers": COVERS,
        "not_covered": NOT_COVERED,
        "note": terms.note,
        "smoothed": terms.smoothed,
        "smoothed_weights": terms.weights,
        "scale": terms.scale,
        "draws": terms.draws,
        "draw_error": _draw_error(terms.draws),
        "seed": terms.seed,
        "confidence": terms.confidence,
        "intervals": family,
        "groups": told,
        "added_gap": added_gap(distances, terms.scale),
        "gaps": {metric: _between(told, metric) for metric in METRICS},
    }


def sentence(taus: Mapping[str, float]) -> str:
    """What is promised, for somebody who knows no mathematics."""
    shares = ", ".join(f"{100.0 * share:.1f} ({name})" for name, share in taus.items())
    return (
        "Whoever it is used on, now or later, this classifier treats each group as a classifier "
        "that was fitted to that group would, but for this: of 100 people in a group, the number "
        "who are told yes, and the number about whom it is mistaken, differ from that classifier's "
        f"by at most {shares}, on average over the chance in each answer. The same holds among "
        "those for whom yes is right, and among those for whom it is wrong. It is no promise that "
        "groups are treated alike, nor that a group's own classifier is a good one."
    )


def _group(
    held: HeldOut, counted: Mapping[str, Counted], terms: Terms, *, family: int
) -> dict[str, Any]:
    scale, sure = terms.scale, terms.confidence
    base = float(held.labels.mean()) if len(held.labels) else math.nan
    rates = {}
    for metric, one in counted.items():
        lo, hi = interval(one, confidence=sure, family=family)
        least, most = sampled_within(one, held.distance, scale, confidence=sure, family=family)
        rates[metric] = {"hits": one.hits, "rows": one.rows, "own": [lo, hi], "all": [least, most]}
    same = same_decision(held.served, held.distance, scale)
    return {
        "r": held.distance,
        "tau": float(tau(held.distance, scale)),
        "learned_from": held.learned_from,
        "rows": len(held.labels),
        "base_rate": base if len(held.labels) else None,
        "times_base_rate": list(ratio_band(base, held.distance, scale)) if base > 0 else None,
        "same_decision": float(same.mean()) if len(same) else None,
        "rates": rates,
    }


def _between(told: Mapping[str, Any], metric: str) -> dict[str, float]:
    """C3 on people like those that were held out."""
    rates = {name: one["rates"][metric] for name, one in told.items()}
    served = {name: (one["all"][0], one["all"][1]) for name, one in rates.items()}
    own = {name: (one["own"][0], one["own"][1]) for name, one in rates.items()}
    return {
        "at_most": largest_gap(served),
        "own_at_most": largest_gap(own),
        "ratio_at_least": least_ratio(served),
    }


def _draw_error(draws: int) -> float:
    """By how much a mean over fixed draws may miss a smoothed rate, with chance 1 in 1000.

    sqrt(ln(2 / .001) / (2 m / 2)): Hoeffding (1963), of m / 2 independent pairs
    """
    return math.sqrt(math.log(2.0 / 0.001) / draws) if draws else 0.0
