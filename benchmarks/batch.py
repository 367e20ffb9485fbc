"""Batch scoring: how fast `graphsvc score-file` is, beside the ranker's network alone.

    .venv/bin/python benchmarks/batch.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. The service is
that of `benchmarks/score.py`, which finds it in the same `--work`. Run it alone.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))

import apart
import batch_tasks
import grid
import printed
from aims import Aim
from matplotlib import pyplot as plt
from pictures import finish
from publish import About, publish
from scoring_service import ARM, BUCKETS, Made, ranker_dials, service_of

from api.scorefile import PART_ROWS
from graphsvc.report import Row
from ranking.intervals import t_interval

#: What ID rows are held in: as they were trained.
PRECISION = "trained"
#: Pairs in the order of their heads, and in any.
KINDS = ("sorted by head", "shuffled")
#: Candidates of a head, before the next one has its turn.
CANDIDATES = 500
#: Parts between which a rate is told: of fewer, the ends of the first and the last say too much.
_PARTS = 8
AIMS = (Aim("share_of_forward", at_least=0.7),)
_FORWARD, _BOTH, _FILE = "bare forward", "features and forward", "score-file"
_TITLE = "Batch scoring"
_WORDS = f"""
`graphsvc score-file` in a process of its own, on a service with the graph and the log of
MovieLens-100k, cut at the same moments for all. The ranker has the default dials of arm `{ARM}`,
but for {BUCKETS:,} hashed rows on either side. Each user in turn has {CANDIDATES} films, drawn by
chance, and again until there are enough; `shuffled` has the same pairs in any order. Those users
and films whom training has not seen are folded in from what the log says of them.

- `pairs_per_second` of `{_FORWARD}`: the network as it is served, in ONNX Runtime, on the very
  pairs of the file, whose features are in memory; ID rows are looked up, which is part of it. Of
  all pairs in one call and batches side by side, the faster counts. `{_BOTH}`: with the features of
  pairs gathered from those of their entities. `{_FILE}`: by the seconds that the command tells,
  from the first row read to the last part written. In them each entity is looked up once, in the
  database. What went before and came after, loading Python, libraries, bundle, index and ranker, is
  `start_seconds`.
- `share_of_forward`: that of `{_FILE}` by that of `{_FORWARD}`, in the same turn; who is first
  changes from turn to turn. `share_between_parts`: the same from the end of the first part to that
  of the last one. Most entities are looked up for the first part, so this is about what a longer
  file gets.
- Every process may use as many cores as it has threads.

![pairs a second](rates.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/batch")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--turns", type=int, default=5)
    made.add_argument("--pairs", type=int, default=1_000_000, help="rows of each file")
    made.add_argument("--threads", type=int, default=1, help="of either side, and cores")
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name; turns are outermost, so that the machine's moods hit all alike."""
    told = (asdict(ranker_dials(PRECISION)), options.pairs, options.threads, CANDIDATES)
    return {
        grid.named(f"{kind.replace(' ', '-')}-{turn}", *told): partial(_turn, options, kind, turn)
        for turn in range(1, options.turns + 1)
        for kind in KINDS
    }


def _turn(options: argparse.Namespace, kind: str, turn: int) -> Mapping[str, Any]:
    """Both sides, one after the other; who is first changes."""
    made = service_of(options.data, options.work, PRECISION)
    file = pairs_file(made, kind, options.pairs)
    asked = {
        "data": str(made.folder / "data"),
        "file": str(file),
        "threads": options.threads,
    }
    found: dict[str, Any] = {"kind": kind}
    with on_cores(options.threads):
        sides = [
            partial(apart.run, batch_tasks.bare, asked, threads=1),
            partial(scored_file, made, file, options.threads),
        ]
        for side in sides if turn % 2 else reversed(sides):
            found |= side()
    found["share_of_forward"] = found["file_per_second"] / found["forward_per_second"]
    if "between_per_second" in found:
        found["share_between_parts"] = found["between_per_second"] / found["forward_per_second"]
    return found


def pairs_file(made: Made, kind: str, count: int) -> Path:
    """A file of pairs; it is written once."""
    file = made.folder / "pairs" / f"{kind.replace(' ', '-')}-{count}-{CANDIDATES}.parquet"
    if file.exists():
        return file
    users, films = made.ids("user"), made.ids("film")
    draw = np.random.default_rng(0)
    turns = -(-count // CANDIDATES)
    own = np.repeat(np.arange(turns) % len(users), CANDIDATES)[:count]
    each = min(CANDIDATES, len(films))
    others = np.concatenate(
        [np.resize(draw.choice(len(films), each, replace=False), CANDIDATES) for _ in range(turns)]
    )[:count]
    order = np.arange(count) if kind == KINDS[0] else draw.permutation(count)
    columns = {
        "head": pa.array(np.array(users, dtype=object)[own[order]]),
        "candidate": pa.array(np.array(films, dtype=object)[others[order]]),
    }
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    pq.write_table(pa.table(columns), unfinished)
    unfinished.replace(file)
    return file


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let processes that are started in the block use so many cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def scored_file(made: Made, file: Path, threads: int) -> dict[str, Any]:
    """The command, from its first row to its last part, between its parts, and around both."""
    to = made.folder / "scores"
    shutil.rmtree(to, ignore_errors=True)
    command = [sys.executable, "-m", "api", "score-file", str(file), "--to", str(to)]
    environment = {
        **os.environ,
        "GRAPHSVC_DATA_DIR": str(made.folder / "data"),
        "GRAPHSVC_DATABASE_URL": "",
    }
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--threads", str(threads), "--json"],
        env=environment,
        capture_output=True,
        check=False,
    )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"score-file ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    told = json.loads(done.stdout)
    if told["unscored"] or told["resumed"]:
        raise SystemExit(f"every pair should have been scored, received {told}")
    ends = [part.stat().st_mtime_ns / 1e9 for part in sorted(to.glob("part-*.parquet"))]
    found = {
        "file_per_second": told["rows"] / told["seconds"],
        "start_seconds": wall - told["seconds"],
    }
    if len(ends) >= _PARTS:
        found["between_per_second"] = (told["rows"] - PART_ROWS) / (ends[-1] - ends[0])
    return found


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of all cells, as the mean of turns with a t interval."""
    figures = (
        ("pairs_per_second", _FORWARD, "forward_per_second", "pairs/s"),
        ("pairs_per_second", _BOTH, "both_per_second", "pairs/s"),
        ("pairs_per_second", _FILE, "file_per_second", "pairs/s"),
        ("share_of_forward", _FILE, "share_of_forward", "share"),
        ("share_between_parts", _FILE, "share_between_parts", "share"),
        ("start_seconds", _FILE, "start_seconds", "s"),
    )
    made: list[Row] = []
    for kind in KINDS:
        turns = [cell for cell in found.values() if cell["kind"] == kind]
        for metric, model, name, unit in figures:
            values = [turn[name] for turn in turns if name in turn]
            if len(values) > 1:  # one turn has no interval
                value, low, high = t_interval(values)
                where = {"split": kind, "model": model, "seed": "all"}
                made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **where))
    return made


def draw(file: Path, rows: Sequence[Row]) -> None:
    """Pairs a second of each, by the order of the file."""
    rates = [row for row in rows if row.metric == "pairs_per_second"]
    if not rates:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.0), layout="constrained")
    for number, model in enumerate((_FILE, _BOTH, _FORWARD)):
        own = [row for row in rates if row.model == model]
        places = [KINDS.index(row.split) + 0.25 * (number - 1) for row in own]
        axes.barh(places, [row.value for row in own], height=0.22, label=model)
    axes.set_yticks(range(len(KINDS)), KINDS)
    axes.set_xlabel("pairs a second")
    axes.grid(visible=True, axis="x", alpha=0.3)
    finish(file, figure, axes)


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    draw(options.out / "rates.png", rows)
    dials = {"turns": options.turns, "pairs": options.pairs, "threads": options.threads}
    given = printed.given(parser(), options)
    about = About("batch", _TITLE, _WORDS.strip(), "way", given, AIMS)
    publish(options.out, rows, found, dials, about)


if __name__ == "__main__":
    main()
