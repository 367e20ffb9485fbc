"""What offsite events add: rankers of clicks and conversions on embeddings of three graphs.

    .venv/bin/python benchmarks/offsite.py
    .venv/bin/python benchmarks/offsite.py --retailrocket FOLDER

Simulated markets of three sizes and every null of them; and with `--retailrocket`, a folder or zip
file, the data of a shop, whose rows are pairs that are held out of the graph.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import grid
import offsite_rows
import offsite_shop
import printed
from aims import Aim
from graphs import GRAPHS
from lifts import ARMS, Figures, Scored, compared, scored
from offsite_market import SIZES, WINDOW, run, world_of
from pictures import by_world
from publish import About, publish

from api.errors import ApiError
from graphsvc.errors import GraphError
from graphsvc.simulate import NULLS, auc_of
from graphsvc.snapshot import Span
from kge.errors import KgeError
from ranking.config import RankerConfig
from ranking.errors import RankingError
from ranking.examples import of_head
from ranking.intervals import Judged

#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)
TASKS = ("ctr", "cvr")
#: The size at which nulls are run: large enough for an effect of the default to be seen.
OF_NULLS = "medium"

AIMS = (
    Aim("auc_lead", at_least=0.0, where="default/.*"),
    Aim("auc_lead", at_least=0.0, where="retailrocket/.*"),
)
_TITLE = "What offsite events add"
_WORDS = f"""
Simulated markets ([simulator](../../simulator.md)) of {", ".join(f"{n:,}" for n in SIZES.values())}
people ({", ".join(SIZES)}), ingested, sealed and trained on by the steps of the service: a graph of
the first span of time, rankers on the next, stopped and calibrated on those behind it, measured on
the last. The embedding sees the `onsite` relations of people, the `offsite` ones, or `both`, and
structure. Every seed is another market, and the seed of all training. Nulls are of the size
{OF_NULLS}.

- The offsite graph alone has no relation from people to ads: its vectors are read, and there is no
  match of (person, relation, ad), and no fold-in of a person by outcomes. So it is behind by both,
  as it would be in the service.
- `ctr`: clicks of impressions. `cvr`: purchases (`checkout`) of clicks, each of the last click
  before it, within {WINDOW // 86_400} days, of people whose purchases can be seen. Rankers have
  one of these heads, and read the place of an impression.
- `auc`: of `none`, a ranker without embedding; of a graph and how the ranker reads its vectors; of
  `best`, the chances that all was drawn from.
- `auc_lift`: AUC above `none`. `share_of_reachable`: that, as a share of how far `best` is above
  `none`. `auc_ahead`: of `both` above each graph alone; `auc_lead`: the same, both its
  intervals as one.
- No dial is chosen: every ranker and every embedding has those of the service.
- RetailRocket: visitors and what they viewed, put into the cart and bought. A row is a viewed pair,
  `cart` and `purchase` are whether it came to that. Pairs are drawn, and **every** edge of a
  pair that is a row of any span is out of the graph. No time is looked at, since one form of
  the data has none: pairs are drawn by chance, counters are those of the graph, and nothing here is
  about what comes later. `onsite` is its views, `offsite`
  stands for its conversions (additions to the cart and purchases).

Intervals: of each seed, paired bootstrap over users; over seeds a t interval.

![AUC lift](lift.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/offsite")
    made.add_argument("--retailrocket", type=Path, help="folder or zip file of the shop's data")
    made.add_argument("--seeds", type=int, default=3, help="markets of each kind and size")
    made.add_argument("--shop-seeds", type=int, default=5, help="draws of the shop's pairs")
    made.add_argument("--days", type=float, default=60.0, help="of a market")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--dim", type=int, help="of embeddings; by default what follows from a graph")
    made.add_argument("--epochs", type=float, help="of embeddings; the same")
    return made


def dials_of(options: argparse.Namespace) -> dict[str, Any]:
    """The embedding's dials that were given."""
    given = {name: getattr(options, name) for name in ("dim", "epochs")}
    return {name: value for name, value in given.items() if value}


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name."""
    made: dict[str, grid.Measure] = {}
    dials = {name: getattr(options, name) for name in ("days", "threads", "dim", "epochs")}
    ranker = asdict(RankerConfig())
    settings = [("default", size) for size in SIZES] + [(null, OF_NULLS) for null in NULLS]
    for seed in range(1, options.seeds + 1):
        for kind, size in settings:
            world = str(world_of(kind, size, seed))
            name = grid.named(f"{kind}-{size}-{seed}", world, dials, WINDOW, ranker)
            made[name] = partial(_market, options, kind, size, seed)
    if options.retailrocket:
        data = offsite_shop.digest(options.retailrocket)
        for seed in range(1, options.shop_seeds + 1):
            name = grid.named(f"retailrocket-{seed}", data, dials, offsite_shop.SHARES, ranker)
            made[name] = partial(_shop, options, seed)
    return made


def _market(options: argparse.Namespace, kind: str, size: str, seed: int) -> Mapping[str, Any]:
    """All graphs, arms and tasks of one market."""
    with tempfile.TemporaryDirectory(prefix="graphsvc-offsite-") as folder:
        world = world_of(kind, size, seed)
        market = run(world, options.days, Path(folder), dials_of(options), options.threads)
        scores: dict[str, Scored] = {task: {} for task in TASKS}
        for graph in GRAPHS:
            grid.console.print(f"  {kind} {size} {seed}: {graph} graph")
            examples = market.examples(market.bundle(graph, seed))
            for task in TASKS:
                if graph == next(iter(GRAPHS)):
                    scores[task]["none"] = scored(examples, "none", seed, task)
                for arm in ARMS:
                    scores[task][f"{graph} / {arm}"] = scored(examples, arm, seed, task)
        figures, told = {}, {}
        for task in TASKS:
            rows = of_head(examples, task).rows
            test = rows[Span.TEST]
            best = market.best(task, test)
            judged = Judged(test.labels, test.cluster, test.weight)
            figures[task] = compared(judged, scores[task] | {"best": best.score})
            told[task] = {
                "rows": len(test.labels),
                "ones": int((test.labels == 1).sum()),
                "train_rows": len(rows[Span.TRAIN].labels),
                "best_expected": auc_of(best.score, best.chance, 1 - best.chance),
            }
    about = {"kind": kind, "size": size, "seed": seed, "events": market.events, "tasks": told}
    return about | {"figures": figures}


def _shop(options: argparse.Namespace, seed: int) -> Mapping[str, Any]:
    """All graphs, arms and tasks of one draw of a shop's pairs."""
    figures: dict[str, Figures] = {}
    told = {}
    scores: dict[str, Scored] = {task: {} for task in offsite_shop.TASKS}
    pairs = offsite_shop.draw(options.retailrocket, seed)
    for graph in offsite_shop.GRAPHS:
        learned = offsite_shop.learn(pairs, graph, dials_of(options), seed)
        for task in offsite_shop.TASKS:
            examples = offsite_shop.examples(pairs, learned, task)
            if "none" not in scores[task]:
                scores[task]["none"] = scored(examples, "none", seed)
            for arm in ARMS:
                scores[task][f"{graph} / {arm}"] = scored(examples, arm, seed)
            test = examples.rows[Span.TEST]
            judged = Judged(test.labels, test.cluster, test.weight)
            told[task] = {"rows": len(test.labels), "ones": int((test.labels == 1).sum())}
            if graph == "both":  # the last one
                figures[task] = compared(judged, scores[task])
    return {"kind": "retailrocket", "seed": seed, "tasks": told, "figures": figures}


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    rows = offsite_rows.rows_of(found)
    names = ("seeds", "shop_seeds", "days", "threads", "dim", "epochs")
    dials = {name: getattr(options, name) for name in names}
    dials |= {"window": WINDOW, "sizes": dict(SIZES), "shop_shares": offsite_shop.SHARES}
    by_world(options.out / "lift.png", list(_drawn(rows)))
    given = printed.given(parser(), options)
    words = f"{_WORDS.strip()}\n\n{offsite_rows.section(rows)}"
    publish(options.out, rows, found, dials, About("offsite", _TITLE, words, "of", given, AIMS))


def _drawn(rows: list[Any]) -> Iterator[Any]:
    """The lifts of the default, by size and task."""
    for row in rows:
        if row.metric == "auc_lift" and row.split.startswith("default/"):
            yield row


def main() -> None:
    options = parser().parse_args()
    outcome = grid.measure(cells(options), options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
