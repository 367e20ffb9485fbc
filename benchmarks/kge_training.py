"""How fast TransRA trains, in how much memory, and how soon it is good, beside PyKEEN.

    .venv/bin/python benchmarks/kge_training.py --train FILE --valid FILE --test FILE --minutes 10

Files hold head, relation and tail between tabs. Without files only graphs that are drawn from a
seed are measured, and no quality.
"""

import argparse
import inspect
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import apart
import grid
import link_prediction
import printed
import training_growth
import training_quality
import training_speed
from aims import Aim
from evaluating import measure_evaluation
from link_prediction import digest, interval
from pictures import growth, learning
from publish import About, publish, spare
from stored import Stored, popular

from graphsvc.report import Row
from kge.errors import KgeError
from kge.files import TripleFiles, read_triples

GIVEN = ("train", "valid", "test")
_ARMS = r"negatives=\d+/\w+"
AIMS = (
    Aim("speed_ratio_to_pykeen", at_least=100, where=_ARMS),
    Aim("epoch_speed_ratio_to_pykeen", at_least=100, where=_ARMS),
    Aim("peak_memory_ratio_to_pykeen", at_most=0.5, where=_ARMS),
    Aim("gemm_share", at_least=0.4, where=_ARMS),
    Aim("epoch_seconds_slope", at_most=1),
    Aim("evaluation_ratio_to_pykeen", at_least=30),
    Aim("ranks_that_differ", at_most=0),
    Aim("ahead_from_minutes", at_most=2),
)
_TITLE = "Training TransRA: speed, memory, time to quality"
_WORDS = """
Everything runs on one machine, one thing at a time. Speed, memory and epochs are measured in
processes of their own, which take turns; ratios are within a turn, intervals over the turns. There
is none over turns or seeds of several processors, nor over seeds whose dials differ.

- `speed_ratio_to_pykeen`: positive triples per second, ours by PyKEEN's. PyKEEN's is its TransR in
  its own training loop (Adam, {pykeen_negatives} negatives per positive, batches of {batch}), ours
  TransRA in the trainer of the service, where a batch of {batch} shares its negatives; d = k =
  {dim} in both. `negatives=256` are draws: an entity that is drawn twice counts once, and a head is
  one further negative of its own query, so each positive meets about 256.
- `epoch_speed_ratio_to_pykeen`: passes over all triples, ours by PyKEEN's. It is half of the ratio
  above, which counts a positive for each end that is asked for: a pass of ours asks for both ends
  of every triple, in turn, and so has two positives per triple; a pass of PyKEEN's draws which end
  it asks for, and has one. Whoever counts triples and not ends reads this ratio.
- `peak_memory_ratio_to_pykeen`: by how much the peak of a process (VmHWM) is above what it held
  before training, when libraries were loaded and the graph was there (`training_memory`);
  `process_memory_ratio_to_pykeen`: the same of whole processes (`process_memory`).
- Arms of `bfloat16` run where the processor multiplies it, as the trainer itself would; turns of
  other processors have none.
- `gemm_share`: floating-point operations of training's matrix products, counted from their shapes,
  per second of training, as a share of `gemm_peak`, the quickest of several square products of
  {products} rows in the same precision with as many threads.
- All threads of the machine, unless `threads=` says how many.
- `epoch_seconds`: a round over all triples, each in both directions, on one thread: all of its
  batches are made, and enough are learned to tell what all would take. `epoch_seconds_slope`: of a
  line through log size and log seconds; 1 is linear. `setup_seconds` comes once in a training.
- `valid_mrr`: filtered, both ends, realistic ranks, on a thousand validation triples at most,
  while the clock stands still; none before a model's first look. `valid_mrr_lead`: TransRA's less
  a rival's, with a t interval over the differences of the same seed, once every model has all
  seeds. `ahead_from_minutes`: the first of these minutes from which on that interval lies above 0
  for every rival; there is no such row where it does not at the end, or with a single seed. Seeds
  alone decide it: nothing is resampled of the validation triples, which are the same for all.
  `lead_at_end`: above the rival that is best at the end.
- `evaluation_ratio_to_pykeen`: queries ranked per second by ours, by those of PyKEEN's
  `RankBasedEvaluator`, on the same PyKEEN TransR. All of our call counts; of PyKEEN's, which ranks
  fewer triples at the same cost each, what it costs once does not. `ranks_that_differ`: the share
  of realistic ranks that are not equal, and `ranks_apart` by how much one is at most: by half
  where float32 makes two candidates equal in one of the two and not in the other.

![seconds per epoch](growth.png)
"""
_CURVES = """
![validation MRR against minutes of training](quality.png)
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Everything that has a size; a test's are small."""

    entities: int = 100_000
    triples: int = 1_000_000
    relations: int = 20
    speed: training_speed.SpeedSizes = field(default_factory=training_speed.SpeedSizes)
    growth: training_growth.GrowthSizes = field(default_factory=training_growth.GrowthSizes)
    quality: training_quality.QualitySizes = field(default_factory=training_quality.QualitySizes)
    #: arguments of `measure_evaluation`
    evaluation: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one run is about."""

    sizes: Sizes
    folder: Path
    #: a graph of the user's own: name, digest of its files, triples
    name: str = ""
    files: str = ""
    data: TripleFiles | None = None

    def graphs(self) -> list[Stored]:
        """What speed is measured on."""
        sizes = self.sizes
        drawn = {n: getattr(sizes, n) for n in ("entities", "triples", "relations")}
        found = [popular(training_growth.NAME, self.folder, **drawn)]
        if self.data is not None:
            data = self.data
            found.append(
                Stored(
                    name=self.name,
                    key=f"{self.name}-{self.files}",
                    entities=data.graph.entity_count,
                    relations=len(data.graph.relations),
                    folder=self.folder,
                    make=lambda: data.train,
                )
            )
        return found


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/kge-training")
    parser.set_defaults(budget_minutes=240.0)
    for name in GIVEN:
        parser.add_argument(f"--{name}", type=Path, help="triples; all three are one graph")
    parser.add_argument("--minutes", type=float, default=10.0, help="training of each model")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model")
    parser.add_argument(
        "--quality",
        type=Path,
        default=Path("docs/benchmarks/link-prediction"),
        help="folder of link prediction's cells: a training that lies there is not run again",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "graphsvc-kge-training",
        help="folder of the graphs that are drawn, some 300 MB",
    )
    return parser


def asked_of(options: argparse.Namespace, sizes: Sizes) -> Asked:
    """Options, checked. Raises `KgeError` for files that hold no triples."""
    if not options.minutes > 0 or options.seeds < 1:
        raise SystemExit("--minutes should be above 0 and --seeds at least 1")
    given = [getattr(options, name) for name in GIVEN]
    quality = replace(sizes.quality, minutes=options.minutes, seeds=options.seeds)
    same: dict[str, Any] = {
        "sizes": replace(sizes, quality=quality),
        "folder": options.work,
    }
    if not any(given):
        return Asked(**same)
    if not all(given):
        raise SystemExit("--train, --valid and --test should be given together, or none of them")
    data, name = read_triples(*given), options.train.resolve().parent.name
    return Asked(**same, name=name, files=digest(options), data=data)


def cells(asked: Asked, run: apart.Run = apart.run) -> dict[str, grid.Measure]:
    """Every cell by its name; `run` has work done in a process of its own."""
    sizes = asked.sizes
    made = training_speed.cells(asked.graphs(), sizes.speed, run)
    made[evaluation_cell(sizes)] = partial(measure_evaluation, **sizes.evaluation)
    return made | training_growth.cells(sizes.growth, asked.folder, run)


def evaluation_cell(sizes: Sizes) -> str:
    """The name of the cell of ranking; what `sizes` leaves out is as the work itself has it."""
    bound = inspect.signature(measure_evaluation).bind(**sizes.evaluation)
    bound.apply_defaults()
    return grid.named("evaluation", bound.arguments)


def measure(asked: Asked, options: argparse.Namespace, run: apart.Run = apart.run) -> grid.Outcome:
    """What there is of all cells after the budget: those of this benchmark, then of quality."""
    began = time.monotonic()
    outcome = grid.measure(cells(asked, run), options, (KgeError,))
    if asked.data is not None:
        left = options.budget_minutes - (time.monotonic() - began) / 60
        named = {"model": asked.sizes.quality.models, "memory": None, "split": "test"}
        quality = {**vars(options), **named, "out": options.quality, "budget_minutes": left}
        other = argparse.Namespace(**quality)
        outcome |= grid.measure(link_prediction.cells(asked.data, other), other, (KgeError,))
    return outcome


def rows_of(found: Mapping[str, Mapping[str, Any]], asked: Asked) -> list[Row]:
    sizes = asked.sizes
    rows = training_speed.rows_of(found, asked.graphs(), sizes.speed)
    rows += training_growth.rows_of(found, sizes.growth)
    if told := found.get(evaluation_cell(sizes)):
        rows += _evaluation_rows(told)
    if asked.data is not None:
        rows += training_quality.rows_of(found, asked.files, asked.name, sizes.quality)
    return rows


def _evaluation_rows(told: Mapping[str, Any]) -> list[Row]:
    same = {"split": f"entities={told['entities']}", "model": training_growth.NAME}
    mean, low, high = interval(told["ratios"])
    differ = told["ranks_that_differ"]
    speeds = [
        Row(metric=f"evaluation_{name}", value=told[name], unit="queries/s", **same)
        for name in ("queries_per_second", "pykeen_queries_per_second")
    ]
    return [
        Row(metric="evaluation_ratio_to_pykeen", value=mean, lo=low, hi=high, unit="ratio", **same),
        Row(metric="ranks_that_differ", value=differ, unit="share", **same),
        Row(metric="ranks_apart", value=told["ranks_apart"], unit="ranks", **same),
        *speeds,
    ]


def write(found: Mapping[str, Mapping[str, Any]], asked: Asked, out: Path, given: str) -> None:
    """Report, page and pictures of what was measured; `given` are the options on the page."""
    sizes, rows = asked.sizes, rows_of(found, asked)
    spare(out, "kge_training", rows)
    by_size = {axis: training_growth.series(found, sizes.growth, axis) for axis in _AXES}
    growth(out / "growth.png", by_size, "seconds per epoch")
    told = training_quality.curves(found, asked.files, sizes.quality) if asked.data else {}
    runs: dict[str, Sequence[Sequence[float]]] = {
        n: list(each.values()) for n, each in told.items()
    }
    learning(out / "quality.png", sizes.quality.moments, runs)
    named = {name: getattr(sizes.speed, name) for name in _NAMED}
    words = _WORDS.format(products=", ".join(map(str, sizes.speed.products)), **named)
    words += _CURVES if runs else ""
    dials = {**asdict(sizes), "graph": asked.name, "digest": asked.files}
    about = About("kge_training", _TITLE, words, "graph or model", given, AIMS)
    publish(out, rows, found, dials, about)


_AXES = ("edges", "entities")
_NAMED = ("pykeen_negatives", "batch", "dim")


def main() -> None:
    options = arguments().parse_args()
    try:
        asked = asked_of(options, Sizes())
    except KgeError as error:
        raise SystemExit(f"error: {error}") from error
    outcome = measure(asked, options)
    if options.list:
        return
    write(outcome.found, asked, options.out, printed.given(arguments(), options))
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
