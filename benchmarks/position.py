"""What it is worth that a ranker knows the place of an exposure, on markets whose bias is known.

    .venv/bin/python benchmarks/position.py

Simulated markets in which an ad is looked at less the lower it stands; the same ones in which every
ad is looked at; and their null, in which places are besides drawn by chance.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import grid
import numpy as np
import offsite_rows
import printed
from aims import Aim
from numpy.typing import NDArray
from offsite_market import SIZES, run, world_of
from pictures import by_world
from publish import About, publish

from api.errors import ApiError
from graphsvc.errors import GraphError
from graphsvc.simulate import World
from graphsvc.snapshot import Span
from kge.errors import KgeError
from ranking.bundle import TrainedRanker
from ranking.config import FeatureConfig, RankerConfig
from ranking.errors import RankingError
from ranking.examples import Examples
from ranking.intervals import Judged, interval, resample_each
from ranking.train import train

#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)
#: Kind of market -> what is not as by default.
KINDS: Mapping[str, Mapping[str, float]] = {
    "default": {},
    "merit": {"examination": 0.0},
    "unbiased": {"examination": 0.0, "sorting": 0.0},
}
WITH, WITHOUT, BEST = "with place", "without place", "best"
RESAMPLES = 400
#: Rankers here read no vectors, so the embedding that examples need may be a poor one.
_EMBEDDING = {"dim": 8, "epochs": 1.0}

_WHERE = "default/.*/looked_at"
AIMS = (
    Aim("auc_lift", at_least=0.0, where=_WHERE),
    Aim("logloss_saved", at_least=0.0, where=_WHERE),
)
_TITLE = "What it is worth to know the place of an exposure"
_WORDS = f"""
Simulated markets ([simulator](../../simulator.md)), ingested, sealed and trained on by the steps of
the service, by rankers of clicks that read no embedding. The ad at place k, from 0, is looked at
with chance (k + 1)^-examination, and half of the pages are nearly in the order of merit. Every seed
is another market. In `merit` everything is looked at: then a place says what stands there is worth,
and nothing else, which a ranker takes for attention. `unbiased` is the null: everything is looked
at, and no page is in order, so a place says nothing.

- `looked_at`: rows of TEST that were looked at, which the market tells and no log does. Whether
  these are clicked does not depend on their place, so this is how good the order and the
  probabilities are when the bias is out of the way. All are scored in the served place, the first.
- `logged`: all rows of TEST as a service has them. `{WITH}` scores each where it stood, and
  `{WITH}, served` all in the first place: what a report can show, and what it cannot.
- `auc_lift`: AUC above `{WITHOUT}`; `logloss_saved`: log loss below its; `{BEST}`: the chances that
  clicks were drawn from. `predicted_by_true`: mean probability of people's rows in the served
  place, which is always looked at, by the mean of those chances.

Intervals: of each seed, paired bootstrap over users; over seeds a t interval.

![AUC lift](lift.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/position")
    made.add_argument("--seeds", type=int, default=5, help="markets of each kind")
    made.add_argument("--size", default="medium", help=f"of a market: {', '.join(SIZES)}")
    made.add_argument("--days", type=float, default=30.0, help="of a market")
    made.add_argument("--threads", type=int, default=2)
    return made


def market_of(kind: str, size: str, seed: int) -> World:
    """The market of a cell."""
    return replace(world_of("default", size, seed), **KINDS[kind])


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name."""
    made: dict[str, grid.Measure] = {}
    for seed in range(1, options.seeds + 1):
        for kind in KINDS:
            world = str(market_of(kind, options.size, seed))
            dials = (options.days, options.threads, _EMBEDDING, asdict(RankerConfig()))
            name = grid.named(f"{kind}-{seed}", world, *dials)
            made[name] = partial(_cell, options, kind, seed)
    return made


def _cell(options: argparse.Namespace, kind: str, seed: int) -> Mapping[str, Any]:
    """Both rankers of one market, on what was looked at and on all that was logged."""
    with tempfile.TemporaryDirectory(prefix="graphsvc-position-") as folder:
        world = market_of(kind, options.size, seed)
        market = run(world, options.days, Path(folder), _EMBEDDING, options.threads)
        examples = market.examples(market.bundle("both", seed))
        rows = examples.rows[Span.TEST]
        truth = market.told(rows)
        rankers = {WITH: _trained(examples, seed, True), WITHOUT: _trained(examples, seed, False)}
        served = {name: one.scored(rows.heads, rows.tails) for name, one in rankers.items()}
        placed = rankers[WITH].scored(rows.heads, rows.tails, rows.exposures)
    in_first = {name: said.probabilities["ctr"] for name, said in served.items()}
    people = ~truth["bot"]
    looked = people & truth["was_looked_at"]
    judged = Judged(rows.labels, rows.cluster, rows.weight)
    seen = Judged(rows.labels[looked], rows.cluster[looked], rows.weight[looked])
    on_seen = {name: values[looked] for name, values in (in_first | {BEST: truth["click"]}).items()}
    logged = {
        WITH: placed.probabilities["ctr"],
        f"{WITH}, served": in_first[WITH],
        WITHOUT: in_first[WITHOUT],
    }
    figures = {"looked_at": compared(seen, on_seen), "logged": compared(judged, logged)}
    true = float(truth["click"][people].mean())
    figures["looked_at"]["predicted_by_true"] = {
        name: [float(values[people].mean()) / true, float("nan"), float("nan"), 0.0]
        for name, values in in_first.items()
    }
    told = {
        name: {"rows": len(on.labels), "ones": int((on.labels == 1).sum())}
        for name, on in (("looked_at", seen), ("logged", judged))
    }
    about = {"kind": kind, "size": options.size, "seed": seed, "events": market.events}
    return about | {"tasks": told, "figures": figures}


def _trained(examples: Examples, seed: int, position: bool) -> TrainedRanker:
    """A ranker of clicks with the service's dials, that reads the place or does not."""
    features = FeatureConfig(position=position)
    learning = train(examples, RankerConfig(arm="none", seed=seed, features=features))
    while True:
        try:
            next(learning)
        except StopIteration as ended:
            trained: TrainedRanker = ended.value
            return trained


def compared(
    judged: Judged, models: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, list[float]]]:
    """By metric and model: value, both ends of its interval over users, deviation of the draws."""
    drawn = resample_each(judged, models, resamples=RESAMPLES, seed=0)
    base = drawn[WITHOUT]
    rest = {name: own for name, own in drawn.items() if name not in (WITHOUT, BEST)}
    ours = {f"{name} - {WITHOUT}": own for name, own in rest.items()}
    return {
        "auc": {name: _figure(own["auc"]) for name, own in drawn.items()},
        "logloss": {name: _figure(own["logloss"]) for name, own in drawn.items()},
        "auc_lift": {name: _figure(own["auc"] - base["auc"]) for name, own in ours.items()},
        "logloss_saved": {
            name: _figure(base["logloss"] - own["logloss"]) for name, own in ours.items()
        },
    }


def _figure(draws: NDArray[np.float64]) -> list[float]:
    value, low, high = interval(draws)
    return [value, low, high, float(draws[1:].std())]


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    rows = offsite_rows.rows_of(found)
    by_world(options.out / "lift.png", [row for row in rows if row.metric == "auc_lift"])
    names = ("seeds", "size", "days", "threads")
    dials = {name: getattr(options, name) for name in names} | {"embedding": _EMBEDDING}
    given = printed.given(parser(), options)
    words = f"{_WORDS.strip()}\n\n{offsite_rows.section(rows)}"
    publish(options.out, rows, found, dials, About("position", _TITLE, words, "of", given, AIMS))


def main() -> None:
    options = parser().parse_args()
    if options.size not in SIZES:
        raise SystemExit(f"--size should be one of {', '.join(SIZES)}, received {options.size!r}")
    outcome = grid.measure(cells(options), options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
