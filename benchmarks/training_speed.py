"""Positive triples per second and peak memory, TransRA beside TransR in PyKEEN's loop.

Takes a graph and sizes, gives cells and the rows of what they found; never trains in this process.
A cell lets PyKEEN's loop, every arm of ours and bare matrix products have their turn, each in a
process of its own, so that what the machine does meanwhile is done to all; ratios are within cells.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import products
from apart import Run
from grid import Measure, named
from link_prediction import interval
from pages import processor_of
from stored import Stored
from training_tasks import speed_of_pykeen, speed_of_transra

from graphsvc.report import Row
from kge.policy import has_bfloat16


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What TransRA trains with where it differs from its defaults."""

    negatives: int
    precision: str = "float32"

    @property
    def name(self) -> str:
        return f"negatives={self.negatives}/{self.precision}"


@dataclass(frozen=True, kw_only=True)
class SpeedSizes:
    """Sizes and times of a cell."""

    dim: int = 64
    batch: int = 4096
    pykeen_negatives: int = 10
    arms: Sequence[Arm] = (
        Arm(negatives=256),
        Arm(negatives=1024),
        Arm(negatives=4096),
        Arm(negatives=256, precision="bfloat16"),
        Arm(negatives=1024, precision="bfloat16"),
        Arm(negatives=4096, precision="bfloat16"),
    )
    seconds: float = 20.0
    pykeen_seconds: float = 40.0
    warm: int = 2
    #: rows of square products
    products: Sequence[int] = (1024, 2048, 4096)
    product_runs: int = 10
    repeats: int = 3
    threads: Sequence[int] = field(
        default_factory=lambda: sorted({os.cpu_count() or 1, 1}, reverse=True)
    )

    def key(self) -> dict[str, Any]:
        """What a cell depends on beside its graph, its threads and its number."""
        return {k: v for k, v in asdict(self).items() if k not in ("repeats", "threads")}

    def dials(self, arm: Arm) -> dict[str, Any]:
        """TransRA's dials as far as they are set; a batch may be of one relation."""
        return {
            "dim": self.dim,
            "relation_dim": self.dim,
            "batch": self.batch,
            "block": self.batch,
            "negatives": arm.negatives,
            "precision": arm.precision,
        }


def cells(graphs: Sequence[Stored], sizes: SpeedSizes, run: Run) -> dict[str, Measure]:
    return {
        _cell(graph, threads, repeat, sizes): partial(_measure, graph, threads, sizes, run)
        for repeat in range(1, sizes.repeats + 1)
        for graph in graphs
        for threads in sizes.threads
    }


def _cell(graph: Stored, threads: int, repeat: int, sizes: SpeedSizes) -> str:
    return named(f"speed-{graph.key}-threads{threads}-{repeat}", sizes.key())


def _measure(graph: Stored, threads: int, sizes: SpeedSizes, run: Run) -> Mapping[str, Any]:
    """One turn of everybody; of half precision where this processor multiplies it."""
    theirs = {
        "graph": graph.asked(),
        "dim": sizes.dim,
        "batch": sizes.batch,
        "negatives": sizes.pykeen_negatives,
        "seconds": sizes.pykeen_seconds,
        "warm": sizes.warm,
    }
    pykeen = run(speed_of_pykeen, theirs, threads=threads)
    arms = {}
    measured = [arm for arm in sizes.arms if arm.precision == "float32" or has_bfloat16()]
    for arm in measured:
        ours = {"graph": graph.asked(), "dials": sizes.dials(arm)}
        ours |= {"seconds": sizes.seconds, "warm": sizes.warm}
        arms[arm.name] = run(speed_of_transra, ours, threads=threads)
    peaks = {}
    for precision in dict.fromkeys(arm.precision for arm in measured):
        product = {
            "sizes": list(sizes.products),
            "precision": precision,
            "runs": sizes.product_runs,
        }
        peaks[precision] = run(products.peak, product, threads=threads)["per_second"]
    return {"pykeen": pykeen, "arms": arms, "product_peaks": peaks}


def rows_of(
    found: Mapping[str, Mapping[str, Any]], graphs: Sequence[Stored], sizes: SpeedSizes
) -> list[Row]:
    """Every repeat, and their mean with its t interval; the model is the graph's name."""
    rows = []
    for graph in graphs:
        for threads in sizes.threads:
            names = [_cell(graph, threads, n, sizes) for n in range(1, sizes.repeats + 1)]
            told = {n: found[cell] for n, cell in enumerate(names, start=1) if cell in found}
            where = "" if threads == sizes.threads[0] else f"/threads={threads}"
            figures = {n: _figures(cell, where) for n, cell in told.items()}
            # A cell of another processor may lack arms.
            for key in dict.fromkeys(chain.from_iterable(figures.values())):
                values = {n: figure[key] for n, figure in figures.items() if key in figure}
                rows += spread(*key, graph.name, values, alike=alike(told[n] for n in values))
    return rows


def _figures(cell: Mapping[str, Any], where: str) -> dict[tuple[str, str, str], float]:
    """(metric, unit, split) -> value of one cell."""
    theirs = cell["pykeen"]
    split = f"pykeen{where}"
    made = {
        ("triples_per_second", "triples/s", split): theirs["positives_per_second"],
        ("training_memory", "MiB", split): theirs["own_mib"],
        ("process_memory", "MiB", split): theirs["peak_mib"],
    }
    for name, ours in cell["arms"].items():
        split = f"{name}{where}"
        peak = cell["product_peaks"][name.rpartition("/")[2]]
        speed = ours["positives_per_second"] / theirs["positives_per_second"]
        memory = ours["own_mib"] / theirs["own_mib"]
        made |= {
            ("speed_ratio_to_pykeen", "ratio", split): speed,
            ("epoch_speed_ratio_to_pykeen", "ratio", split): theirs["epoch_seconds"]
            / ours["epoch_seconds"],
            ("peak_memory_ratio_to_pykeen", "ratio", split): memory,
            ("process_memory_ratio_to_pykeen", "ratio", split): ours["peak_mib"]
            / theirs["peak_mib"],
            ("gemm_share", "share", split): ours["operations_per_second"] / peak,
            ("triples_per_second", "triples/s", split): ours["positives_per_second"],
            ("training_memory", "MiB", split): ours["own_mib"],
            ("process_memory", "MiB", split): ours["peak_mib"],
        }
    for precision, peak in cell["product_peaks"].items():
        made["gemm_peak", "GFLOP/s", f"{precision}{where}"] = peak / 1e9
    return made


def alike(cells: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all were measured on one processor: an interval over several would be of nothing."""
    return len({processor_of(cell) for cell in cells}) == 1


def spread(
    metric: str, unit: str, split: str, model: str, values: Mapping[int, float], *, alike: bool
) -> list[Row]:
    """A row per run, and one of all with the mean and, of runs alike, its 95 % t interval."""
    same = {"metric": metric, "unit": unit, "split": split, "model": model}
    mean, low, high = interval(list(values.values()))
    if not alike:
        low = high = None
    each = [Row(value=value, seed=n, **same) for n, value in values.items()]
    return [*each, Row(value=mean, lo=low, hi=high, seed="all", **same)]
