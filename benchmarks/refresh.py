"""A bundle that is refreshed five times while its graph grows, under a ranker that stays.

    .venv/bin/python benchmarks/refresh.py
    .venv/bin/python benchmarks/refresh.py --train FILE --valid FILE --test FILE

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. Files of triples
hold head, relation and tail between tabs; of them only the cost of one refresh is measured.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import differences
import grid
import numpy as np
import paired
import printed
import verdicts
import warm
from aims import Aim
from growing import ARMS, FIRST, REFRESHES, World, open_world
from numpy.typing import NDArray
from paired import Scored
from pictures import by_refresh
from publish import About, publish, spare
from stability import as_frame, edges_of, procrustes, stability

from api import threads
from api.demo.data import FILES, PACKAGE, fetch
from api.errors import ApiError
from api.settings import read_settings
from graphsvc.errors import GraphError
from graphsvc.report import Row
from graphsvc.snapshot import Span, open_snapshot
from kge import heldout
from kge.bundle import Bundle
from kge.dials import Dials
from kge.errors import KgeError
from kge.evaluate import link_prediction
from kge.files import read_triples
from kge.train import FRAME_KEPT
from kge.triples import graph_of_snapshot
from ranking.bundle import open_ranker
from ranking.errors import RankingError
from ranking.examples import Examples, build_examples
from ranking.intervals import Judged

SEEDS = 5
#: What a refresh costs is measured with so many of them at most: it takes minutes each.
COSTS = 3
#: What a cell may fail with.
ERRORS = (ApiError, GraphError, KgeError, RankingError)
RESAMPLES = 1000
#: The dials with which TransRA is TransR.
PLAIN = {"gate_edges": 0.0, "prior_share": 0.0}
#: Ways to refresh: dials, whether they begin with the bundle before, whether it is turned after.
WAYS: Mapping[str, tuple[Mapping[str, float], bool, bool]] = {
    "frame": ({}, True, False),
    "warm start": ({"frame_weight": 0.0}, True, False),
    "procrustes": ({}, False, True),
    "re-init": ({}, False, False),
    "TransR, re-init": (PLAIN, False, False),
}

AIMS = (
    Aim("refresh_time_share", at_most=0.25),
    Aim("refresh_mrr_share", at_least=0.98, where=".*/test"),
)
_TITLE = "A bundle is refreshed, its ranker is not"
_WORDS = """
MovieLens-100k as a log. A first bundle and rankers are trained when {first:.0%} of the ratings have
come; then the rest comes in {refreshes} equal parts, and after each the bundle is made anew, from
the one before or from nothing. Rankers are never trained again. All by the steps of the service's
own retrain and refresh; {seeds} seeds; the protocol is per user by time.

- `frame`: what `refresh` does. It begins with the bundle before, trains a share of the epochs, and
  holds the frame. `warm start`: the same, and nothing holds it. `re-init`: trained from nothing.
  `procrustes`: from nothing, then turned so that all entities of both bundles lie as near as can be
  to where they were; scores stay as they are. `TransR, re-init`: TransRA without its anchors, with
  a first bundle and rankers of its own. The other four begin with the same bundle and rankers.
- `auc_change`: AUC of a ranker with the refreshed bundle minus AUC of the same ranker with the
  bundle that it was trained on, on the same rows: the test span of the snapshot at that refresh.
  Paired; over seeds a t interval, and as `auc_change_over_users` a bootstrap over users of the mean
  over seeds. Behind the slash: how the ranker reads vectors.
- `auc_lift`: the same ranker, AUC above that of one without vectors, on the first snapshot.
- `cosine`, `overlap@10`: of entities whose edges are those of the first snapshot still, between the
  first bundle and the refreshed one, by type; the 10 nearest by angle, of the same type. Many a
  `thing` has one edge, and lies so near to others like it that which ten are nearest means little.
- `refresh_time_share`, `refresh_mrr_share`: one refresh when {new:.0%} of the edges, drawn by
  chance, are new, beside a training of all edges from nothing. `mrr_share_before`: of the bundle
  that has not seen these edges, for comparison. MovieLens trains in a second or two, so what every
  training begins and ends with weighs much in its share of time. Of {costs} seeds.

![AUC change, refresh by refresh](auc_change.png)

![Cosine of films with the first bundle, refresh by refresh](cosine.png)
"""


class Bench:
    """What the cells share: the log is written once, when the first cell asks for it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder

    @cache  # noqa: B019  one bench per process
    def world(self) -> World:
        data = fetch(self.options.data, read_settings().cache_dir)
        return open_world(data, self.folder, self.options.split, self.options.threads)

    def key(self) -> dict[str, Any]:
        """What the cells of MovieLens depend on: what is in the log, and how it is trained on."""
        names = ("split", "threads", "dim", "epochs")
        data = PACKAGE
        if self.options.data:  # else what would be fetched, which a listing does not do
            folder = fetch(self.options.data, read_settings().cache_dir)
            data = grid.digest_of([folder / name for name in FILES])
        return {"data": data, **{name: getattr(self.options, name) for name in names}}

    def key_of_triples(self) -> dict[str, Any] | None:
        """What the cells of triples depend on; None where none were given."""
        if not self.options.train:
            return None
        names = ("triples_threads", "dim", "triples_epochs")
        data = grid.digest_of([getattr(self.options, name) for name in ("train", "valid", "test")])
        return {"data": data, **{name: getattr(self.options, name) for name in names}}

    def dials(self, own: Mapping[str, float]) -> dict[str, float]:
        given = {name: getattr(self.options, name) for name in ("dim", "epochs")}
        return {name: value for name, value in given.items() if value} | dict(own)


def cells(bench: Bench) -> dict[str, grid.Measure]:
    """Every cell by its name. Raises `ApiError` where `--data` lacks a file."""
    made: dict[str, grid.Measure] = {}
    log, triples = bench.key(), bench.key_of_triples()
    for seed in range(1, bench.options.seeds + 1):
        for way, how in WAYS.items():
            name = way.replace(", ", "-").replace(" ", "-").lower()
            chain = grid.named(f"{name}-{seed}", log, how, FIRST, REFRESHES, RESAMPLES)
            made[chain] = partial(_chain, bench, way, seed, chain)
        if seed > COSTS:
            continue
        share = grid.named(f"share-movielens-{seed}", log, warm.NEW)
        made[share] = partial(_share_of_movielens, bench, seed)
        if triples:
            share = grid.named(f"share-triples-{seed}", triples, warm.NEW)
            made[share] = partial(_share_of_triples, bench, seed)
    return made


def _chain(bench: Bench, way: str, seed: int, cell: str) -> Mapping[str, Any]:
    """Five refreshes, each from the one before; what every draw of users says lies beside."""
    world, (own, begins, turned) = bench.world(), WAYS[way]
    # What a way sets for its refreshes alone is not a dial of its first bundle.
    first, rankers = world.first(bench.dials(PLAIN if own == PLAIN else {}), seed)
    store, previous = world.shop.store, first
    edges = edges_of(open_snapshot(store, world.snapshot(0)))
    lift = _lifts(world, first, rankers)
    told, draws = [], {f"auc_lift/first/{arm}": drawn for arm, drawn in lift.items()}
    for number in range(1, REFRESHES + 1):
        snapshot = open_snapshot(store, world.snapshot(number))
        made = world.embed(
            number,
            bench.dials(own),
            seed if begins else 1000 * seed + number,
            previous.digest if begins else None,
        )
        turn = procrustes(previous, made) if turned else None
        served = as_frame(store, made, first.frame, turn)
        # A refresh goes on with the name of its frame only if it was kept: see `frame_kept`.
        previous = made if begins else served
        changes = _changes(world, number, (first, served), rankers)
        draws |= {f"auc_change/refresh={number}/{arm}": drawn for arm, drawn in changes.items()}
        told.append(
            {
                "refresh": number,
                # Users move with it: folded in anew, they lean more or less on their prior.
                "prior_edges": made.artifact.dials["prior_edges"],
                "edges": len(snapshot.triples().head),
                **made.artifact.metrics,
                "stability": stability(first, served, (edges, edges_of(snapshot))),
                "auc": paired.ends(changes),
            }
        )
    paired.keep(bench.options.out / "cells" / f"{cell}.npz", draws)
    return {"way": way, "seed": seed, "lift": paired.ends(lift), "refreshes": told}


def _changes(
    world: World, moment: int, bundles: tuple[Bundle, Bundle], rankers: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Of each arm AUC with the refreshed bundle minus AUC with the first, by draws of users."""
    examples = [_examples(world, moment, bundle) for bundle in bundles]
    return {
        arm: paired.gap(
            *(_scored(world, rankers[arm], *pair) for pair in zip(examples, bundles, strict=True)),
            resamples=RESAMPLES,
        )
        for arm in ARMS
    }


def _lifts(
    world: World, first: Bundle, rankers: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Of each arm AUC above that of the ranker without vectors, by draws of users."""
    examples = _examples(world, 0, first)
    scored = {arm: _scored(world, digest, examples, first) for arm, digest in rankers.items()}
    return {arm: paired.gap(scored["none"], scored[arm], RESAMPLES) for arm in ARMS}


def _examples(world: World, moment: int, bundle: Bundle) -> Examples:
    shop = world.shop
    snapshot = open_snapshot(shop.store, world.snapshot(moment), verify=False)
    return build_examples(snapshot, bundle)


def _scored(world: World, ranker: str, examples: Examples, bundle: Bundle) -> Scored:
    test = examples.rows[Span.TEST]
    reader = open_ranker(world.shop.store, ranker, bundle)
    scores = reader.score(test.heads, test.tails, test.exposures)
    return Scored(Judged(test.labels, test.cluster, test.weight), scores)


def _share_of_movielens(bench: Bench, seed: int) -> Mapping[str, Any]:
    world = bench.world()
    snapshot = open_snapshot(world.shop.store, world.snapshot(REFRESHES))

    def judge(bundle: Bundle) -> dict[str, float]:
        return {
            span.name.lower(): next(
                row.value
                for row in heldout.evaluate(bundle, snapshot, seed=0, span=span)
                if (row.metric, row.model) == ("mrr", "transra")
            )
            for span in (Span.VALID, Span.TEST)
        }

    dials = replace(world.shop.settings.transra, seed=seed, **bench.dials({}))
    told = warm.measure(graph_of_snapshot(snapshot), dials, judge)
    return {"data": "movielens", "seed": seed, **told}


def _share_of_triples(bench: Bench, seed: int) -> Mapping[str, Any]:
    options = bench.options
    data = read_triples(options.train, options.valid, options.test)
    threads.cap(options.triples_threads)

    def judge(bundle: Bundle) -> dict[str, float]:
        known = [data.train, data.valid, data.test]
        return {
            name: link_prediction(bundle, getattr(data, name), known).mrr
            for name in ("valid", "test")
        }

    given = {"dim": options.dim, "epochs": options.triples_epochs}
    dials = Dials(seed=seed, **{name: value for name, value in given.items() if value})
    return {"data": "triples", "seed": seed, **warm.measure(data.graph, dials, judge)}


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row per figure and seed, and one over the seeds."""
    rows: list[Row] = []
    for told in found.values():
        made = _chain_rows(told) if "way" in told else _share_rows(told)
        rows += [replace(row, seed=told["seed"]) for row in made]
    every: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        every.setdefault((row.metric, row.unit, row.split, row.model), []).append(row.value)
    for (metric, unit, split, model), values in every.items():
        same = {"metric": metric, "unit": unit, "split": split, "model": model, "seed": "all"}
        if len(values) > 1:
            mean, low, high = differences.interval(values)
            rows.append(Row(value=mean, lo=low, hi=high, **same))
        else:
            [only] = [r for r in rows if (r.metric, r.split, r.model) == (metric, split, model)]
            rows.append(replace(only, seed="all"))
    return rows


def _chain_rows(told: Mapping[str, Any]) -> Iterable[Row]:
    way = told["way"]
    for arm, (value, low, high) in told["lift"].items():
        yield _row("auc_lift", value, "share", "first", f"{way} / {arm}", (low, high))
    for one in told["refreshes"]:
        where = f"refresh={one['refresh']}"
        for arm, (value, low, high) in one["auc"].items():
            yield _row("auc_change", value, "share", where, f"{way} / {arm}", (low, high))
        for kind, kept in one["stability"].items():
            yield _row("cosine", kept["cosine"], "cosine", f"{where}/{kind}", way)
            yield _row("overlap@10", kept["overlap"], "share", f"{where}/{kind}", way)
        if "frame_kept" in one:
            yield _row("frame_kept", one["frame_kept"], "share", where, way)


def _share_rows(told: Mapping[str, Any]) -> Iterable[Row]:
    data = told["data"]
    share = told["refresh_seconds"] / told["full_seconds"]
    yield _row("refresh_time_share", share, "share", data, "refresh / full")
    for split, full in told["full_mrr"].items():
        where = f"{data}/{split}"
        yield _row("mrr", full, "share", where, "full")
        yield _row("mrr", told["refresh_mrr"][split], "share", where, "refresh")
        share = told["refresh_mrr"][split] / full
        yield _row("refresh_mrr_share", share, "share", where, "refresh / full")
        share = told["before_mrr"][split] / full
        yield _row("mrr_share_before", share, "share", where, "before / full")


def _row(
    metric: str,
    value: float,
    unit: str,
    split: str,
    model: str,
    around: tuple[float, float] | None = None,
) -> Row:
    low, high = around or (None, None)
    return Row(metric=metric, value=value, lo=low, hi=high, unit=unit, split=split, model=model)


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/refresh")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    for name in ("train", "valid", "test"):
        made.add_argument(f"--{name}", type=Path, help="triples, for the cost of a refresh")
    made.add_argument("--split", default="per_user_time", help="of MovieLens; or global_time")
    made.add_argument("--seeds", type=int, default=SEEDS)
    made.add_argument("--threads", type=int, default=2, help="of MovieLens")
    made.add_argument("--triples-threads", type=int, default=2)
    made.add_argument("--dim", type=int, help="by default what follows from the graph")
    made.add_argument("--epochs", type=float, help="of MovieLens, full training; the same")
    made.add_argument("--triples-epochs", type=float, help="of triples, full training; the same")
    return made


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    asked = parser()
    options = asked.parse_args(argv)
    files = [options.train, options.valid, options.test]
    if any(files) and not all(files):
        asked.error("--train, --valid and --test are given together")
    return options


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="graphsvc-refresh-") as folder:
        try:
            made = cells(Bench(options, Path(folder)))
        except ApiError as error:
            raise SystemExit(f"error: {error}") from error
        outcome = grid.measure(made, options, ERRORS)
    if not options.list:
        write(outcome.found, options)
    sys.exit(outcome.code)


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and pictures of what was measured."""
    rows = [*rows_of(found), *paired.over_users(found, options.out / "cells")]
    spare(options.out, "refresh", rows)
    names = ("split", "seeds", "dim", "epochs", "triples_epochs", "threads", "triples_threads")
    dials = {name: getattr(options, name) for name in names}
    dials |= {"first": FIRST, "refreshes": REFRESHES, "new": warm.NEW, "frame_kept": FRAME_KEPT}
    for metric, kind in (("auc_change", ""), ("cosine", "/film")):
        told = [row for row in rows if row.metric == metric and row.split.endswith(kind)]
        by_refresh(options.out / f"{metric}.png", told)
    given = printed.given(parser(), options)
    dials |= {"margin": verdicts.MARGIN, "verdicts": verdicts.verdicts(rows)}
    seeds = len({told["seed"] for told in found.values() if "way" in told})
    words = _WORDS.strip().format(
        first=FIRST, refreshes=REFRESHES, new=warm.NEW, seeds=seeds, costs=COSTS
    )
    words = f"{words}\n\n{verdicts.section(rows)}"
    publish(options.out, rows, found, dials, About("refresh", _TITLE, words, "way", given, AIMS))


if __name__ == "__main__":
    main()
