"""What reading the place of an impression is worth, where it is known how places are looked at.

.venv/bin/python benchmarks/positions.py
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
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
from lifts import RESAMPLES, figure_of, finished, likely
from offsite_market import run, world_of
from pictures import by_world
from publish import About, publish

from api.errors import ApiError
from graphsvc.errors import GraphError
from graphsvc.simulate import World
from graphsvc.snapshot import Span
from kge.errors import KgeError
from ranking.config import FeatureConfig, RankerConfig
from ranking.errors import RankingError
from ranking.intervals import Judged, resample, user_weights

#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)
#: How pages are ordered, and the null: there a place changes nothing.
KINDS: Mapping[str, Mapping[str, float]] = {
    "random": {"sorting": 0.0},
    "half": {},
    "sorted": {"sorting": 1.0},
    "null": {"examination": 0.0},
}
SIZE = "small"

AIMS = (Aim("auc_lead", at_least=0.0, where="(half|sorted)/.*"),)
_TITLE = "What the place of an impression is worth"
_WORDS = """
Simulated markets ([simulator](../../simulator.md)) in which the ad at place k, from 0, is looked at
with chance (k + 1)^-.8. Pages are in `random` order, `half` of them nearly in the order of merit,
or all (`sorted`); in the `null` every place is looked at alike, so that nothing can be gained.

- `place`: the service's ranker, which reads the place of every row it learns from, and answers for
  the first one. `no place`: the same without. `best`: the chances that all was drawn from.
- Judged on what people looked at: of these rows of the last span, which were clicked. The market
  knows who looked; no log does, and no ranker is told. So it is merit alone that is asked for.
- `auc_ahead`: of `place` above `no place`; `auc_lead`: the same, both its intervals as one, over
  seeds (t) and over users. Every seed is another market. No dial is chosen.

![AUC of what was looked at](positions.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/positions")
    made.add_argument("--seeds", type=int, default=5, help="markets of each kind")
    made.add_argument("--days", type=float, default=60.0, help="of a market")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--dim", type=int, help="of embeddings; by default what follows from a graph")
    made.add_argument("--epochs", type=float, help="of embeddings; the same")
    return made


def market_of(kind: str, seed: int) -> World:
    """The world of a kind."""
    return replace(world_of("default", SIZE, seed), **KINDS[kind])


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name."""
    made: dict[str, grid.Measure] = {}
    dials = {name: getattr(options, name) for name in ("days", "threads", "dim", "epochs")}
    for seed in range(1, options.seeds + 1):
        for kind in KINDS:
            name = grid.named(f"{kind}-{seed}", str(market_of(kind, seed)), dials, RESAMPLES)
            made[name] = partial(_measured, options, kind, seed)
    return made


def _measured(options: argparse.Namespace, kind: str, seed: int) -> Mapping[str, Any]:
    """Two rankers of one market, on what was looked at."""
    dials = {name: getattr(options, name) for name in ("dim", "epochs") if getattr(options, name)}
    with tempfile.TemporaryDirectory(prefix="graphsvc-positions-") as folder:
        world = market_of(kind, seed)
        market = run(world, options.days, Path(folder), dials, options.threads)
        examples = market.examples(market.bundle("both", seed))
        test = examples.rows[Span.TEST]
        told = market.told(test)
        scores = {"best": told["click"].astype(np.float64)}
        for name, reads in (("no place", False), ("place", True)):
            config = RankerConfig(seed=seed, features=FeatureConfig(position=reads))
            trained = finished(examples, config)
            scores[name] = likely(trained.scored(test.heads, test.tails).logits[:, 0])
    seen = np.flatnonzero(told["was_looked_at"] & ~told["bot"])
    judged = Judged(told["was_clicked"][seen].astype(np.int8), test.cluster[seen])
    users = len(np.unique(judged.cluster))
    weights = user_weights(users, RESAMPLES, np.random.default_rng(0))
    aucs = {name: resample(judged, score[seen], weights)["auc"] for name, score in scores.items()}
    gain = figure_of(aucs["place"] - aucs["no place"])
    figures = {
        "auc": {name: figure_of(draws) for name, draws in aucs.items()},
        "auc_ahead": {"place - no place": gain},
    }
    facts = {"rows": len(seen), "ones": int((judged.labels == 1).sum())}
    return {"kind": kind, "seed": seed, "tasks": {"ctr": facts}, "figures": {"ctr": figures}}


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    rows = offsite_rows.rows_of(found)
    dials = {name: getattr(options, name) for name in ("seeds", "days", "threads", "dim", "epochs")}
    dials |= {"kinds": {kind: dict(dial) for kind, dial in KINDS.items()}, "size": SIZE}
    by_world(options.out / "positions.png", [row for row in rows if row.metric == "auc"])
    given = printed.given(parser(), options)
    about = About("positions", _TITLE, _WORDS, "of", given, AIMS)
    publish(options.out, rows, found, dials, about)


def main() -> None:
    options = parser().parse_args()
    outcome = grid.measure(cells(options), options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
