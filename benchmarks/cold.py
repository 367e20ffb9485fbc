"""Entities that training never saw: how fast they get vectors, and how good these are.

    python benchmarks/cold.py --train FILE --valid FILE --test FILE
    python benchmarks/cold.py --inductive-train FILE --inductive-told FILE
                              --inductive-valid FILE --inductive-test FILE

Files hold head, relation and tail between tabs. Without files only speed is measured.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import grid
from folding import EDGES, Known, measure_cold, measure_others, measure_retrained, measure_speed
from nodepiece import NodePieceDials, Part
from nodepiece import measure as measure_nodepiece
from pictures import by_edges
from publish import About, publish
from withheld import Withheld, withhold

from graphsvc.report import Row
from kge.dials import Dials
from kge.errors import KgeError
from kge.files import read_names

SEEDS = (1, 2, 3)
SHARE, ENOUGH = 0.05, 20
DIMS = (64, 128)
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}  # Student's t, by degrees of freedom

_TITLE = "Entities that training never saw"
_WORDS = """
5 % of the entities, drawn among those with 20 edges or more, are withheld wholly; training sees the
rest. Then each is given 1, 2, 5 or 10 edges, and 10 of its further ones are ranked: filtered, among
all entities, both ends, realistic ranks. What is chosen is chosen on half of the withheld, figures
are those of the other half. Three seeds draw entities, edges and training.

- `fold-in`: what a server computes, with its dials and its tail bias; nothing is chosen. `chosen`:
  the same by the best lambda. It leans on the mean of those with edges of the same kinds;
  `type's prior`: on the mean of all. `prior alone`: what it leans on, without a solve.
- `retrained`: trained anew with those very edges in the graph, by the same dials.
- `mrr_share`: fold-in's MRR as a share of that.
- `nodepiece`: PyKEEN's inductive NodePiece, in its own loop, with 5 edges of each of the withheld.
- `others`: entities that all are new and have edges among themselves alone, of a data set with the
  same relations; fold-in takes them by turns.
- Speed: 20,000 entities in one solve, 5 edges each over 8 relations; or one at a time.

![MRR by the number of edges](edges.png)
"""


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    made: dict[str, grid.Measure] = {f"speed-{dim}": partial(measure_speed, dim) for dim in DIMS}
    others = [getattr(options, f"inductive_{name}") for name in ("train", "told", "valid", "test")]
    if all(others):
        for seed in SEEDS:
            made[f"others-fold-in-{seed}"] = partial(_others, options, seed)
            made[f"others-nodepiece-{seed}"] = partial(_others_nodepiece, options, seed)
    if options.train:
        for seed in SEEDS:
            made[f"cold-{seed}"] = partial(_cold, options, seed)
            for edges in EDGES:
                made[f"retrained-{seed}-{edges}"] = partial(_retrained, options, seed, edges)
            made[f"nodepiece-{seed}-5"] = partial(_nodepiece, options, seed, 5)
    return made


def _split(options: argparse.Namespace, seed: int) -> Withheld:
    files = [file for file in (options.train, options.valid, options.test) if file]
    return withhold(read_names(files), share=SHARE, enough=ENOUGH, seed=seed)


def _dials(options: argparse.Namespace, seed: int, epochs: float) -> Dials:
    return Dials(dim=options.dim, epochs=epochs, seed=seed)


def _cold(options: argparse.Namespace, seed: int) -> Mapping[str, Any]:
    return measure_cold(_split(options, seed), _dials(options, seed, options.epochs))


def _retrained(options: argparse.Namespace, seed: int, edges: int) -> Mapping[str, Any]:
    return measure_retrained(_split(options, seed), edges, _dials(options, seed, options.epochs))


def _nodepiece(options: argparse.Namespace, seed: int, edges: int) -> Mapping[str, Any]:
    split = _split(options, seed)
    train = Part(split.kept, split.stay)
    told = Part(split.told(edges), len(split.ids))
    asked = split.asked(max(EDGES), 10, slice(split.count // 2, None))
    dials = NodePieceDials(epochs=options.nodepiece_epochs, seed=seed)
    found = measure_nodepiece(train, told, asked, split.known, len(split.relations), dials)
    return {f"nodepiece/{edges}": found}


def _data(options: argparse.Namespace) -> Known:
    names = ("train", "told", "valid", "test")
    return Known(**{n: read_names([getattr(options, f"inductive_{n}")]) for n in names})


def _others(options: argparse.Namespace, seed: int) -> Mapping[str, Any]:
    return measure_others(_data(options), _dials(options, seed, options.inductive_epochs))


def _others_nodepiece(options: argparse.Namespace, seed: int) -> Mapping[str, Any]:
    data = _data(options).numbered()
    graph = data.graph
    rows = np.stack([graph.head, graph.relation, graph.tail], axis=1)
    train, told = Part(rows, graph.entity_count), Part(data.told, data.count)
    dials = NodePieceDials(epochs=options.inductive_nodepiece_epochs, seed=seed)
    size = len(graph.relations)
    return {"nodepiece": measure_nodepiece(train, told, data.test, data.known, size, dials)}


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    rows = [
        _row(metric, found[f"speed-{dim}"][field], unit, f"d={dim}", "fold-in")
        for dim in DIMS
        if f"speed-{dim}" in found
        for metric, field, unit in (
            ("entities_per_second", "per_second", "entities/s"),
            ("one_entity_p50", "p50_ms", "ms"),
            ("one_entity_p99", "p99_ms", "ms"),
        )
    ]
    # (where, arm) -> seed -> figures
    told: dict[tuple[str, str], dict[int, Mapping[str, float]]] = {}
    for cell, result in found.items():
        seed = int(cell.split("-")[-1 if cell.startswith("others-") else 1])
        for arm, figures in result.items():
            if isinstance(figures, Mapping):
                name, _, edges = arm.partition("/")
                where = f"edges={edges}" if edges else "others"
                told.setdefault((where, name), {})[seed] = figures
    for (where, arm), by_seed in told.items():
        for metric in next(iter(by_seed.values())):
            values = [figures[metric] for figures in by_seed.values()]
            rows += _spread(metric, where, arm, values)
    for edges in EDGES:
        mine, theirs = (told.get((f"edges={edges}", arm), {}) for arm in ("fold-in", "retrained"))
        shares = [mine[n]["mrr"] / theirs[n]["mrr"] for n in SEEDS if n in mine and n in theirs]
        rows += _spread("mrr_share", f"edges={edges}", "fold-in / retrained", shares)
    return rows


def _spread(metric: str, where: str, arm: str, values: Sequence[float]) -> list[Row]:
    """Every run, and their mean with its t interval."""
    rows = [_row(metric, v, "share", where, arm, seed=n) for n, v in enumerate(values, start=1)]
    if len(values) > 1:
        mean, n = statistics.mean(values), len(values)
        half = T_95[n - 1] * statistics.stdev(values) / n**0.5
        row = _row(metric, mean, "share", where, arm, seed="all")
        rows.append(replace(row, lo=mean - half, hi=mean + half))
    return rows


def _row(
    metric: str, value: float, unit: str, split: str, model: str, *, seed: int | str = 0
) -> Row:
    return Row(metric=metric, value=value, unit=unit, split=split, model=model, seed=seed)


def main() -> None:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/cold")
    for name in ("train", "valid", "test"):
        parser.add_argument(f"--{name}", type=Path, help="triples; all three are one graph")
    for name in ("train", "told", "valid", "test"):
        parser.add_argument(f"--inductive-{name}", type=Path, help="triples of the others' data")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--nodepiece-epochs", type=int, default=20)
    parser.add_argument("--inductive-epochs", type=float, default=60.0)
    parser.add_argument("--inductive-nodepiece-epochs", type=int, default=100)
    options = parser.parse_args()
    try:
        found = grid.run(cells(options), options)
    except KgeError as error:
        raise SystemExit(f"error: {error}") from error
    rows = rows_of(found)
    names = ("dim", "epochs", "nodepiece_epochs")
    names += ("inductive_epochs", "inductive_nodepiece_epochs")
    dials = {name: getattr(options, name) for name in names}
    dials |= {"share": SHARE, "enough": ENOUGH, "seeds": SEEDS}
    by_edges(options.out / "edges.png", [row for row in rows if row.metric == "mrr"])
    publish(options.out, rows, found, dials, About("cold", _TITLE, _WORDS, "model"))


if __name__ == "__main__":
    main()
