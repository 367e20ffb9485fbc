"""Link prediction on your own triples: TransRA, its arms and its rivals, by the same clock.

    .venv/bin/python benchmarks/link_prediction.py --train train.txt --valid valid.txt \
        --test test.txt --minutes 5 --model transra complex --seeds 3 --json results.json

A line of a file is head<TAB>relation<TAB>tail, maybe with a weight behind it. Each model trains for
--minutes of wall time per seed; measuring is not counted. What was measured stays in a folder
beside the JSON file, a file per model and seed, and is not measured again. --page DIR draws all
that the folder has of these files, however long it was trained, as a page with pictures.
--split valid leaves test alone, for who still chooses dials.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import grid
import link_pages
import numpy as np
import printed
import timed
from ablation import ARMS, is_arm, with_dials
from differences import interval
from link_cells import METRICS, cell_name, mixed, read, unlike, write_ranks
from models import MODELS, chosen, left_out, model
from pages import header_of
from rich.table import Table

from api.memory import machine, size
from graphsvc.report import Row, as_report
from kge.drilldown import drill_down
from kge.errors import KgeError
from kge.evaluate import MEMORY, link_prediction
from kge.files import TripleFiles, read_triples
from kge.memory import Room
from kge.scorer import Scorer

MINUTES = 5.0
#: Validation triples on the way; all of them at the end.
SAMPLE = 1000


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "")
    parser.set_defaults(out=None, budget_minutes=float("inf"))
    for name in ("train", "valid", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="tab-separated triples")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"training per seed, {MINUTES:g} if not said"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=["transra"],
        help=f"all that can be trained here, or some of: {', '.join(MODELS)}",
    )
    parser.add_argument(
        "--dial", action="append", default=[], metavar="NAME=VALUE", help="for the arms of TransRA"
    )
    parser.add_argument(
        "--memory",
        type=size,
        help="what TransRA and every evaluation may take, e.g. 8GiB; by default most of it",
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs per model")
    parser.add_argument(
        "--split",
        choices=("test", "valid"),
        default="test",
        help="valid: neither rank nor print test, for who still chooses dials",
    )
    parser.add_argument("--json", type=Path, required=True, help="where the report goes")
    parser.add_argument("--page", type=Path, help="folder for a page of all that is measured")
    return parser


def measure(
    data: TripleFiles,
    name: str,
    seed: int,
    *,
    minutes: float,
    memory: int,
    ranks_file: Path,
    split: str = "test",
) -> Mapping[str, Any]:
    """Train one model with one seed and measure it; the ranks of the test go into a file.

    `split`: by `valid` nothing is ranked but validation.
    """
    graph, filters = data.graph, [data.train, data.valid, data.test]
    looks = min(MEMORY, memory // 8)
    ranks = partial(link_prediction, memory=looks)
    drawn = np.random.default_rng(0).permutation(len(data.valid))[:SAMPLE]

    def validate(scorer: Scorer) -> float:
        return ranks(scorer, data.valid[drawn], filters).mrr

    # Whatever a training holds, validation is ranked beside it.
    room = Room(memory, beside=looks + sum(part.nbytes for part in filters))
    seconds = 60.0 * minutes
    outcome = timed.run(
        model(name, room, seconds),
        graph,
        label=f"{name}, seed {seed}",
        seed=seed,
        seconds=seconds,
        validate=validate,
    )
    valid = ranks(outcome.scorer, data.valid, filters)
    splits = {"valid": _named(valid)}
    if split == "test":
        test = ranks(outcome.scorer, data.test, filters)
        slices = drill_down(
            test, data.test, data.train, data.relation_names, entity_count=graph.entity_count
        )
        write_ranks(ranks_file, test.head_rank, test.tail_rank)
        parts = {f"test/{part.name}": _named(part) | {"ranks": part.ranks} for part in slices}
        splits = {"test": _named(test), **splits, **parts}
    return {
        "model": name,
        "seed": seed,
        "memory": memory,
        "split": split,
        **splits[split],
        "steps": outcome.steps,
        "training_seconds": outcome.seconds,
        "loss": outcome.loss,
        "splits": splits,
        "curve": outcome.curve,
        **chosen(name, graph, seed, room, seconds),
    }


def _named(found: Any) -> dict[str, float]:
    return {"mrr": found.mrr, **{f"hits@{k}": share for k, share in found.hits.items()}}


def rows_of(cells: Iterable[Mapping[str, Any]]) -> list[Row]:
    """A row per metric, split, model and seed, and one over the seeds with its t interval.

    Without an interval where the seeds are not runs of one kind.
    """
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    seeds: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell in cells:
        seeds.setdefault(cell["model"], {})[cell["seed"]] = cell
        for split, told in cell["splits"].items():
            for metric in METRICS:
                key = (cell["model"], split, metric)
                values.setdefault(key, {})[cell["seed"]] = told[metric]
    rows = []
    for (name, split, metric), by_seed in values.items():
        same = {"metric": metric, "unit": "share", "split": split, "model": name}
        rows += [Row(value=value, seed=seed, **same) for seed, value in by_seed.items()]
        mean, low, high = interval(list(by_seed.values()))
        if unlike(seeds[name]):
            low = high = None
        rows.append(Row(value=mean, lo=low, hi=high, seed="all", **same))
    return rows


def table_of(rows: Sequence[Row]) -> Table:
    table = Table("model", "split", *METRICS)
    whole = {(r.model, r.split, r.metric): r for r in rows if r.seed == "all"}
    for name, split in dict.fromkeys((r.model, r.split) for r in rows if "/" not in r.split):
        table.add_row(name, split, *(_shown(whole[name, split, metric]) for metric in METRICS))
    return table


def _shown(row: Row) -> str:
    around = "" if row.lo is None or row.hi is None else f" ± {(row.hi - row.lo) / 2:.4f}"
    return f"{row.value:.4f}{around}"


def digest(options: argparse.Namespace) -> str:
    """What the files hold, so that cells of another graph in the same folder are not taken."""
    return grid.digest_of([options.train, options.valid, options.test])


def report_of(
    found: Mapping[str, Mapping[str, Any]], data: TripleFiles, options: argparse.Namespace
) -> dict[str, Any]:
    dials = {
        "minutes": options.minutes,
        "memory": options.memory,
        "split": options.split,
        "models": options.model,
        "seeds": options.seeds,
        "files": [path.name for path in (options.train, options.valid, options.test)],
        "digest": digest(options),
        "entities": data.graph.entity_count,
        "triples": [len(data.train), len(data.valid), len(data.test)],
        "unseen_entities": data.unseen_entities,
        "unseen_relations": list(data.unseen_relations),
        "validation_sample": min(SAMPLE, len(data.valid)),
    }
    report = as_report(rows_of(found.values()), header_of(found.values(), dials))
    by_cell = {
        key: {name: cell[key] for name, cell in found.items() if key in cell}
        for key in ("curve", "dials", "reasons")
    }
    seeds: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell in found.values():
        seeds.setdefault(cell["model"], {})[cell["seed"]] = cell
    unlike = {name: told for name, cells in seeds.items() if (told := mixed(cells))}
    return {**report, "curves": by_cell.pop("curve"), **by_cell, "not_measured_alike": unlike}


def run(options: argparse.Namespace) -> grid.Outcome:
    """Measure what is missing and write the report, with `--list` neither.

    A run that fails is in the outcome. Raises `KgeError` for what no run could begin with.
    """
    _check(options)
    if options.model == ["all"]:
        options.model = _all()
    options.model = _with_dials(options.model, options.dial)
    # Without a suffix to take off, folder and file would have one name.
    beside = options.json.with_suffix("")
    if beside == options.json:
        beside = options.json.with_name(f"{options.json.name}-runs")
    options.out = options.out or beside
    data = read_triples(options.train, options.valid, options.test)
    _tell(data)
    outcome = grid.measure(cells(data, options), options, (KgeError,))
    if options.list:
        return outcome
    if not outcome.found:
        grid.console.print(f"nothing was measured, so {options.json} is left as it is")
        return outcome
    report = report_of(outcome.found, data, options)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    grid.console.print(table_of(rows_of(outcome.found.values())))
    grid.console.print(f"all figures and curves: {options.json}")
    if options.page:
        runs = read(options.out / "cells", digest(options))
        link_pages.write(options.page, runs, _command(options), report["header"]["dials"])
        grid.console.print(f"page: {options.page / 'README.md'}")
    return outcome


def _check(options: argparse.Namespace) -> None:
    """Raise `SystemExit` for what could not be measured, or not be written at the end."""
    if not options.minutes > 0:
        raise SystemExit(f"error: --minutes should be above 0, received {options.minutes:g}")
    if options.seeds < 1:
        raise SystemExit(f"error: --seeds should be at least 1, received {options.seeds}")
    if options.json.is_dir():
        raise SystemExit(f"error: --json should be a file, received the folder {options.json}")
    if options.page and options.split != "test":
        raise SystemExit(
            f"error: --page should go with --split test, whose figures it shows, "
            f"received {options.split}"
        )
    if options.list:
        return
    for name, folder in (("json", options.json.parent), ("page", options.page)):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            said = f"error: --{name} needs the folder {folder}, which cannot be: {error.strerror}"
            raise SystemExit(said) from error


def _with_dials(models: Sequence[str], dials: Sequence[str]) -> list[str]:
    """Every model by its one name, each once. Raises `UnknownModel` and `ConfigError`."""
    for name in models:
        model(name)
    if dials and not any(is_arm(name) for name in models):
        raise SystemExit(
            f"error: --dial should go with one of {', '.join(ARMS)} as --model, "
            f"received {', '.join(models)}"
        )
    return list(dict.fromkeys(with_dials(name, dials) for name in models))


def _all() -> list[str]:
    """Every model whose libraries load; the others are named on the screen."""
    without = left_out()
    for name, reason in without.items():
        grid.console.print(f"left out: {name}: {reason}", markup=False)
    return [name for name in MODELS if name not in without]


def cells(data: TripleFiles, options: argparse.Namespace) -> dict[str, grid.Measure]:
    """A cell per model and seed; what a training leaves lies in `options.out`."""
    made: dict[str, grid.Measure] = {}
    files, memory = digest(options), options.memory
    for seed in range(options.seeds):
        for name in options.model:
            cell = cell_name(name, seed, options.minutes, files, memory=memory, split=options.split)
            made[cell] = partial(
                measure,
                data,
                name,
                seed,
                minutes=options.minutes,
                memory=machine() * 3 // 4 if memory is None else memory,
                ranks_file=options.out / "cells" / f"{cell}.npy",
                split=options.split,
            )
    return made


def _command(options: argparse.Namespace) -> str:
    """The command but for what differs by run."""
    by_run = ("minutes", "model", "dial", "seeds", "memory")
    given = printed.given(arguments(), options, leave=by_run)
    return f".venv/bin/python benchmarks/link_prediction.py {given}"


def _tell(data: TripleFiles) -> None:
    graph = data.graph
    grid.console.print(
        f"{graph.entity_count:,} entities, {len(graph.relations):,} relations, "
        f"{len(data.train):,} training, {len(data.valid):,} validation, "
        f"{len(data.test):,} test triples"
    )
    if data.unseen_entities:
        grid.console.print(
            f"{data.unseen_entities:,} entities are not in training: ranked, with untrained vectors"
        )
    if data.unseen_relations:
        grid.console.print(
            f"not in training, all answers ranked equal: {', '.join(data.unseen_relations)}"
        )


def main() -> None:
    try:
        outcome = run(arguments().parse_args())
    except KgeError as error:
        raise SystemExit(f"error: {error}") from error
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
