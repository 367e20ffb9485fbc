"""A simulated market: how fast it runs, and how well the best ranker could do in it.

.venv/bin/python benchmarks/simulate.py
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from aims import Aim
from differences import interval
from pictures import by_world
from publish import About, publish

from graphsvc.report import Row
from graphsvc.simulate import NULLS, Bayes, Market, World, as_events, as_table

#: A world by name; in the large one most people come seldom.
SIZES: Mapping[str, World] = {
    "default": World(),
    "large": World(
        people=200_000,
        ads=40_000,
        products=20_000,
        advertisers=2_000,
        campaigns=8_000,
        categories=200,
        pages_per_day=200_000.0,
    ),
}
FORMS = ("columns", "table", "json")

AIMS = (Aim("events_per_second", at_least=100_000),)
_TITLE = "A market with known truth"
_WORDS = """
`graphsvc simulate` as a library, in one process, with nothing written to a disk. `columns`: events
and their truth as numpy gives them. `table`: the events as an Arrow table with ids as text, of
which Parquet is written. `json`: one Python value and its line of JSON per event.

`default` is the world of `graphsvc/simulate/world.py`, `large` one of 200,000 people. A line for
everybody and everything, with which a stream begins, is part of the figure.

Bayes AUCs are those of the true chances: `expected` of the chances of the rows, `realised` of what
came of them. Each seed is another market of the same dials; intervals are t over seeds. `no
offsite`, `no interactions`, `no kge` are the nulls ([simulator](../../simulator.md)). In
`no offsite` all purchases are equally likely, so their AUC is a half.

![Bayes AUC by world](bayes.png)
"""


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/simulate")
    parser.add_argument("--events", type=int, default=2_000_000, help="of a run")
    parser.add_argument("--runs", type=int, default=3, help="of each speed")
    parser.add_argument("--seeds", type=int, default=5, help="markets of each kind")
    parser.add_argument("--days", type=float, default=30.0, help="of a market whose AUCs are told")
    return parser


def worlds() -> dict[str, World]:
    """The default and every null of it."""
    nulls = {f"no {name}": replace(World(), **{dial: False}) for name, dial in NULLS.items()}
    return {"default": World(), **nulls}


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    made: dict[str, grid.Measure] = {}
    for size, world in SIZES.items():
        for form in FORMS:
            for run in range(1, options.runs + 1):
                name = grid.named(f"speed-{size}-{form}-{run}", asdict(world), options.events)
                made[name] = partial(_speed, size, form, run, options.events)
    for kind, world in worlds().items():
        for seed in range(1, options.seeds + 1):
            named = kind.replace(" ", "-")
            name = grid.named(f"bayes-{named}-{seed}", asdict(world), options.days)
            made[name] = partial(_bayes, kind, seed, options.days)
    return made


def _speed(size: str, form: str, run: int, events: int) -> Mapping[str, Any]:
    began, count, size_of = time.perf_counter(), 0, 0
    market = Market(replace(SIZES[size], seed=run))
    for chunk in market.stream(events=events):
        count += len(chunk.events)
        if form == "table":
            size_of += as_table(market, chunk.events).nbytes
        elif form == "json":
            lines = (orjson.dumps(event) for event in as_events(market, chunk.events))
            size_of += sum(map(len, lines))
        else:
            size_of += chunk.events.nbytes + chunk.truth.nbytes
    seconds = time.perf_counter() - began
    return {
        "size": size,
        "form": form,
        "seed": run,
        "events": count,
        "events_per_second": count / seconds,
        "bytes_per_event": size_of / count,
    }


def _bayes(kind: str, seed: int, days: float) -> Mapping[str, Any]:
    bayes, shown, clicks, events = Bayes(), 0, 0, 0
    for chunk in Market(replace(worlds()[kind], seed=seed)).stream(days=days):
        bayes.add(chunk.truth)
        events += len(chunk.events)
        shown += len(chunk.truth)
        clicks += int(chunk.truth["was_clicked"].sum())
    figures = {name: one._asdict() for name, one in bayes.figures().items()}
    return {
        "kind": kind,
        "seed": seed,
        "events": events,
        "impressions": shown,
        "click_rate": clicks / shown,
        "auc": figures,
    }


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Every run and seed, and one row over all of them."""
    told: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for result in found.values():
        seed = result["seed"]
        if "form" in result:
            for metric, unit in (("events_per_second", "events/s"), ("bytes_per_event", "bytes")):
                key = (metric, unit, result["size"], result["form"])
                told.setdefault(key, {})[seed] = result[metric]
            continue
        kind = result["kind"]
        told.setdefault(("click_rate", "share", "all", kind), {})[seed] = result["click_rate"]
        for of, reached in result["auc"].items():
            for way in ("expected", "realised"):
                key = (f"auc_{way}", "share", of, kind)
                told.setdefault(key, {})[seed] = reached[way]
    rows: list[Row] = []
    for (metric, unit, split, model), by_seed in told.items():
        same = {"metric": metric, "unit": unit, "split": split, "model": model}
        mean, low, high = interval(list(by_seed.values()))
        rows += [Row(value=value, seed=seed, **same) for seed, value in sorted(by_seed.items())]
        rows.append(Row(value=mean, lo=low, hi=high, seed="all", **same))
    return rows


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    rows = rows_of(found)
    dials = {name: getattr(options, name) for name in ("events", "runs", "seeds", "days")}
    dials |= {"worlds": {name: asdict(world) for name, world in {**SIZES, **worlds()}.items()}}
    by_world(
        options.out / "bayes.png",
        [row for row in rows if row.metric == "auc_expected"],
        neutral=0.5,
    )
    given = printed.given(arguments(), options)
    publish(options.out, rows, found, dials, About("simulate", _TITLE, _WORDS, "of", given, AIMS))


def main() -> None:
    options = arguments().parse_args()
    write(grid.run(cells(options), options), options)


if __name__ == "__main__":
    main()
