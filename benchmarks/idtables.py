"""The large ID tables: how fast, how large, how good by their bytes, and in how few bits.

    .venv/bin/python benchmarks/idtables.py

FBGEMM is not among what `make setup` installs: `.venv/bin/pip install fbgemm-gpu-cpu==1.8.0`. Where
it is missing its cells fail by name and all others are measured.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import apart
import grid
import printed
from aims import Aim
from idtables_tasks import carrying, quality, speed
from matplotlib import pyplot as plt
from pages import processor_of
from pictures import finish
from publish import About, publish

from graphsvc.report import Row
from ranking.intervals import t_interval

#: Seeds and turns that there is a point of Student's t for.
MOST_SEEDS = 11
AIMS = (
    Aim("auc_change_by_int8", at_most=1e-4),
    Aim("auc_change_by_int4", at_most=1e-3),
)
#: Share of a side's rows that belong to one id alone, by placement; `hashed` has one such row.
PLACEMENTS = {"own and hashed": 7 / 8, "hashed": 0.0}
#: Of rows that go on; its second form, with a ranker of the same rows to compare with.
CARRYING = "carrying-2"
_TITLE = "Large ID tables: speed, bytes, AUC"
_WORDS = """
**Speed.** A ranker without a KGE whose two ID tables have {rows:,} rows of {dim} numbers together
is trained by `ranking.train.train_step`, in batches of {batch} exposures whose ids are drawn by a
power law (rank n as often as n^-.75); every exposure names a row of each table. All of a table and
of what its optimizer remembers is written to once before the clock starts, so that memory is what
it would be after long training; {warm} steps are not timed. `rows_per_second` are exposures, by the
sum of all timed steps. `training_memory` is by how much the peak of the process is above what it
held before it made the model; `planned_memory` what the planner says of rows and optimizer.
`where` is the optimizer, the backend that moved the rows, and the precision.

**AUC by bytes.** {quality_rows:,} exposures of {users:,} people and {items:,} things, drawn alike;
their outcomes follow `logit = c + a_u + b_i + <p_u, q_i>`, and the ranker reads nothing but the
ids, so all that it knows lies in its tables. These have 2^k rows, half of them for each side.
`own and hashed`: seven eighths belong to the most frequent ids, one eighth is shared through two
hashes; `hashed`: all are shared. No id has two rows of its own. `best_auc` is that of
the true chances. AUC is of the last tenth of the exposures; `auc_by_rows_of_user` goes by how often
TRAIN has the person. `shared_rows`: the share of TRAIN's exposures whose person has a row that is
another person's as well, `twin_rows`: both rows of whom are the same other person's. This is a
simulated world: it explains, and decides nothing about real data.

**Bits.** `auc_change_by_int8`, `_int4`: the absolute difference of AUC on the same exposures when
rows are read from tables of so many bits, by run; `table_bytes_by_int8`: their bytes, scales and
biases included.

**Optimizers.** The same ranker on the largest table: AdamW, and Adagrad by row at several rates,
in float32 and bfloat16. Which rate is best is told by `valid_auc`.

**From one retrain to the next.** The older half of TRAIN is another ranker's, of which there is
left what `carry` takes. `auc_when_carried`: `newer` learns from the newer half alone, its rows from
0; `without sums` begins with the rows of the former ranker, `carried` with what Adagrad remembers
of them as well; `whole` learns from both halves anew. What is above rows begins anew in each
training, so rows that go on are moved in one training more: `again` and `again without sums` go on
from a ranker of the newer half itself, and what `carried` is above them is what the older half is
worth. `auc_change_by_carrying` is against `newer`, `auc_change_by_sums` of `carried` against
`without sums`, both on the same exposures, by run. `rate` is Adagrad's, of all trainings of a line.

Speed is of processes of their own. Intervals are t intervals over turns or seeds.

![AUC by bytes](auc.png)
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Everything that has a size; a test's are small."""

    rows: int = 20_000_000
    dim: int = 64
    batch: int = 4096
    steps: int = 60
    warm: int = 10
    turns: int = 5
    threads: int = os.cpu_count() or 1
    #: optimizer, backend, precision of the arms whose speed is measured
    arms: Sequence[tuple[str, str, str]] = (
        ("adagrad", "torch", "float32"),
        ("adagrad", "torch", "bfloat16"),
        ("adagrad", "fbgemm", "float32"),
        ("adamw", "torch", "float32"),
    )
    #: of worlds: none of their figures is of time, so that other work may run beside them
    world_threads: int = 1
    quality_rows: int = 1 << 20
    users: int = 1 << 17
    items: int = 1 << 15
    numbers: int = 32
    powers: Sequence[int] = (8, 10, 12, 14, 16, 18)
    seeds: int = 3
    training: Mapping[str, Any] = field(
        default_factory=lambda: {"epochs": 4, "batch": 2048, "patience": 1}
    )
    #: steps of Adagrad
    rates: Sequence[float] = (0.000078125, 0.0003125, 0.00125, 0.005, 0.02, 0.08)

    @property
    def carried(self) -> dict[str, dict[str, Any]]:
        """Dials of the tables whose rows go on, by Adagrad's rate."""
        alike = {"optimizer": "adagrad", "backend": "torch"}
        return {f"rate={rate:g}": alike | {"adagrad_rate": rate} for rate in self.rates}

    @property
    def optimizers(self) -> dict[str, dict[str, Any]]:
        """Arm -> dials of the tables."""
        made: dict[str, dict[str, Any]] = {"adamw/float32": {"optimizer": "adamw"}}
        for precision in ("float32", "bfloat16"):
            for rate in self.rates:
                made[f"adagrad/{precision}/rate={rate:g}"] = {
                    "optimizer": "adagrad",
                    "backend": "torch",
                    "precision": precision,
                    "adagrad_rate": rate,
                }
        return made


class NotInstalled(Exception):
    """A backend of the tables is not installed; the page says how."""


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/idtables")
    parser.set_defaults(budget_minutes=120.0)
    parser.add_argument("--turns", type=int, default=Sizes().turns, help="of each speed")
    parser.add_argument("--seeds", type=int, default=Sizes().seeds, help="of each world")
    return parser


def cells(sizes: Sizes, run: apart.Run = apart.run) -> dict[str, grid.Measure]:
    """Every cell by its name: speed turn by turn, then worlds."""
    made: dict[str, grid.Measure] = {}
    for turn in range(1, sizes.turns + 1):
        for arm in sizes.arms if turn % 2 else sizes.arms[::-1]:
            made[speed_cell(sizes, arm, turn)] = partial(_speed, sizes, arm, run)
    for seed in range(1, sizes.seeds + 1):
        for power in sizes.powers:
            for placement in PLACEMENTS:
                ids = placed(sizes, placement, power)
                name = quality_cell(sizes, f"auc-2^{power}-{placement}", ids, seed)
                made[name] = partial(_quality, sizes, ids, seed, run)
        for arm, dials in sizes.optimizers.items():
            ids = largest(sizes) | dials
            name = quality_cell(sizes, f"optimizer-{arm}", ids, seed)
            made[name] = partial(_quality, sizes, ids, seed, run)
        for arm, dials in sizes.carried.items():
            ids = largest(sizes) | dials
            name = quality_cell(sizes, f"{CARRYING}-{arm}", ids, seed)
            made[name] = partial(_quality, sizes, ids, seed, run, task=carrying)
    return made


def placed(sizes: Sizes, placement: str, power: int) -> dict[str, Any]:
    """Dials of a side's table of 2^power / 2 rows."""
    side = 2**power // 2
    own = max(1, int(side * PLACEMENTS[placement]))
    return {"dim": sizes.numbers, "min_rows": 1, "max_exclusive": own, "buckets": side - own}


def largest(sizes: Sizes) -> dict[str, Any]:
    return placed(sizes, "own and hashed", max(sizes.powers))


def speed_cell(sizes: Sizes, arm: tuple[str, str, str], turn: int) -> str:
    dials = [sizes.rows, sizes.dim, sizes.batch, sizes.steps, sizes.warm, sizes.threads]
    return grid.named(f"speed-{'-'.join(arm)}-{turn}", dials)


def quality_cell(sizes: Sizes, what: str, ids: Mapping[str, Any], seed: int) -> str:
    plain = what.replace("/", "-").replace(" ", "-")
    world = [sizes.quality_rows, sizes.users, sizes.items, dict(sizes.training)]
    return grid.named(f"{plain}-{seed}", [*world, sizes.world_threads], dict(ids))


def _speed(sizes: Sizes, arm: tuple[str, str, str], run: apart.Run) -> Mapping[str, Any]:
    optimizer, backend, precision = arm
    if backend == "fbgemm" and importlib.util.find_spec("fbgemm_gpu") is None:
        raise NotInstalled(f"{NotInstalled.__doc__} Looked for fbgemm_gpu")
    asked = {
        "rows": sizes.rows,
        "dim": sizes.dim,
        "ids": {"optimizer": optimizer, "backend": backend, "precision": precision},
        "batch": sizes.batch,
        "steps": sizes.steps,
        "warm": sizes.warm,
    }
    return run(speed, asked, threads=sizes.threads)


def _quality(
    sizes: Sizes,
    ids: Mapping[str, Any],
    seed: int,
    run: apart.Run,
    *,
    task: Callable[..., dict[str, Any]] = quality,
) -> Mapping[str, Any]:
    asked = {
        "rows": sizes.quality_rows,
        "users": sizes.users,
        "items": sizes.items,
        "seed": seed,
        "ids": dict(ids),
        "training": dict(sizes.training),
    }
    return run(task, asked, threads=sizes.world_threads)


def rows_of(found: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> list[Row]:
    """Every figure of the page: by run, and of all runs."""
    rows = []
    table = f"{sizes.rows:,} rows of {sizes.dim}"
    for arm in sizes.arms:
        names = {turn: speed_cell(sizes, arm, turn) for turn in range(1, sizes.turns + 1)}
        rows += _of(found, names, table, "/".join(arm), _speeds)
    for placement in PLACEMENTS:
        for power in sizes.powers:
            ids = placed(sizes, placement, power)
            what = f"auc-2^{power}-{placement}"
            rows += _of(found, _names(sizes, what, ids), f"2^{power} rows", placement, _qualities)
    for arm, dials in sizes.optimizers.items():
        names = _names(sizes, f"optimizer-{arm}", largest(sizes) | dials)
        rows += _of(found, names, f"2^{max(sizes.powers)} rows, optimizers", arm, _aucs)
    for arm, dials in sizes.carried.items():
        names = _names(sizes, f"{CARRYING}-{arm}", largest(sizes) | dials)
        rows += _of(
            found, names, f"2^{max(sizes.powers)} rows, {arm}", "rows begin with ", _carried
        )
    return rows


def _names(sizes: Sizes, what: str, ids: Mapping[str, Any]) -> dict[int, str]:
    return {seed: quality_cell(sizes, what, ids, seed) for seed in range(1, sizes.seeds + 1)}


Figures = dict[tuple[str, str, str], float]


def _of(
    found: Mapping[str, Mapping[str, Any]],
    names: Mapping[int, str],
    model: str,
    split: str,
    figures: Callable[[Mapping[str, Any]], Figures],
) -> list[Row]:
    """A row per run, and one of all: the mean and its t interval, if one processor ran them."""
    told = {number: found[name] for number, name in names.items() if name in found}
    values = {number: figures(cell) for number, cell in told.items()}
    alike = len({processor_of(cell) for cell in told.values()}) == 1
    rows = []
    for metric, unit, part in dict.fromkeys(key for each in values.values() for key in each):
        same = {"metric": metric, "unit": unit, "split": f"{split}{part}", "model": model}
        key = (metric, unit, part)
        own = {n: each[key] for n, each in values.items() if key in each}
        rows += [Row(value=value, seed=number, **same) for number, value in own.items()]
        lo = hi = None
        if len(own) > 1 and (alike or unit == "AUC"):
            _, lo, hi = t_interval(list(own.values()))
        rows.append(Row(value=mean(own.values()), lo=lo, hi=hi, seed="all", **same))
    return rows


def _speeds(cell: Mapping[str, Any]) -> Figures:
    return {
        ("rows_per_second", "rows/s", ""): cell["rows_per_second"],
        ("training_memory", "MiB", ""): cell["own_mib"],
        ("planned_memory", "MiB", ""): cell["planned_mib"],
        ("settle_seconds", "s", ""): cell["settle_seconds"],
    }


def _aucs(cell: Mapping[str, Any]) -> Figures:
    return {("auc", "AUC", ""): cell["auc"], ("valid_auc", "AUC", ""): cell["valid_auc"]}


def _carried(cell: Mapping[str, Any]) -> Figures:
    told = cell["carrying"]
    made = {("auc_when_carried", "AUC", name): value for name, value in told.items()}
    changes = {name: value - told["newer"] for name, value in told.items() if name != "newer"}
    made |= {("auc_change_by_carrying", "AUC", name): one for name, one in changes.items()}
    return made | {("auc_change_by_sums", "AUC", "carried"): told["carried"] - told["without sums"]}


def _qualities(cell: Mapping[str, Any]) -> Figures:
    made = _aucs(cell) | {
        ("best_auc", "AUC", ""): cell["best_auc"],
        ("table_bytes", "bytes", ""): cell["bytes"],
    }
    for bits, told in cell["bits"].items():
        made["auc_change_by_int" + bits, "AUC", ""] = abs(told["auc"] - cell["auc"])
        made["table_bytes_by_int" + bits, "bytes", ""] = told["bytes"]
    for start, told in cell["classes"].items():
        made["auc_by_rows_of_user", "AUC", f"/rows>={start}"] = told["auc"]
    people = cell["collisions"]["user"]
    # Of a class the mean rows of its ids stand for those of each of them.
    whole = sum(one["rows"] for one in people)
    for name, key in (("shared_rows", "shared"), ("twin_rows", "twins")):
        share = sum(one["rows"] * one[key] / max(1, one["ids"]) for one in people) / whole
        made[name, "share", ""] = share
    return made


def picture(file: Path, rows: Sequence[Row], sizes: Sizes) -> None:
    """AUC against the bytes of both tables, a line per placement, with its interval."""
    means = {
        (row.metric, row.split, row.model): row
        for row in rows
        if row.seed == "all" and row.metric in ("auc", "best_auc", "table_bytes")
    }
    drawn = [key for key in means if key[0] == "table_bytes"]
    if not drawn:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for placement in PLACEMENTS:
        keys = [(placement, f"2^{power} rows") for power in sizes.powers]
        keys = [key for key in keys if ("auc", *key) in means]
        if not keys:
            continue
        size = [means["table_bytes", *key].value / 2**20 for key in keys]
        own = [means["auc", *key] for key in keys]
        [line] = axes.plot(size, [r.value for r in own], "o-", markersize=4, label=placement)
        low, high = ([getattr(r, end) or r.value for r in own] for end in ("lo", "hi"))
        axes.fill_between(size, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    best = mean(row.value for key, row in means.items() if key[0] == "best_auc")
    axes.axhline(best, linestyle=":", color="gray", label="the true chances")
    axes.set_xscale("log")
    axes.set_xlabel("MiB of both tables, float32")
    axes.set_ylabel("AUC")
    finish(file, figure, axes)


def write(found: Mapping[str, Mapping[str, Any]], sizes: Sizes, out: Path, given: str) -> None:
    """Report, page and picture of what was measured; `given` are the options on the page."""
    rows = rows_of(found, sizes)
    picture(out / "auc.png", rows, sizes)
    words = _WORDS.format(**asdict(sizes))
    about = About("idtables", _TITLE, words, "tables of", given, AIMS)
    publish(out, rows, found, asdict(sizes), about)


def main() -> None:
    options = arguments().parse_args()
    for name in ("turns", "seeds"):
        if not 1 <= getattr(options, name) <= MOST_SEEDS:
            raise SystemExit(
                f"--{name} should be 1 to {MOST_SEEDS}, received {getattr(options, name)}"
            )
    sizes = Sizes(turns=options.turns, seeds=options.seeds)
    outcome = grid.measure(cells(sizes), options, (NotInstalled,))
    if options.list:
        return
    write(outcome.found, sizes, options.out, printed.given(arguments(), options))
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
