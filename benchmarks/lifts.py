"""By how much AUC rises with what a ranker reads, and what share that is of what can be reached.

Takes examples and scores of the same rows, gives figures with intervals: paired, by user.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.config import HeadsConfig, RankerConfig
from ranking.examples import Examples, of_head
from ranking.intervals import Judged, interval, resample, user_weights
from ranking.tables import Tables
from ranking.train import train

#: How rankers read vectors, beside `none`.
ARMS = ("frozen", "attention")
RESAMPLES = 400

Scored = dict[str, NDArray[np.float64]]
#: metric -> of what -> [value, low, high, deviation of the resamples]
Figures = dict[str, dict[str, list[float]]]


def finished(
    examples: Examples, config: RankerConfig, *, tables: Tables | None = None
) -> TrainedRanker:
    """A ranker, trained to its end; `tables`: by default as they follow from its dials."""
    learning = train(examples, config, tables=tables)
    while True:
        try:
            next(learning)
        except StopIteration as ended:
            trained: TrainedRanker = ended.value
            return trained


def scored(examples: Examples, arm: str, seed: int, head: str = "ctr") -> NDArray[np.float64]:
    """Probabilities of a head's rows of TEST by a ranker of it alone, with the service's dials."""
    trained = finished(examples, RankerConfig(arm=arm, seed=seed, heads=HeadsConfig(kind=head)))
    test = of_head(examples, head).rows[Span.TEST]
    return likely(trained.scored(test.heads, test.tails, test.exposures).logits[:, 0])


def likely(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function alone: a calibration of slope 0 would make all of them equal."""
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def compared(judged: Judged, scores: Mapping[str, NDArray[np.float64]]) -> Figures:
    """Every figure of models on one set of rows; `best` may be among them, `none` has to be."""
    users = len(np.unique(judged.cluster))
    weights = user_weights(users, RESAMPLES, np.random.default_rng(0))
    aucs = {name: resample(judged, values, weights)["auc"] for name, values in scores.items()}
    figures: Figures = {"auc": {name: figure_of(draws) for name, draws in aucs.items()}}
    lifts = {name: draws - aucs["none"] for name, draws in aucs.items() if name != "none"}
    figures["auc_lift"] = {
        name: figure_of(draws) for name, draws in lifts.items() if name != "best"
    }
    if "best" in lifts:
        figures["share_of_reachable"] = {
            name: figure_of(_share(draws, lifts["best"]))
            for name, draws in lifts.items()
            if name != "best"
        }
    figures["auc_ahead"] = {
        f"both - {graph} / {arm}": figure_of(aucs[f"both / {arm}"] - aucs[f"{graph} / {arm}"])
        for arm in ARMS
        for graph in ("onsite", "offsite")
    }
    return figures


def _share(lift: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where nothing can be reached: the best is hardly above none."""
    reachable = np.quantile(whole[1:], 0.025) > 0
    return lift / whole if reachable else np.full(len(lift), np.nan)


def figure_of(draws: NDArray[np.float64]) -> list[float]:
    """Value, ends of the 95 % interval, and deviation of the resamples."""
    value, low, high = interval(draws)
    known = draws[1:][np.isfinite(draws[1:])]
    return [value, low, high, float(known.std()) if len(known) else float("nan")]
