"""The tiers of a ranker: what a GPU adds, with ID tables beside the CPU and on the GPU.

    .venv/bin/python benchmarks/tiers.py

MovieLens-100k comes as for `graphsvc demo`: fetched once, or from `--data FOLDER`. The service is
that of `benchmarks/score.py`, which finds it in the same `--work`. Run it alone, on a machine with
a GPU; without one `--ways CPU` measures what there is.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import apart
import grid
import printed
import tiers_tasks
import torch
from callers import ask
from live_service import COMPUTED
from matplotlib import pyplot as plt
from pictures import finish
from publish import About, publish
from score import CALLS, CANDIDATES, PATH, PRECISIONS, WARM, bodies, percentiles
from scoring_service import ARM, BUCKETS, ranker_dials, service_of
from served import server, settle

from graphsvc.report import Row
from ranking.intervals import t_interval

_CPU, _NETWORK, _ALL = "CPU", "network on the GPU", "all on the GPU"
#: Way -> the settings of a server that takes it.
WAYS = {
    _CPU: {"GRAPHSVC_TIERS__DEVICE": "none"},
    _NETWORK: {"GRAPHSVC_TIERS__DEVICE": "cuda", "GRAPHSVC_TIERS__DEVICE_MIB": "0"},
    _ALL: {"GRAPHSVC_TIERS__DEVICE": "cuda", "GRAPHSVC_TIERS__DEVICE_MIB": "4096"},
}
_MIB = 2**20
_TITLE = "Tiers: ID tables and the network above them on a CPU and a GPU"
_WORDS = f"""
The ranker of `benchmarks/score.py`: MovieLens-100k, the default dials of arm `{ARM}`, but for
{BUCKETS:,} hashed rows on either side. A server places it by its settings: `{_CPU}`
(`GRAPHSVC_TIERS__DEVICE=none`: {COMPUTED} computes), `{_NETWORK}` (`cuda`, the ID tables mapped in
the CPU tier), `{_ALL}` (`cuda`, `DEVICE_MIB` so many that the tables are copied there). Vectors,
attributes and counters of entities are in memory; `trained`, `int8`: the numbers of ID rows.

- `pairs_per_second`: as `graphsvc score-file` computes pairs whose entities it has looked up, with
  so many workers of one thread: features are gathered, rows looked up, the network computed. A GPU
  is asked about all pairs of a worker at once, and looks rows of the next 4,096 up while it
  computes; the CPU is asked about 4,096 at once.
- `by_batch_by_batch`: that, by the rate of asking for 4,096 pairs, waiting for their logits, and
  then asking for the next; what looking up meanwhile adds. On the CPU both are the same.
- `score_p50_ms`, `score_p99_ms`: `POST /v1/score` over HTTP, one client that waits for each of
  {CALLS:,} answers.
- `logit_difference`: the farthest from training's network on the CPU with the same rows, of
  20,000 pairs. `device_held`: what tensors take of the GPU once the ranker is loaded;
  `device_planned`: what was planned.
- t intervals are over turns, each a process of its own; a figure of a single turn has none.

![pairs a second by way](rates.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/tiers")
    made.add_argument("--data", type=Path, help="folder of the five ml-100k files")
    made.add_argument("--work", type=Path, default=Path("build/score"), help="kept between runs")
    made.add_argument("--turns", type=int, default=3)
    made.add_argument("--pairs", type=int, default=262_144, help="pairs of a run")
    made.add_argument(
        "--workers", type=int, nargs="+", default=[1], help="of a process, each alone"
    )
    made.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name; turns are outermost, so that the machine's moods hit all alike."""
    made: dict[str, grid.Measure] = {}
    for turn in range(1, options.turns + 1):
        for precision in PRECISIONS:
            told = (asdict(ranker_dials(precision)), COMPUTED)
            for way in options.ways:
                label = f"{precision}-{way.replace(' ', '-')}"
                for workers in options.workers:
                    name = grid.named(f"rates-{label}-{workers}-{turn}", *told, options.pairs)
                    made[name] = partial(_rates, options, precision, way, workers)
                for count in CANDIDATES:
                    name = grid.named(f"asked-{label}-{count}-{turn}", *told, CALLS, WARM)
                    made[name] = partial(_asked, options, precision, way, (count, turn))
    return made


def _rates(
    options: argparse.Namespace, precision: str, way: str, workers: int
) -> Mapping[str, Any]:
    """Many pairs, in a process of its own."""
    where = _where(way)
    made = service_of(options.data, options.work, precision)
    asked = {"data": str(made.folder / "data"), "pairs": options.pairs, "workers": workers}
    kept = {name: os.environ.get(name) for name in WAYS[way]}
    os.environ.update(WAYS[way])
    try:
        told = apart.run(tiers_tasks.rates, asked, threads=1)
    finally:
        for name, value in kept.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    return {"way": way, "precision": precision, "workers": workers, **told, **where}


def _asked(
    options: argparse.Namespace, precision: str, way: str, asked: tuple[int, int]
) -> Mapping[str, Any]:
    """One client that waits for each of its answers."""
    where, (count, turn) = _where(way), asked
    made = service_of(options.data, options.work, precision)
    given = bodies(made, count, seed=turn)
    with server(made.folder, "", **WAYS[way]) as running, closing(running.connect()) as connection:
        settle(running)
        spent = [ask(connection, running, PATH, body) for body in given]
    told = percentiles(spent[WARM:])
    return {"way": way, "precision": precision, "candidates": count, **told, **where}


def _where(way: str) -> dict[str, str]:
    """The GPU that is measured. Raises `SystemExit` where there is none."""
    if way == _CPU:
        return {}
    if not torch.cuda.is_available():
        raise SystemExit(f"error: torch finds no GPU here; `--ways {_CPU}` measures without one")
    return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of all cells, as the mean of turns with a t interval."""
    told: dict[tuple[str, str, str, str], list[float]] = {}
    for cell in found.values():
        for split, metric, unit, value in _asked_figures(cell) + _rate_figures(cell):
            told.setdefault((f"{cell['precision']}/{split}", metric, cell["way"], unit), [])
            told[f"{cell['precision']}/{split}", metric, cell["way"], unit].append(value)
    made = []
    for (split, metric, way, unit), values in sorted(told.items()):
        interval = t_interval(values) if len(values) > 1 and unit not in {"MiB", ""} else None
        value, low, high = interval or (max(values), None, None)
        where = {"split": split, "model": way, "seed": "all"}
        made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **where))
    return made


_Figure = tuple[str, str, str, float]


def _asked_figures(cell: Mapping[str, Any]) -> list[_Figure]:
    if "candidates" not in cell:
        return []
    split = f"{cell['candidates']} candidates"
    return [(split, f"score_{name}", "ms", cell[name]) for name in ("p50_ms", "p99_ms")]


def _rate_figures(cell: Mapping[str, Any]) -> list[_Figure]:
    if "workers" not in cell:
        return []
    many = "worker" if cell["workers"] == 1 else "workers"
    split = f"{cell['workers']} {many}"
    best, batch = (_middle(cell[f"{name}_per_second"]) for name in ("as_is_best", "by_batch"))
    return [
        (split, "pairs_per_second", "pairs/s", best),
        (split, "by_batch_by_batch", "ratio", best / batch),
        ("placed", "logit_difference", "", cell["logit_difference"]),
        ("placed", "device_planned", "MiB", cell["device_planned_bytes"] / _MIB),
        ("placed", "device_held", "MiB", cell["device_held_bytes"] / _MIB),
    ]


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def draw(file: Path, rows: Sequence[Row]) -> None:
    """Pairs a second of each way, by precision and workers."""
    rates = [row for row in rows if row.metric == "pairs_per_second"]
    if not rates:
        return
    splits = sorted({row.split for row in rates})
    figure, axes = plt.subplots(figsize=(8.4, 1.2 + 0.7 * len(splits)), layout="constrained")
    for number, way in enumerate(WAYS):
        own = [row for row in rates if row.model == way]
        places = [splits.index(row.split) + 0.26 * (number - 1) for row in own]
        axes.barh(places, [row.value for row in own], height=0.24, label=way)
    axes.set_yticks(range(len(splits)), splits)
    axes.set_xlabel("pairs a second")
    axes.grid(visible=True, axis="x", alpha=0.3)
    finish(file, figure, axes)


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    draw(options.out / "rates.png", rows)
    gpus = sorted({cell["gpu"] for cell in found.values() if "gpu" in cell})
    dials = {"turns": options.turns, "pairs": options.pairs, "gpu": ", ".join(gpus) or "none"}
    given = printed.given(parser(), options)
    words = f"{_WORDS.strip()}\n\nThe GPU: {dials['gpu']}."
    publish(options.out, rows, found, dials, About("tiers", _TITLE, words, "way", given))


if __name__ == "__main__":
    main()
