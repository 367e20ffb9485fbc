"""How fast a ranker trains, in how much memory, beside FuxiCTR's DCNv2.

    .venv/bin/python benchmarks/ranker_training.py

FuxiCTR has an environment of its own, which `benchmarks/fuxictr_tasks.py` says how to make; where
there is none, its cells fail and ours are measured. `--profile` says where our time goes instead.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import apart
import grid
import printed
from aims import Aim
from exposures import Drawn
from fuxictr_tasks import speed_of_fuxictr
from matplotlib import pyplot as plt
from pages import processor_of
from pictures import finish
from publish import About, publish
from ranker_tasks import profile_of_ours, speed_of_ours

from graphsvc.report import Row
from ranking.intervals import t_interval

OURS, THEIRS = "ours", "fuxictr"
#: Turns that there is a point of Student's t for.
MOST_TURNS = 11
AIMS = (Aim("speed_ratio_to_fuxictr", at_least=2),)
_TITLE = "Training a ranker: rows per second and memory"
_WORDS = """
Ours is `ranking.train.train`, the loop of every retrain, with a ranker that reads no KGE; theirs is
FuxiCTR's DCNv2 in the form "stacked", put together from its package's layers and trained by its own
`train_epoch` with Adam. Both have {fields} fields of categories with embeddings of {dim} numbers,
{layers} crossing layers, one hidden layer of {hidden}, batches of {batch}, no dropout, and
the same {threads} threads; ours has six counters more to read, LayerNorm behind each crossing
layer, and weight decay. The table's size is that of all embeddings together. The exposures are
drawn from a seed, {rows:,} of them, each value at least once.

- `speed_ratio_to_fuxictr`: rows per second of whole epochs, ours by theirs, when the data are in
  memory: ours are the columns that its loop takes batches from, theirs batches that are made
  already. `speed_ratio_with_loading_to_fuxictr`: from the opening of the file to the end of the
  first epoch. That is, in ours, to name ids and values, learn vocabularies, place ids and encode
  all rows; in theirs, to read numbers that an earlier run has encoded, through its `NpzDataLoader`.
- `where` names the crossing layers, ours/theirs. `dcn_v2_full/full` is the same arithmetic;
  `dcn_v2/low_rank` have the same rank, D times {rank_share:g}, theirs as a mixture of one expert;
  `ml_dcn/full` is what either trains by default. `+bfloat16`: our matrix
  products in half precision (`GRAPHSVC_RANKER__TRAINING__PRECISION`), which FuxiCTR does not offer;
  all else, and all of theirs, is float32. `products_per_row` are the operations of all
  matrix products of a step, as torch counts them, by rows of its batch.
- `training_memory` is by how much the peak of a process (VmHWM) in its first epoch is above what it
  held before it opened the file; `peak_memory_ratio_to_fuxictr` ours by theirs. A process that
  FuxiCTR's loader starts is not counted.

Every figure is from a process of its own. Those of a turn follow each other, and who begins
changes with the turn; ratios are within turns, intervals over them. There is none over turns of
several processors.

![rows per second against the size of the tables](speed.png)
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Everything that has a size; a test's are small."""

    rows: int = 1 << 18
    tables: Sequence[int] = (10_000, 1_000_000)
    fields: int = 26
    dim: int = 16
    hidden: int = 64
    layers: int = 2
    rank_share: float = 0.125
    batch: int = 4096
    epochs: int = 2
    turns: int = 5
    threads: int = os.cpu_count() or 1
    #: kinds of crossing layers, (ours, theirs), that are compared
    pairs: Sequence[tuple[str, str]] = (
        ("ml_dcn", "full"),
        ("ml_dcn+bfloat16", "full"),
        ("dcn_v2_full", "full"),
        ("dcn_v2_full+bfloat16", "full"),
        ("dcn_v2", "low_rank"),
    )

    @property
    def dials(self) -> dict[str, Any]:
        """What both sides train with."""
        return {n: getattr(self, n) for n in ("dim", "hidden", "layers", "rank_share", "batch")}

    @property
    def sides(self) -> list[tuple[str, str]]:
        """(who, kind), each once."""
        ours = [(OURS, kind) for kind, _ in self.pairs]
        return list(dict.fromkeys([*ours, *((THEIRS, form) for _, form in self.pairs)]))

    def drawn(self, table: int) -> Drawn:
        return Drawn(rows=self.rows, table_rows=table, fields=self.fields)

    def key(self) -> dict[str, Any]:
        """What a cell depends on beside its table, its side and its turn."""
        left = ("tables", "turns", "pairs")
        return {name: value for name, value in asdict(self).items() if name not in left}


class NoFuxictr(Exception):
    """There is no environment with FuxiCTR; benchmarks/fuxictr_tasks.py says how to make one."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one run is about."""

    sizes: Sizes
    #: where exposures lie
    folder: Path
    #: the interpreter of FuxiCTR's environment
    python: Path


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/ranker-training")
    parser.set_defaults(budget_minutes=120.0)
    parser.add_argument("--turns", type=int, default=Sizes().turns, help="of everybody")
    parser.add_argument("--profile", action="store_true", help="where our time goes, no cells")
    parser.add_argument(
        "--fuxictr",
        type=Path,
        default=Path(".venv/fuxictr/bin/python"),
        help="the interpreter of an environment that has FuxiCTR",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "graphsvc-ranker-training",
        help="folder of the exposures that are drawn, some 150 MB",
    )
    return parser


def cells(asked: Asked, run: apart.Run = apart.run) -> dict[str, grid.Measure]:
    """Every cell by its name, turn by turn."""
    sizes, made = asked.sizes, {}
    for turn in range(1, sizes.turns + 1):
        sides = sizes.sides if turn % 2 else sizes.sides[::-1]
        for table in sizes.tables:
            for side in sides:
                made[cell_name(sizes, table, side, turn)] = partial(
                    _measure, asked, table, side, run
                )
    return made


def cell_name(sizes: Sizes, table: int, side: tuple[str, str], turn: int) -> str:
    return grid.named(f"{side[0]}-{side[1]}-table{table}-{turn}", sizes.key())


def _measure(asked: Asked, table: int, side: tuple[str, str], run: apart.Run) -> Mapping[str, Any]:
    sizes, (who, kind) = asked.sizes, side
    told = {
        "file": str(asked.sizes.drawn(table).file(asked.folder)),
        "dials": sizes.dials,
        "epochs": sizes.epochs,
    }
    if who == OURS:
        return run(speed_of_ours, {**told, "kind": kind}, threads=sizes.threads)
    if not asked.python.exists():
        raise NoFuxictr(f"{NoFuxictr.__doc__} Looked for {asked.python}")
    same = {"threads": sizes.threads, "python": str(asked.python)}
    return run(speed_of_fuxictr, {**told, "form": kind}, **same)


def rows_of(found: Mapping[str, Mapping[str, Any]], sizes: Sizes) -> list[Row]:
    """Figures of sides and ratios of pairs: every turn, and their mean with its t interval."""
    rows = []
    for table in sizes.tables:
        told = {side: _turns(found, sizes, table, side) for side in sizes.sides}
        for ours, theirs in sizes.pairs:
            pair = (told[OURS, ours], told[THEIRS, theirs])
            both = [turn for turn in pair[0] if turn in pair[1]]
            values = {turn: _ratios(pair[0][turn], pair[1][turn]) for turn in both}
            alike = _alike([turns[turn] for turns in pair for turn in both])
            rows += _spread(values, f"{table:,} rows", f"{ours}/{theirs}", alike=alike)
        for side, turns in told.items():
            values = {turn: _figures(cell) for turn, cell in turns.items()}
            alike = _alike(list(turns.values()))
            rows += _spread(values, f"{table:,} rows", "/".join(side), alike=alike)
    return rows


def _turns(
    found: Mapping[str, Mapping[str, Any]], sizes: Sizes, table: int, side: tuple[str, str]
) -> dict[int, Mapping[str, Any]]:
    """The cells that there are of a side, by turn."""
    names = {n: cell_name(sizes, table, side, n) for n in range(1, sizes.turns + 1)}
    return {turn: found[name] for turn, name in names.items() if name in found}


def _figures(cell: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(metric, unit) -> value."""
    return {
        ("rows_per_second", "rows/s"): cell["rows"] / mean(cell["epoch_seconds"]),
        ("rows_per_second_with_loading", "rows/s"): cell["rows"] / cell["first_seconds"],
        ("training_memory", "MiB"): cell["own_mib"],
        ("products_per_row", "operations"): cell["products_per_row"],
    }


def _ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(metric, unit) -> ours by theirs."""
    fast, slow = _figures(ours), _figures(theirs)
    named = {
        "speed_ratio_to_fuxictr": ("rows_per_second", "rows/s"),
        "speed_ratio_with_loading_to_fuxictr": ("rows_per_second_with_loading", "rows/s"),
        "peak_memory_ratio_to_fuxictr": ("training_memory", "MiB"),
    }
    return {(name, "ratio"): fast[key] / slow[key] for name, key in named.items()}


def _alike(told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all were measured on one processor: an interval over several would be of nothing."""
    return len({processor_of(cell) for cell in told}) == 1


def _spread(
    turns: Mapping[int, Mapping[tuple[str, str], float]], model: str, split: str, *, alike: bool
) -> list[Row]:
    """A row per turn, and one of all with the mean and, of turns alike, its 95 % t interval."""
    rows = []
    for metric, unit in next(iter(turns.values()), {}):
        same = {"metric": metric, "unit": unit, "split": split, "model": model}
        values = {turn: told[metric, unit] for turn, told in turns.items()}
        rows += [Row(value=value, seed=turn, **same) for turn, value in values.items()]
        lo = hi = None
        if alike and len(values) > 1:
            _, lo, hi = t_interval(list(values.values()))
        rows.append(Row(value=mean(values.values()), lo=lo, hi=hi, seed="all", **same))
    return rows


def picture(file: Path, rows: Sequence[Row], sizes: Sizes) -> None:
    """Rows per second against the size of the tables, a line per side, with its interval."""
    whole = [row for row in rows if row.metric == "rows_per_second" and row.seed == "all"]
    if not whole:
        return
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    by_model = {f"{table:,} rows": table for table in sizes.tables}
    for split in dict.fromkeys(row.split for row in whole):
        own = [row for row in whole if row.split == split]
        at = [by_model[row.model] for row in own]
        style = "-" if split.startswith(OURS) else "--"
        [line] = axes.plot(at, [r.value for r in own], f"o{style}", markersize=4, label=split)
        low, high = ([getattr(r, end) or r.value for r in own] for end in ("lo", "hi"))
        axes.fill_between(at, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rows of all embedding tables")
    axes.set_ylabel("rows per second, data in memory")
    finish(file, figure, axes)


def write(found: Mapping[str, Mapping[str, Any]], sizes: Sizes, out: Path, given: str) -> None:
    """Report, page and picture of what was measured; `given` are the options on the page."""
    rows = rows_of(found, sizes)
    picture(out / "speed.png", rows, sizes)
    words = _WORDS.format(**asdict(sizes))
    about = About("ranker_training", _TITLE, words, "tables of", given, AIMS)
    publish(out, rows, found, asdict(sizes), about)


def write_profile(asked: Asked, out: Path, run: apart.Run = apart.run) -> None:
    """A page per table size: functions of Python, and operations of torch."""
    sizes, kind = asked.sizes, asked.sizes.pairs[0][0]
    out.mkdir(parents=True, exist_ok=True)
    for table in sizes.tables:
        told = {"file": str(sizes.drawn(table).file(asked.folder)), "dials": sizes.dials}
        seen = run(profile_of_ours, {**told, "kind": kind}, threads=sizes.threads)
        text = (
            f"# Where training {kind} spends its time, tables of {table:,} rows\n\n"
            "`.venv/bin/python benchmarks/ranker_training.py --profile`\n\n"
            "## Until the first epoch ends, by function of Python\n\n"
            f"```\n{seen['first'].strip()}\n```\n\n"
            "## The second epoch, by operation of torch\n\n"
            f"```\n{seen['second'].strip()}\n```\n"
        )
        (out / f"profile-{table}.md").write_text(text)
        grid.console.print(text, markup=False)


def main() -> None:
    options = arguments().parse_args()
    if not 1 <= options.turns <= MOST_TURNS:
        raise SystemExit(f"--turns should be 1 to {MOST_TURNS}, received {options.turns}")
    sizes = Sizes(turns=options.turns)
    asked = Asked(sizes=sizes, folder=options.work, python=options.fuxictr)
    if options.profile:
        write_profile(asked, options.out)
        return
    outcome = grid.measure(cells(asked), options, (NoFuxictr,))
    if options.list:
        return
    given = printed.given(arguments(), options, leave=("fuxictr",))
    write(outcome.found, sizes, options.out, given)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
