"""The ladder of rankers: how the KGE enters, from not at all to attention, and its swaps.

    .venv/bin/python benchmarks/ladder.py
    .venv/bin/python benchmarks/ladder.py --world FOLDER --world FOLDER

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. A world is a
folder with `events.jsonl`; with a schema per task beside it any log is one: see
`benchmarks/ladder_worlds.py`. Those of the page, `market`, in which all purchases can be seen, and
`market-consent`, are made, each in one line, by

    graphsvc simulate --to market/events.jsonl --seed 1 --set consent=1.0 --set opt_outs=0.0
        --days 60 --set people=1200 --set ads=600 --set products=300 --set advertisers=30
        --set campaigns=60 --set categories=20 --set pages_per_day=1200
    graphsvc simulate --to market-consent/events.jsonl --seed 2
        --days 60 --set people=1200 --set ads=600 --set products=300 --set advertisers=30
        --set campaigns=60 --set categories=20 --set pages_per_day=1200
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import grid
import ladder_rows
import numpy as np
import printed
from aims import Aim
from ladder_pictures import lifts
from ladder_rows import NEW, OLD
from ladder_worlds import LATER, SHARES, Folder, MovieLens, Source, World, open_world
from lifts import finished
from publish import About, publish

from api import threads
from api.errors import ApiError
from api.settings import read_settings
from graphsvc.errors import GraphError
from graphsvc.snapshot import Span
from kge.bundle import Bundle
from kge.errors import KgeError
from ranking.bundle import TrainedRanker, open_ranker, seal_ranker
from ranking.config import (
    ARMS,
    AttentionConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, RankingError
from ranking.examples import Examples, LabelledRows, of_head
from ranking.intervals import Judged, resample, user_weights
from ranking.metrics import log_loss
from ranking.reliability import HISTORY

RESAMPLES = 400
#: Sets of dials that every arm is tried with, the same ones. The third is about what the service's
#: defaults are, which were chosen among these.
TRIALS = 8
#: The first set; the others are drawn around it.
_MIDDLE = {
    "learning_rate": 0.002,
    "dropout": 0.5,
    "id_dropout": 0.5,
    "table_share": 0.1,
    "weight_decay": 0.01,
    "kge_scale": 1.0,
    "width": 64.0,
    "gate": -2.0,
}
#: The seed of the trials' bundle and rankers; those that are reported have others.
TRIED = 0
_DRAWN = 17


class NotChosen(RankingError):
    """The arm's dials are not chosen yet: run its cell `chosen-...` first."""


#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)

AIMS = (Aim("auc_lead", at_least=0.0),)
_TITLE = "How a ranker should read the embedding"
_WORDS = f"""
Every arm is the same ranker, but for how the KGE enters it: `none`: not at all; `frozen`: as
fields; `initial`: ID rows begin at it; `both`; `attention`: ID rows that begin at it attend to
frozen tokens; `attention_blank`: the same with rows that begin at zero. The swaps train what
`attention` freezes: `attention_vectors` the vectors of head and tail, `attention_maps` M_r and r,
`attention_all` both; in `attention_swapped` keys and values are trained, and the rows that ask stay
at the KGE's vectors.

What `attention` is was decided late: with rows of zero it had been seen behind `frozen` and
`initial` on the TEST of MovieLens-100k, cut per user, and was then changed by what VALID said.

- Every arm but `none` also reads the bundle's own score of (head, relation, tail) per relation;
  `--no-match` leaves that out of all of them.
- Time: the graph holds events up to T0, and no other; rankers learn on (T0, T1], are stopped and
  tuned, then calibrated, within (T1, T2], and tested on (T2, T3]. A graph that gives labels away
  ends the run.
- `ctr`: of what was shown, what had the outcome. `cvr`: of what was clicked, what was converted,
  by a ranker with that head alone. On MovieLens a click is a rating of 4 or 5, and a conversion one
  of 5. In a market it is a checkout within 7 days, of the latest click on an ad of that product;
  clicks of who has not agreed to offsite events, or took it back, are left out, as in the service.
  Of clicks of a market's last week no conversion is known: it ends while they are open.
- Dials: {TRIALS} sets for every arm, the same ones, chosen by log loss on valid with a seed of its
  own. Then each seed has a bundle of its own, which all arms share.
- `seeds` of a row: how many were run, which may be fewer than `--seeds` says.
- `auc_lift`: AUC above that of `none` with the same seed; the t interval is over seeds.
  `auc_lift_by_user`: the same with a bootstrap over users. `history=`: rows of those with so many
  outcomes before.
- `auc_lead`: of `attention` over the others of the ladder. Its interval is both of these as one.
- `auc_refreshed_change`: the same rankers with a bundle that was refreshed on the graph up to T2,
  less with that of T0; none where the refresh did not keep its frame.

![AUC above no KGE](ladder.png)
"""


@dataclass
class Bench:
    """What the cells share: a world's log is written once, and a bundle's rows are made once."""

    options: argparse.Namespace
    folder: Path
    _worlds: dict[tuple[str, str], World] = field(default_factory=dict)
    #: The last rows by which bundle they were made for.
    _rows: dict[str, tuple[str, Examples]] = field(default_factory=dict)

    @property
    def sources(self) -> list[Source]:
        found: list[Source] = []
        if not self.options.no_movielens:
            found.append(MovieLens(self.options.data, read_settings().cache_dir))
        return found + [Folder(path) for path in self.options.world or []]

    def world(self, source: Source, task: str) -> World:
        name = (source.name, task)
        if name not in self._worlds:
            self._rows.clear()
            self._worlds[name] = open_world(
                source,
                task,
                self.folder,
                split=self.options.split,
                threads=self.options.threads,
                dials=self.dials,
            )
        return self._worlds[name]

    def examples(self, world: World, bundle: Bundle, which: str) -> Examples:
        """Rows under a bundle; of each kind the last ones are kept."""
        held = self._rows.get(which)
        if held is None or held[0] != bundle.digest:
            held = self._rows[which] = bundle.digest, world.examples(bundle)
        return held[1]

    @property
    def key(self) -> list[Any]:
        """What every cell depends on beside its world."""
        options = self.options
        return [options.split, options.threads, options.no_match, self.dials]

    @property
    def dials(self) -> dict[str, float]:
        given = {name: getattr(self.options, name) for name in ("dim", "epochs")}
        return {name: value for name, value in given.items() if value}


def cells(bench: Bench) -> dict[str, grid.Measure]:
    """Every cell by its name: of each arm the choice of its dials, then a ranker per seed."""
    made: dict[str, grid.Measure] = {}
    for source in bench.sources:
        for task in source.tasks:
            key = (source.key(task), bench.key, SHARES)
            chosen = {}
            for arm in bench.options.arms:
                stem = f"chosen-{source.name}-{task}-{arm}"
                name = grid.named(stem, key, TRIALS, _trials(), asdict(ARMS[arm]))
                chosen[arm] = name
                made[name] = partial(_choose, bench, source, task, arm)
            for seed in range(1, bench.options.seeds + 1):
                for arm, choice in chosen.items():
                    stem = f"run-{source.name}-{task}-{arm}-{seed}"
                    name = grid.named(stem, key, choice, RESAMPLES, LATER)
                    made[name] = partial(_run, bench, (source, task, arm, seed), choice, name)
    return made


def _trials() -> list[dict[str, float]]:
    """The sets of dials, the same for every arm."""
    draw = np.random.default_rng(_DRAWN)
    drawn = [
        {
            "learning_rate": float(10 ** draw.uniform(-3.3, -2.3)),
            "dropout": float(draw.choice([0.2, 0.35, 0.5])),
            "id_dropout": float(draw.choice([0.25, 0.5, 0.75])),
            "table_share": float(draw.choice([0.1, 0.3, 1.0])),
            "weight_decay": float(draw.choice([1e-3, 1e-2, 1e-1])),
            "kge_scale": float(draw.choice([0.3, 1.0, 3.0])),
            "width": float(draw.choice([32, 64, 128])),
            "gate": float(draw.choice([-2.0, 0.0])),
        }
        for _ in range(TRIALS - 1)
    ]
    return [dict(_MIDDLE), *drawn]


def config_of(
    arm: str, dials: Mapping[str, float], seed: int, *, match: bool = True, head: str = "ctr"
) -> RankerConfig:
    """A ranker's dials: those of a trial, and the defaults of all others."""
    return RankerConfig(
        arm=arm,
        match=match,
        seed=seed,
        dropout=dials["dropout"],
        id_dropout=dials["id_dropout"],
        ids=IdTableConfig(kge_scale=dials["kge_scale"]),
        attention=AttentionConfig(width=int(dials["width"]), gate=dials["gate"]),
        heads=HeadsConfig(kind=head),
        training=TrainingConfig(
            learning_rate=dials["learning_rate"],
            table_share=dials["table_share"],
            weight_decay=dials["weight_decay"],
        ),
    )


def _choose(bench: Bench, source: Source, task: str, arm: str) -> Mapping[str, Any]:
    """The dials with the least log loss on VALID, after Platt scaling."""
    world = bench.world(source, task)
    examples = bench.examples(world, world.bundle(TRIED), OLD)
    tried = []
    match = not bench.options.no_match
    for dials in _trials():
        config = config_of(arm, dials, TRIED, match=match, head=world.head)
        best = _best(finished(examples, config))
        tried.append({"dials": dials, "loss": best["valid_loss"], "auc": best["valid_auc"]})
    place = min(range(len(tried)), key=lambda n: tried[n]["loss"])
    return {
        "world": source.name,
        "task": task,
        "arm": arm,
        "trials": len(tried),
        "chosen": place,
        "dials": tried[place]["dials"],
        "tried": tried,
    }


def _run(
    bench: Bench, what: tuple[Source, str, str, int], choice: str, name: str
) -> Mapping[str, Any]:
    """A ranker with the chosen dials on TEST, with the bundle of T0 and with a refreshed one."""
    source, task, arm, seed = what
    chosen = bench.options.out / "cells" / f"{choice}.json"
    if not chosen.exists():
        raise NotChosen(f"the dials of {arm} are not chosen yet: run the cell {choice} first")
    dials = json.loads(chosen.read_text())["dials"]
    world = bench.world(source, task)
    bundle = world.bundle(seed)
    examples = bench.examples(world, bundle, OLD)
    match = not bench.options.no_match
    config = config_of(arm, dials, seed, match=match, head=world.head)
    trained = finished(examples, config)
    sealed = seal_ranker(
        world.shop.store,
        trained,
        snapshot_digest=examples.snapshot_digest,
        bundle_digest=bundle.digest,
        frame=bundle.frame,
        metrics={},
    )
    test = of_head(examples, world.head).rows[Span.TEST]
    ranker = open_ranker(world.shop.store, sealed.digest, bundle)
    scores = ranker.score(test.heads, test.tails, test.exposures)
    draws = dict(_draws(OLD, test, scores))
    refreshed = world.refreshed(seed)
    try:
        reader = open_ranker(world.shop.store, sealed.digest, refreshed)
    except FrameMismatch:
        reader = None
    if reader is not None:
        later = of_head(bench.examples(world, refreshed, NEW), world.head).rows[Span.TEST]
        said = reader.score(later.heads, later.tails, later.exposures)
        draws |= _draws(NEW, test, said)
    ladder_rows.keep(bench.options.out / "cells" / f"{name}.npz", draws)
    return {
        "world": source.name,
        "task": task,
        "arm": arm,
        "seed": seed,
        "rows": len(test.labels),
        "auc": float(draws[OLD][0]),
        "logloss": log_loss(scores, test.labels, test.weight),
        "frame_kept": reader is not None,
        "parameters": sum(weight.numel() for weight in trained.model.parameters()),
        "epoch": _best(trained)["epoch"],
    }


def _best(trained: TrainedRanker) -> Mapping[str, Any]:
    """The epoch that was kept."""
    kept = trained.trace[-1]["best_epoch"]
    return next(epoch for epoch in trained.trace if epoch["epoch"] == kept)


def _draws(which: str, test: LabelledRows, scores: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """AUC of all rows and of each slice, as it is and in every draw of users."""
    parts = {which: np.arange(len(test.labels))}
    known = test.heads.outcomes
    for name, least, most in HISTORY:
        parts[f"{which}/history={name}"] = np.flatnonzero((known >= least) & (known <= most))
    for name, rows in parts.items():
        labels, cluster = test.labels[rows], test.cluster[rows]
        if len(np.unique(labels)) < 2:
            continue
        users = len(np.unique(cluster))
        weights = user_weights(users, RESAMPLES, np.random.default_rng(0))
        judged = Judged(labels, cluster, test.weight[rows])
        yield name, np.asarray(resample(judged, scores[rows], weights)["auc"])


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    runs = ladder_rows.runs_of(found, options.out / "cells")
    rows = ladder_rows.rows_of(runs)
    lifts(options.out / "ladder.png", rows)
    names = ("split", "seeds", "dim", "epochs", "threads", "arms", "no_match")
    dials = {name: getattr(options, name) for name in names}
    dials |= {"shares": SHARES, "later": LATER, "trials": _trials()}
    dials["chosen"] = {
        f"{told['world']}/{told['task']}/{told['arm']}": told["dials"]
        for cell, told in found.items()
        if cell.startswith("chosen-")
    }
    words = f"{_WORDS.strip()}\n\n{ladder_rows.section(runs)}"
    given = printed.given(parser(), options)
    publish(options.out, rows, found, dials, About("ladder", _TITLE, words, "arm", given, AIMS))


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/ladder")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--no-movielens", action="store_true", help="worlds alone")
    made.add_argument("--world", type=Path, action="append", help="folder of a world; repeatable")
    made.add_argument("--work", type=Path, help="folder of logs and artifacts, kept between runs")
    made.add_argument("--split", default="per_user_time", help="or global_time")
    made.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--no-match", action="store_true", help="leave out the bundle's own scores")
    made.add_argument("--dim", type=int, help="by default what follows from the graph")
    made.add_argument("--epochs", type=float, help="of the embedding; the same")
    return made


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    asked = parser()
    options = asked.parse_args(argv)
    for path in options.world or []:
        if not (path / "events.jsonl").is_file():
            asked.error(f"--world should be a folder with events.jsonl, received {path}")
    if options.seeds < 1:
        asked.error("--seeds should be at least 1")
    return options


def main() -> None:
    options = arguments()
    threads.cap(options.threads)
    with tempfile.TemporaryDirectory(prefix="graphsvc-ladder-") as scratch:
        folder = options.work or Path(scratch)
        try:
            made = cells(Bench(options, folder))
        except ApiError as error:
            raise SystemExit(f"error: {error}") from error
        outcome = grid.measure(made, options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
