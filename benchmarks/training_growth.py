"""What an epoch costs as a graph grows: against its edges, and against its entities.

Takes sizes, gives cells, rows and slopes; never trains in this process. A slope is that of a line
through (log size, log seconds): at 1 the cost is linear, at 0 it does not depend on the size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from apart import Run
from grid import Measure, named
from scipy import stats
from stored import popular
from training_speed import alike, spread
from training_tasks import cost_of_epoch

from graphsvc.report import Row

#: What the synthetic graph is called in rows.
NAME = "synthetic"


@dataclass(frozen=True, kw_only=True)
class GrowthSizes:
    """Sizes that are measured, and how long."""

    #: triples, at `entities`
    edges: Sequence[int] = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
    #: entities, at `triples`
    against: Sequence[int] = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    entities: int = 100_000
    triples: int = 1_000_000
    relations: int = 20
    dim: int = 64
    negatives: int = 256
    batch: int = 4096
    seconds: float = 20.0
    repeats: int = 3
    threads: int = 1

    def graphs(self) -> Iterator[tuple[int, int]]:
        """(entities, triples) of every graph, each once."""
        by_edges = [(self.entities, edges) for edges in self.edges]
        by_entities = [(entities, self.triples) for entities in self.against]
        yield from dict.fromkeys([*by_edges, *by_entities])

    def key(self) -> dict[str, Any]:
        """What a cell depends on beside the size of its graph and its number."""
        unnamed = ("edges", "against", "entities", "triples", "repeats")
        return {k: v for k, v in asdict(self).items() if k not in unnamed}

    def dials(self) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "relation_dim": self.dim,
            "batch": self.batch,
            "block": self.batch,
            "negatives": self.negatives,
        }


class Slope(NamedTuple):
    """A fitted slope and its 95 % interval; NaN where two sizes are too few for one."""

    value: float
    low: float
    high: float


def cells(sizes: GrowthSizes, folder: Path, run: Run) -> dict[str, Measure]:
    return {
        _cell(sizes, entities, triples, repeat): partial(
            _measure, entities, triples, sizes, folder, run
        )
        for repeat in range(1, sizes.repeats + 1)
        for entities, triples in sizes.graphs()
    }


def _cell(sizes: GrowthSizes, entities: int, triples: int, repeat: int) -> str:
    return named(f"epoch-{entities}-{triples}-{repeat}", sizes.key())


def _measure(
    entities: int, triples: int, sizes: GrowthSizes, folder: Path, run: Run
) -> Mapping[str, Any]:
    graph = popular(NAME, folder, entities=entities, triples=triples, relations=sizes.relations)
    asked = {"graph": graph.asked(), "dials": sizes.dials(), "seconds": sizes.seconds}
    return run(cost_of_epoch, asked, threads=sizes.threads)


def rows_of(found: Mapping[str, Mapping[str, Any]], sizes: GrowthSizes) -> list[Row]:
    rows = []
    for entities, triples in sizes.graphs():
        told = _repeats(found, sizes, entities, triples)
        split = f"entities={entities}/edges={triples}"
        for metric in ("epoch_seconds", "sampling_seconds", "setup_seconds") if told else ():
            values = {n: cell[metric] for n, cell in told.items()}
            rows += spread(metric, "s", split, NAME, values, alike=alike(told.values()))
    for axis in ("edges", "entities"):
        points = series(found, sizes, axis)
        if len({size for size, _ in points}) > 1:
            fitted = slope(points)
            low, high = (None if np.isnan(end) else end for end in fitted[1:])
            rows.append(
                Row(
                    metric="epoch_seconds_slope",
                    value=fitted.value,
                    lo=low,
                    hi=high,
                    unit="log/log",
                    split=axis,
                    model=NAME,
                    seed="all",
                )
            )
    return rows


def series(
    found: Mapping[str, Mapping[str, Any]], sizes: GrowthSizes, axis: str
) -> list[tuple[int, float]]:
    """(size, seconds per epoch) of every measurement along `edges` or `entities`."""
    if axis == "edges":
        graphs = [(edges, (sizes.entities, edges)) for edges in sizes.edges]
    else:
        graphs = [(count, (count, sizes.triples)) for count in sizes.against]
    return [
        (size, cell["epoch_seconds"])
        for size, graph in graphs
        for cell in _repeats(found, sizes, *graph).values()
    ]


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Least squares in logarithms, with the t interval of the slope.

    Repeats of a size are one point, their geometric mean: they tell how the clock spreads, not
    how far the line is from the sizes.
    """
    by_size: dict[float, list[float]] = {}
    for size, seconds in points:
        by_size.setdefault(size, []).append(float(np.log(seconds)))
    means = [float(np.mean(logs)) for logs in by_size.values()]
    fitted = stats.linregress(np.log(list(by_size)), means)
    free = len(by_size) - 2
    half = float(stats.t.ppf(0.975, free) * fitted.stderr) if free > 0 else float("nan")
    return Slope(float(fitted.slope), float(fitted.slope) - half, float(fitted.slope) + half)


def _repeats(
    found: Mapping[str, Mapping[str, Any]], sizes: GrowthSizes, entities: int, triples: int
) -> dict[int, Mapping[str, Any]]:
    names = {n: _cell(sizes, entities, triples, n) for n in range(1, sizes.repeats + 1)}
    return {n: found[name] for n, name in names.items() if name in found}
