"""Scores over HTTP: how long one client waits, and what many clients at once get.

    .venv/bin/python benchmarks/score.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. Run it alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from aims import Aim
from callers import ask, at_once
from matplotlib import pyplot as plt
from pictures import finish
from publish import About, publish
from scoring_service import ARM, BUCKETS, Made, ranker_dials, service_of
from served import server

from graphsvc.report import Row
from graphsvc.report import rows_of as report_rows
from graphsvc.snapshot import Span
from ranking.bundle import Ranker
from ranking.idtables.served import SealedRows
from ranking.intervals import t_interval
from ranking.model import ModelShape, row_width

#: What its ID rows are held in.
PRECISIONS = ("trained", "int8")
PATH = "/v1/score"
CANDIDATES = (100, 500)
#: One client: calls that count, and those before.
CALLS, WARM = 1_000, 200
#: Many at once: how many, asking for 100 candidates each, by how many server processes.
CLIENTS, PROCESSES, SECONDS = (1, 2, 4, 8, 16, 32), 2, 10.0
AIMS = (
    Aim("score_p50_ms", at_most=4.0, where=".*100 candidates"),
    Aim("score_p99_ms", at_most=12.0, where=".*100 candidates"),
    Aim("score_p99_ms", at_most=30.0, where=".*500 candidates"),
)
_TITLE = "Scores over HTTP"
_WORDS = f"""
`POST /v1/score` of a server as `graphsvc serve` starts it, on SQLite, with the graph and the log of
MovieLens-100k, cut at the same moments for all (as a service is). The ranker has the default dials
of arm `{ARM}`, but for {BUCKETS:,} hashed rows on either side, so that each of its two ID tables
has more than a million rows. Heads are all users in turn, most of whom training has not seen: they
are folded in from what they did. Candidates are any films.

- `score_p50_ms`, `score_p99_ms`: one client that waits for each answer, {CALLS:,} calls, another
  server for each turn; the t interval is over turns. `forward_p50_ms`: encoding and network alone,
  of the same candidates, in a process without a server.
- `answers_per_second`, `loaded_p50_ms`, `loaded_p99_ms`: so many clients at once, each of which
  asks for 100 candidates as soon as it has its answer, for {SECONDS:g} s; {PROCESSES} server
  processes. Clients and servers share the machine's cores.
- `trained`, `int8`: the numbers of ID rows. `test_auc` is that of the report of this very
  ranker; `x_0`, `layers`, `tokens` are the sizes of its network.

![answers and waiting by clients](saturation.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/score")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--turns", type=int, default=5)
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name; turns are outermost, so that the machine's moods hit all alike."""
    made: dict[str, grid.Measure] = {}
    for precision in PRECISIONS:
        told = asdict(ranker_dials(precision))
        made[grid.named(f"ranker-{precision}", told)] = partial(_ranker, options, precision)
    for turn in range(1, options.turns + 1):
        for precision in PRECISIONS:
            told = asdict(ranker_dials(precision))
            for count in CANDIDATES:
                name = grid.named(f"alone-{precision}-{count}-{turn}", told, CALLS, WARM)
                made[name] = partial(_alone, options, precision, count, turn)
    for precision in PRECISIONS:
        told = asdict(ranker_dials(precision))
        for clients in CLIENTS:
            name = grid.named(f"loaded-{precision}-{clients}", told, PROCESSES, SECONDS)
            made[name] = partial(_loaded, options, precision, clients)
    return made


def _ranker(options: argparse.Namespace, precision: str) -> Mapping[str, Any]:
    """How good it is, how large, and how long encoding and network alone take."""
    made = service_of(options.data, options.work, precision)
    ranker, store = made.opened(), made.shop.store
    [auc] = [
        row
        for row in report_rows(store.open("report", made.digests["report"]).payload)
        if (row.metric, row.model, row.split) == ("auc", f"ranker_{ARM}", "global_time/test")
    ]
    rows = made.shop.examples(made.digests["snapshot"], made.digests["bundle"]).rows[Span.TEST]
    torch.set_num_threads(1)
    forward: dict[str, float] = {}
    for count in CANDIDATES:
        heads, shown = rows.heads.take(np.arange(1)), rows.exposures.take(np.arange(1))
        tails = rows.tails.take(np.arange(count))
        work = partial(ranker.scored, heads, tails, shown)
        spent = [_timed(work) for _ in range(WARM + CALLS)]
        forward[str(count)] = percentiles(spent[WARM:])["p50_ms"]
    with torch.inference_mode():
        weights = ranker.model.parts(ranker.encoder.encode(heads, tails, shown)).weights
    shape, config = ModelShape(**ranker.artifact.payload["shape"]), ranker.config
    return {
        "test_auc": [auc.value, auc.lo, auc.hi],
        "forward_p50_ms": forward,
        "x_0": row_width(shape, config),
        "layers": config.crossing.layers,
        "tokens": 0 if weights is None else weights.shape[-1],
        "table_rows": [shape.head_rows, shape.tail_rows],
        "table_mib": sum(rows.bytes for rows in _tables(ranker)) / 2**20,
        "ranker": ranker.digest,
    }


def _alone(options: argparse.Namespace, precision: str, count: int, turn: int) -> Mapping[str, Any]:
    """One client that waits for each of its answers."""
    made = service_of(options.data, options.work, precision)
    bodies = _bodies(made, count, seed=turn)
    with server(made.folder, "") as running, closing(running.connect()) as connection:
        spent = [ask(connection, running, PATH, body) for body in bodies]
        peak = running.peak_mib
    return {**percentiles(spent[WARM:]), "server_peak_mib": peak}


def _loaded(options: argparse.Namespace, precision: str, clients: int) -> Mapping[str, Any]:
    """Many clients at once."""
    made = service_of(options.data, options.work, precision)
    bodies = _bodies(made, CANDIDATES[0], seed=clients)
    with server(made.folder, "", GRAPHSVC_PROCESSES=str(PROCESSES)) as running:
        spent = at_once(running, PATH, bodies, clients=clients, seconds=SECONDS)
    return {"answers_per_second": len(spent) / SECONDS, **percentiles(spent)}


def _bodies(made: Made, count: int, *, seed: int) -> list[bytes]:
    """Requests of all users in turn, with candidates drawn by chance."""
    users, films = made.ids("user"), made.ids("film")
    draw = np.random.default_rng(seed)
    first = int(draw.integers(len(users)))
    return [
        orjson.dumps(
            {
                "head": {"type": "user", "id": users[(first + n) % len(users)]},
                "candidates": [films[k] for k in draw.choice(len(films), count, replace=False)],
            }
        )
        for n in range(WARM + CALLS)
    ]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """The middle, and what one in a hundred is above, in milliseconds."""
    p50, p99 = np.percentile(np.array(seconds) * 1e3, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of all cells; those of turns as their mean with a t interval."""
    made: list[Row] = []
    for precision in PRECISIONS:
        told = next((c for n, c in found.items() if n.startswith(f"ranker-{precision}-")), None)
        if told is not None:
            made += _of_ranker(precision, told)
        for count in CANDIDATES:
            turns = [c for n, c in found.items() if n.startswith(f"alone-{precision}-{count}-")]
            made += _of_turns(precision, count, turns)
        for clients in CLIENTS:
            for name, cell in found.items():
                if name.startswith(f"loaded-{precision}-{clients}-"):
                    made += _of_crowd(precision, clients, cell)
    return made


def _of_ranker(precision: str, told: Mapping[str, Any]) -> list[Row]:
    auc, low, high = told["test_auc"]
    where = {"split": precision, "model": ARM}
    sizes = {"x_0": "numbers", "layers": "layers", "tokens": "tokens", "table_mib": "MiB"}
    return [
        Row(metric="test_auc", value=auc, unit="share", lo=low, hi=high, **where),
        *(Row(metric=name, value=told[name], unit=unit, **where) for name, unit in sizes.items()),
        *(
            Row(
                metric="forward_p50_ms",
                value=value,
                unit="ms",
                split=f"{precision}/{count} candidates",
                model=count,
            )
            for count, value in told["forward_p50_ms"].items()
        ),
    ]


def _of_turns(precision: str, count: int, turns: Sequence[Mapping[str, Any]]) -> list[Row]:
    if not turns:
        return []
    figures = {"p50_ms": "score_p50_ms", "p99_ms": "score_p99_ms", "server_peak_mib": "server_peak"}
    where = {"split": f"{precision}/{count} candidates", "model": str(count), "seed": "all"}
    made = []
    for name, metric in figures.items():
        value, low, high = t_interval([turn[name] for turn in turns])
        unit = "MiB" if name.endswith("mib") else "ms"
        made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **where))
    return made


def _of_crowd(precision: str, clients: int, cell: Mapping[str, float]) -> list[Row]:
    where = {"split": f"{precision}/{clients} clients", "model": str(CANDIDATES[0])}
    units = {"answers_per_second": "answers/s", "p50_ms": "ms", "p99_ms": "ms"}
    names = {"p50_ms": "loaded_p50_ms", "p99_ms": "loaded_p99_ms"}
    return [
        Row(metric=names.get(name, name), value=cell[name], unit=unit, **where)
        for name, unit in units.items()
    ]


def draw(file: Path, rows: Sequence[Row]) -> None:
    """Answers per second and waiting, by clients at once."""
    crowds = [row for row in rows if row.split.endswith(" clients")]
    if not crowds:
        return
    figure, (left, right) = plt.subplots(ncols=2, figsize=(9.6, 3.6), layout="constrained")
    for precision in PRECISIONS:
        own = {
            metric: sorted(
                (int(row.split.split("/")[1].split()[0]), row.value)
                for row in crowds
                if row.metric == metric and row.split.startswith(f"{precision}/")
            )
            for metric in ("answers_per_second", "loaded_p50_ms", "loaded_p99_ms")
        }
        if not own["answers_per_second"]:
            continue
        [line] = left.plot(*zip(*own["answers_per_second"], strict=True), "o-", label=precision)
        color = line.get_color()
        right.plot(*zip(*own["loaded_p50_ms"], strict=True), "o-", color=color)
        right.plot(*zip(*own["loaded_p99_ms"], strict=True), "s:", color=color)
    for axes, says in ((left, "answers per second"), (right, "ms: p50 (line), p99 (dotted)")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(CLIENTS, [str(clients) for clients in CLIENTS])
        axes.set_xlabel("clients at once")
        axes.set_ylabel(says)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    finish(file, figure, left)


def _tables(ranker: Ranker) -> list[SealedRows]:
    return [table.rows for table in (ranker.model.head_table, ranker.model.tail_table)]


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    draw(options.out / "saturation.png", rows)
    dials = {"turns": options.turns, "processes": PROCESSES, "seconds": SECONDS, "calls": CALLS}
    given = printed.given(parser(), options)
    about = About("score", _TITLE, _WORDS.strip(), "candidates", given, AIMS)
    publish(options.out, rows, found, dials, about)


if __name__ == "__main__":
    main()
