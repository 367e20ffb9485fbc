"""ID tables pretrained in facets: from scratch, hashed, each facet, pairs, all.

    .venv/bin/python benchmarks/facets.py
    .venv/bin/python benchmarks/facets.py --only movielens

A simulated market of more than a million ids that are seldom seen, its nulls, and MovieLens-100k,
which comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import facets_pictures
import facets_rows
import grid
import numpy as np
import printed
from facets_arms import ARMS, BY_FREQUENCY, HASHED, OF_NULLS, Arm
from facets_kge import held_kge
from facets_model import Dials, Ids, epochs, hashed_rows, own_rows, pretrained
from facets_worlds import Made, Numbers, market_of, movielens, simulated
from ladder_rows import keep
from numpy.typing import NDArray
from publish import About, publish

from api import threads
from api.demo.data import fetch
from api.errors import ApiError
from api.settings import read_settings
from graphsvc.artifact import ArtifactStore
from graphsvc.errors import GraphError
from graphsvc.simulate import NULLS
from graphsvc.snapshot import Span
from kge.errors import KgeError
from ranking.errors import RankingError
from ranking.intervals import Judged, resample, user_weights
from ranking.pretraining.config import FACET_NAMES, GnnConfig, PretrainingConfig
from ranking.pretraining.registry import Source, pretrain
from ranking.pretraining.tables import FacetTable, open_table, seal_table

#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)
DEFAULT, MOVIELENS = "default", "movielens"
#: Draws of users behind an interval.
RESAMPLES = 400
#: Buckets of how often an id was exposed in GRAPH and TRAIN.
BUCKETS = ((0, 0), (1, 4), (5, 19), (20, None))

_TITLE = "ID tables pretrained in facets"
_WORDS = """
All arms are one ranker, but for its ID tables: `none`; `scratch`, a row per id that begins at zero;
`hashed`, as many bytes in an eighth of the rows, each eight times longer, two rows an id; and
tables pretrained on the span GRAPH: `contrastive` (users and the items they acted on), `kge`
(TransRA's vectors), `gnn` (LightGCN on all relations). Several facets are tables side by side after
LayerNorm; `summed(...)` is one table on the sum of the losses, `sequential(...)` one table, each
facet beginning where the last one ended. `frozen`: the ranker never moves them; `tuned`: it does,
at a tenth of its rate; `fresh`: as many rows, of the same length and spread, that know nothing,
moved likewise.

- Time: pretraining sees the first span of exposures (45 %) and what happened in it, rankers learn
  on the next one (15 %) and are measured on the last (20 %). Markets are cut at moments for all,
  MovieLens at each user's own. Nothing is stopped early and nothing is chosen: the same dials for
  all arms, one trial each. The two spans between are left alone.
- `epoch=1`, `epoch=2`: after so many passes. `head=`, `tail=`: rows whose user, or item, was
  exposed so often in the first two spans. `auc_lift`: above `none`. `bytes`: of tables of 4-byte
  numbers.
- Nulls: `offsite`, acts elsewhere say nothing; `interactions`, nothing is to be matched; `kge`,
  what people like follows from attributes that every ranker reads. There, lifts have to vanish: of
  all facets under `kge` and `interactions`, under `offsite` what only offsite acts can tell.
- Every seed is another market, or another seed of all training. Intervals: t over seeds;
  `..._by_user`: paired bootstrap over users, on test rows of {test_rows:,} exposures at most.

{sizes}

![Lift of each arm](lifts.png)

![Lift by frequency](frequency.png)
"""


@dataclass
class Bench:
    """What the cells share: a world is made once, and so is every pretrained table."""

    options: argparse.Namespace
    folder: Path
    #: The last world that was made.
    _made: dict[tuple[str, int], Made] = field(default_factory=dict)

    @property
    def worlds(self) -> list[str]:
        return [DEFAULT, MOVIELENS, *NULLS]

    def arms(self, world: str) -> list[str]:
        return list(OF_NULLS) if world in NULLS else list(ARMS)

    def key(self, world: str) -> list[Any]:
        """What every cell of a world depends on, as plain JSON."""
        options = self.options
        same = [options.threads, options.test_rows, RESAMPLES, asdict(self.dials)]
        same += [asdict(self.pretraining(1)), options.kge_epochs]
        if world == MOVIELENS:
            return [world, *same]
        return [world, options.people, options.ads, options.pages, options.days, *same]

    @property
    def dials(self) -> Dials:
        return Dials(epochs=2)

    def pretraining(
        self, seed: int, *facets: str, combination: str = "concat"
    ) -> PretrainingConfig:
        options = self.options
        return PretrainingConfig(
            facets=facets or FACET_NAMES,
            combination=combination,
            dim=options.dim,
            batch=options.batch,
            random_negatives=options.batch,
            epochs=options.epochs,
            seed=seed,
            gnn=GnnConfig(backend=options.backend),
        )

    def made(self, world: str, seed: int) -> Made:
        if (world, seed) not in self._made:
            self._made.clear()
            options = self.options
            if world == MOVIELENS:
                made = movielens(fetch(options.data, read_settings().cache_dir))
            else:
                sizes = {"people": options.people, "ads": options.ads, "pages": options.pages}
                market = market_of(world, seed, days=options.days, **sizes)
                made = simulated(market, options.days)
            self._made[world, seed] = made
        return self._made[world, seed]

    def tables(self, world: str, seed: int, arm: Arm) -> tuple[FacetTable, ...]:
        """Those of an arm, pretrained once."""
        if arm.combination == "concat":
            parts = [((one,), "concat") for one in arm.facets]
        else:
            parts = [(arm.facets, arm.combination)]
        return tuple(self._table(world, seed, *part) for part in parts)

    def _table(
        self, world: str, seed: int, facets: tuple[str, ...], combination: str
    ) -> FacetTable:
        store = ArtifactStore(self.folder / "artifacts")
        config = self.pretraining(seed, *facets, combination=combination)
        name = grid.named(f"{world}-{seed}-{'-'.join(facets)}", self.key(world), asdict(config))
        file = self.folder / f"{name}.json"
        if file.exists():
            return open_table(store, json.loads(file.read_text()))
        grid.console.print(f"  {world} {seed}: pretraining {combination} {', '.join(facets)}")
        made = self.made(world, seed)
        kge = None
        if "kge" in facets:
            held = self.folder / f"{grid.named(f'kge-{world}-{seed}', self.key(world))}.npz"
            kge = held_kge(made.graph, held, self._kge_dials(seed))
        [table] = _finished(Source(made.graph, kge), config)
        sealed = seal_table(store, table, {}, dials=asdict(config), metrics={})
        file.write_text(json.dumps(sealed.digest))
        return table

    def _kge_dials(self, seed: int) -> dict[str, Any]:
        """The embedding's: as long as the other facets; the rest follows from the graph."""
        dials: dict[str, Any] = {"dim": self.options.dim, "seed": seed}
        return dials | ({"epochs": self.options.kge_epochs} if self.options.kge_epochs else {})


def _finished(source: Source, config: PretrainingConfig) -> tuple[FacetTable, ...]:
    training = pretrain(source, config)
    while True:
        try:
            next(training)
        except StopIteration as ended:
            tables: tuple[FacetTable, ...] = ended.value
            return tables


def cells(bench: Bench) -> dict[str, grid.Measure]:
    """Every cell by its name; a world's arms stand together."""
    made: dict[str, grid.Measure] = {}
    for world in bench.worlds:
        for seed in range(1, bench.options.seeds + 1):
            for arm in bench.arms(world):
                plain = arm.replace("/", ".").replace("(", ".").replace(")", "")
                name = grid.named(f"run-{world}-{plain}-{seed}", bench.key(world), BUCKETS)
                made[name] = partial(_run, bench, (world, seed, arm), name)
    return made


def _run(bench: Bench, what: tuple[str, int, str], name: str) -> Mapping[str, Any]:
    """One arm: AUC after each epoch, of all rows and of each bucket, with its draws."""
    world, seed, arm = what
    made = bench.made(world, seed)
    ids = _ids(bench, made, what)
    judged = sampled(made, bench.options.test_rows)
    draws: dict[str, NDArray[np.float64]] = {}
    losses = []
    for number, told in enumerate(epochs(made, ids, bench.dials, seed, judged), start=1):
        losses.append(told["loss"])
        for part, rows in buckets(made, judged).items():
            labels = made.rows.label[judged[rows]]
            if len(np.unique(labels)) == 2:
                found = _draws(labels, made.rows.head[judged[rows]], told["scores"][rows])
                draws[f"epoch={number}{part}"] = found
    keep(bench.options.out / "cells" / f"{name}.npz", draws)
    return {
        "world": world,
        "task": "ctr",
        "arm": arm,
        "seed": seed,
        "bytes": ids.bytes,
        "train_loss": losses,
        "auc": [float(draws[f"epoch={n + 1}"][0]) for n in range(len(losses))],
        "judged": len(judged),
        "sizes": dict(made.told),
    }


def _ids(bench: Bench, made: Made, what: tuple[str, int, str]) -> Ids:
    world, seed, name = what
    arm = ARMS[name]
    if arm.ids == "none":
        return Ids()
    kinds = [made.graph.type_range(side) for side in (made.graph.head_type, made.graph.tail_type)]
    counts = (kinds[0].stop - kinds[0].start, kinds[1].stop - kinds[1].start)
    if arm.ids == "own":
        return own_rows(counts, bench.options.dim)
    if arm.ids == "hashed":
        return hashed_rows(counts, bench.options.dim, share=HASHED)
    return pretrained(made, bench.tables(world, seed, arm), arm.mode)


def sampled(made: Made, most: int) -> Numbers:
    """Rows of TEST, all of some users: as many users as have `most` rows together."""
    test = made.of(Span.TEST)
    users, rows = np.unique(made.rows.head[test], return_counts=True)
    order = np.random.default_rng(0).permutation(len(users))
    chosen = order[np.cumsum(rows[order]) <= most]
    return test[np.isin(made.rows.head[test], users[chosen])]


def buckets(made: Made, judged: Numbers) -> dict[str, Numbers]:
    """Places among the judged rows: of all, and by how often head and tail were seen before."""
    found = {"": np.arange(len(judged))}
    for column, side in enumerate(("head", "tail")):
        seen = made.rows.seen[judged, column]
        for low, high in BUCKETS:
            told = f"{low}+" if high is None else f"{low}" if high == low else f"{low}-{high}"
            inside = (seen >= low) & (True if high is None else seen <= high)
            found[f"/{side}={told}"] = np.flatnonzero(inside)
    return found


def _draws(
    labels: NDArray[np.int8], head: Numbers, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUC as it is, and in every draw of users; the same draws for all arms."""
    users = len(np.unique(head))
    weights = user_weights(users, RESAMPLES, np.random.default_rng(0))
    return np.asarray(resample(Judged(labels, head.astype(np.int32)), scores, weights)["auc"])


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and pictures of what was measured."""
    runs = facets_rows.of_folder(found, options.out)
    rows = facets_rows.rows_of(runs)
    facets_pictures.lifts(options.out / "lifts.png", rows)
    drawn = [arm for arm in BY_FREQUENCY if arm != "none"]
    facets_pictures.by_frequency(options.out / "frequency.png", rows, drawn)
    names = ("seeds", "people", "ads", "pages", "days", "dim", "epochs", "kge_epochs", "batch")
    dials = {name: getattr(options, name) for name in (*names, "backend", "threads", "test_rows")}
    dials |= {"ranker": asdict(Dials()), "resamples": RESAMPLES, "trials": 1}
    words = _WORDS.format(sizes=facets_rows.sizes(found), test_rows=options.test_rows)
    words = f"{words.strip()}\n\n{facets_rows.section(runs)}"
    given = printed.given(parser(), options)
    publish(options.out, rows, found, dials, About("facets", _TITLE, words, "arm", given))


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/facets")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, help="folder of pretrained tables, kept between runs")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--people", type=int, default=2_000_000, help="of a market")
    made.add_argument("--ads", type=int, default=800_000, help="of a market")
    made.add_argument("--pages", type=int, default=700_000, help="of a market, 4 exposures each")
    made.add_argument("--days", type=float, default=30.0, help="of a market")
    made.add_argument("--dim", type=int, default=32, help="numbers of a vector, in every arm")
    made.add_argument("--epochs", type=float, default=3.0, help="of contrastive and gnn")
    made.add_argument("--kge-epochs", type=float, help="by default what follows from the graph")
    made.add_argument("--batch", type=int, default=1024, help="of pretraining")
    made.add_argument("--backend", default="pyg", choices=["pyg", "dgl"])
    made.add_argument("--test-rows", type=int, default=200_000, help="that are judged, at most")
    made.add_argument("--threads", type=int, default=2)
    return made


def main() -> None:
    options = parser().parse_args()
    threads.cap(options.threads)
    with tempfile.TemporaryDirectory(prefix="graphsvc-facets-") as scratch:
        folder = options.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = grid.measure(cells(Bench(options, folder)), options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
