"""Entities that training never saw: how fast they get vectors, and how good these are.

    .venv/bin/python benchmarks/cold.py --train FILE --valid FILE --test FILE
    .venv/bin/python benchmarks/cold.py --inductive-train FILE --inductive-told FILE
                              --inductive-valid FILE --inductive-test FILE

Files hold head, relation and tail between tabs. Without files only speed is measured.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import cold_leads
import grid
import printed
from aims import Aim
from cold_leads import Measured
from differences import interval
from folding import (
    ASKED,
    EDGES,
    RIDGES,
    TURNS,
    Known,
    halves,
    measure_cold,
    measure_others,
    measure_retrained,
    measure_speed,
)
from nodepiece import Asked, Chosen, NodePieceDials, Part
from nodepiece import measure as measure_nodepiece
from pictures import by_edges
from publish import About, publish, spare
from withheld import Withheld, withhold

from graphsvc.report import Row
from kge.dials import Dials
from kge.errors import KgeError
from kge.files import read_names
from kge.policy import choose
from kge.triples import Graph

SHARE, ENOUGH = 0.05, 20
#: How many edges NodePiece is told of each of the withheld.
TOLD = 5
#: Learning rates that NodePiece chooses among, and where fold-in chooses turns, too.
FEW_RATES, RATES = (1e-3, 1e-2), (1e-3, 3e-3, 1e-2)
GIVEN = ("train", "valid", "test")
INDUCTIVE = ("train", "told", "valid", "test")

AIMS = (
    Aim("mrr_share", at_least=0.85, where="edges=5"),
    Aim("entities_per_second", at_least=20_000, where="d=64"),
    Aim("one_entity_p99", at_most=1.0, where="d=64"),
)
_TITLE = "Entities that training never saw"
_WORDS = """
5 % of the entities, drawn among those with 20 edges or more, are withheld wholly; training sees the
rest. Then each is given 1, 2, 5 or 10 edges, and 10 of its further ones are ranked: filtered, among
all entities, both ends, realistic ranks. What is chosen is chosen on half of the withheld, figures
are those of the other half. A seed draws entities, edges and training.

- `fold-in`: what a server computes, with its dials and its tail bias; nothing is chosen here, but
  its lambda for facts was, by what `chosen` took in earlier runs of these very seeds. `chosen`: the
  same by the best of {ridges} lambdas. It leans on the mean of those with edges of the same kinds;
  `type's prior`: on the mean of all. `prior alone`: what it leans on, without a solve.
- `retrained`: trained anew with those very edges in the graph, by the same dials; no upper bound.
- `mrr`: over both ends; `mrr_of_others`: of the end that training knows, by the withheld one's
  vector; `mrr_of_the_withheld`: of the withheld one itself, among all.
- `mrr_share`: fold-in's MRR as a share of that.
- `nodepiece`: PyKEEN's inductive NodePiece, in its own loop, with {told} edges of each of the
  withheld; the best of {looks} (learning rates by numbers of epochs).
- `others`: entities that all are new and have edges among themselves alone, of a data set with the
  same relations, which no server folds in; here it is done by turns. Each has as many trials on
  validation: fold-in the best of {ours} (lambdas by numbers of turns), NodePiece of {theirs}
  (learning rates by numbers of epochs).
- Speed: 20,000 entities in one solve, 5 edges each over 8 relations; or one at a time.

![MRR by the number of edges](edges.png)
"""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How much speed is measured on; a test's is little."""

    dims: Sequence[int] = (64, 128)
    entities: int = 20_000
    singles: int = 2_000


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/cold")
    for name in GIVEN:
        parser.add_argument(
            f"--{name}", type=Path, help="triples; all that are given are one graph"
        )
    for name in INDUCTIVE:
        parser.add_argument(f"--inductive-{name}", type=Path, help="triples of the others' data")
    parser.add_argument("--seeds", type=int, default=3, help="of entities, edges and training")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--nodepiece-epochs", type=int, default=20)
    parser.add_argument("--inductive-epochs", type=float, default=60.0)
    parser.add_argument("--inductive-nodepiece-epochs", type=int, default=300)
    return parser


def cells(options: argparse.Namespace, speed: Speed) -> dict[str, grid.Measure]:
    """Every cell by its name, which says what its files hold and by which dials it is measured."""
    sizes = {"size": speed.entities, "singles": speed.singles}
    made: dict[str, grid.Measure] = {
        f"speed-{dim}-{grid.digest_of([], sizes)}": partial(measure_speed, dim, **sizes)
        for dim in speed.dims
    }
    if options.seeds < 1:
        raise SystemExit("--seeds should be at least 1")
    if others := _files(options, "inductive_", INDUCTIVE):
        if len(others) < len(INDUCTIVE):
            named = ", ".join(f"--inductive-{name}" for name in INDUCTIVE)
            raise SystemExit(f"{named} should be given together, or none of them")
        made |= _others_cells(options, others)
    if files := _files(options, "", GIVEN):
        if options.train is None:
            raise SystemExit("--train should be given where --valid or --test is")
        made |= _withheld_cells(options, files)
    return made


def _files(options: argparse.Namespace, prefix: str, names: Sequence[str]) -> list[Path]:
    found = []
    for name in names:
        file: Path | None = getattr(options, f"{prefix}{name}")
        if file is None:
            continue
        if not file.is_file():
            option = f"{prefix}{name}".replace("_", "-")
            raise SystemExit(f"--{option} should name a file, received {file}")
        found.append(file)
    return found


def _withheld_cells(options: argparse.Namespace, files: Sequence[Path]) -> dict[str, grid.Measure]:
    made: dict[str, grid.Measure] = {}
    split = {"share": SHARE, "enough": ENOUGH, "edges": EDGES, "asked": ASKED}
    whole = _split(options, 1).graph(None)
    dials = split | _learned(whole, _dials(options, 0, options.epochs))
    trained, folded = (grid.digest_of(files, dials | more) for more in ({}, {"ridges": RIDGES}))
    for seed in _seeds(options):
        rival = _rival(options, options.nodepiece_epochs, seed)
        name = f"cold-{seed}-{folded}"
        made[name] = partial(_kept, options, name, partial(_cold, options, seed))
        for edges in EDGES:
            name = f"retrained-{seed}-{edges}-{trained}"
            made[name] = partial(_kept, options, name, partial(_retrained, options, seed, edges))
        name = f"nodepiece-{seed}-{TOLD}-{grid.digest_of(files, split | asdict(rival))}"
        made[name] = partial(_kept, options, name, partial(_nodepiece, options, rival))
    return made


def _others_cells(options: argparse.Namespace, files: Sequence[Path]) -> dict[str, grid.Measure]:
    made: dict[str, grid.Measure] = {}
    dials = _learned(_data(options).numbered().graph, _dials(options, 0, options.inductive_epochs))
    folded = grid.digest_of(files, dials | {"ridges": RIDGES, "turns": TURNS})
    for seed in _seeds(options):
        rival = _others_rival(options, seed)
        name = f"others-fold-in-{seed}-{folded}"
        made[name] = partial(_kept, options, name, partial(_others, options, seed))
        name = f"others-nodepiece-{seed}-{grid.digest_of(files, asdict(rival))}"
        made[name] = partial(_kept, options, name, partial(_others_nodepiece, options, rival))
    return made


def _learned(graph: Graph, dials: Dials) -> dict[str, Any]:
    """All that a training of such a graph goes by, so that other dials are other cells.

    But for the precision, which the processor decides: a page names processors.
    """
    chosen = asdict(choose(graph, dials).config)
    return {name: value for name, value in chosen.items() if name not in ("seed", "precision")}


def _seeds(options: argparse.Namespace) -> range:
    return range(1, options.seeds + 1)


def _rival(options: argparse.Namespace, epochs: int, seed: int) -> NodePieceDials:
    """As many trials as fold-in has lambdas."""
    return NodePieceDials(
        dim=options.dim,
        epochs=epochs,
        stops=len(RIDGES) // len(FEW_RATES),
        learning_rates=FEW_RATES,
        seed=seed,
    )


def _others_rival(options: argparse.Namespace, seed: int) -> NodePieceDials:
    rival = _rival(options, options.inductive_nodepiece_epochs, seed)
    return replace(rival, learning_rates=RATES, stops=len(RIDGES) * len(TURNS) // len(RATES))


def _split(options: argparse.Namespace, seed: int) -> Withheld:
    names = read_names(_files(options, "", GIVEN))
    return withhold(names, share=SHARE, enough=ENOUGH, seed=seed)


def _dials(options: argparse.Namespace, seed: int, epochs: float) -> Dials:
    return Dials(dim=options.dim, epochs=epochs, seed=seed)


def _kept(
    options: argparse.Namespace, cell: str, work: Callable[[], Measured]
) -> Mapping[str, Any]:
    """What a cell says, once its ranks lie beside it."""
    found = work()
    cold_leads.keep(options.out / "cells" / f"{cell}.npz", found.ranks)
    return found.told


def _with_seed(seed: int, found: Measured) -> Measured:
    return Measured({"seed": seed, **found.told}, found.ranks)


def _cold(options: argparse.Namespace, seed: int) -> Measured:
    dials = _dials(options, seed, options.epochs)
    return _with_seed(seed, measure_cold(_split(options, seed), dials))


def _retrained(options: argparse.Namespace, seed: int, edges: int) -> Measured:
    dials = _dials(options, seed, options.epochs)
    return _with_seed(seed, measure_retrained(_split(options, seed), edges, dials))


def _nodepiece(options: argparse.Namespace, dials: NodePieceDials) -> Measured:
    split = _split(options, dials.seed)
    train = Part(split.kept, split.stay)
    told = Part(split.told(TOLD), len(split.ids))
    valid, test = (split.asked(max(EDGES), ASKED, half) for half in halves(split))
    asked = Asked(valid, test, split.known)
    found = measure_nodepiece(train, told, asked, len(split.relations), dials)
    return _of_rival(f"nodepiece/{TOLD}", dials, found)


def _of_rival(name: str, dials: NodePieceDials, found: Chosen) -> Measured:
    told = {"seed": dials.seed, **found.dials, name: found.figures}
    return Measured(told, {name: found.reciprocal})


def _data(options: argparse.Namespace) -> Known:
    return Known(**{n: read_names([getattr(options, f"inductive_{n}")]) for n in INDUCTIVE})


def _others(options: argparse.Namespace, seed: int) -> Measured:
    dials = _dials(options, seed, options.inductive_epochs)
    return _with_seed(seed, measure_others(_data(options), dials))


def _others_nodepiece(options: argparse.Namespace, dials: NodePieceDials) -> Measured:
    data = _data(options).numbered()
    graph = data.graph
    rows = np.stack([graph.head, graph.relation, graph.tail], axis=1)
    train, told = Part(rows, graph.entity_count), Part(data.told, data.count)
    asked = Asked(data.valid, data.test, data.known)
    found = measure_nodepiece(train, told, asked, len(graph.relations), dials)
    return _of_rival("nodepiece", dials, found)


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Rows of what there is of the cells, one per run and one over all of them."""
    rows: list[Row] = []
    # (where, arm) -> seed -> figures
    told: dict[tuple[str, str], dict[int, Mapping[str, float]]] = {}
    for cell, result in found.items():
        if cell.startswith("speed-"):
            rows += _speed_rows(cell.split("-")[1], result)
            continue
        for arm, figures in result.items():
            if isinstance(figures, Mapping):
                name, _, edges = arm.partition("/")
                where = f"edges={edges}" if edges else "others"
                told.setdefault((where, name), {})[result["seed"]] = figures
    for (where, arm), by_seed in told.items():
        for metric in next(iter(by_seed.values())):
            values = {seed: figures[metric] for seed, figures in by_seed.items()}
            rows += _spread(metric, where, arm, values)
    for edges in EDGES:
        mine, theirs = (told.get((f"edges={edges}", arm), {}) for arm in ("fold-in", "retrained"))
        shares = {n: mine[n]["mrr"] / theirs[n]["mrr"] for n in mine if n in theirs}
        rows += _spread("mrr_share", f"edges={edges}", "fold-in / retrained", shares)
    return rows


def _speed_rows(dim: str, told: Mapping[str, Any]) -> list[Row]:
    return [
        Row(metric=metric, value=told[field], unit=unit, split=f"d={dim}", model="fold-in")
        for metric, field, unit in (
            ("entities_per_second", "per_second", "entities/s"),
            ("one_entity_p50", "p50_ms", "ms"),
            ("one_entity_p99", "p99_ms", "ms"),
        )
    ]


def _spread(metric: str, where: str, arm: str, by_seed: Mapping[int, float]) -> list[Row]:
    """Every run, and their mean with its t interval; nothing of no run."""
    if not by_seed:
        return []
    same = {"metric": metric, "unit": "share", "split": where, "model": arm}
    mean, low, high = interval(list(by_seed.values()))
    rows = [Row(value=value, seed=seed, **same) for seed, value in sorted(by_seed.items())]
    return [*rows, Row(value=mean, lo=low, hi=high, seed="all", **same)]


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and picture of what was measured."""
    leads = cold_leads.leads(found, options.out / "cells")
    rows = [*rows_of(found), *cold_leads.rows_of(leads)]
    spare(options.out, "cold", rows)
    names = ("seeds", "dim", "epochs", "nodepiece_epochs")
    names += ("inductive_epochs", "inductive_nodepiece_epochs")
    dials = {name: getattr(options, name) for name in names}
    dials |= {"share": SHARE, "enough": ENOUGH, "ridges": RIDGES, "turns": TURNS, "rates": RATES}
    words = _WORDS.format(
        ridges=len(RIDGES),
        told=TOLD,
        looks=_rival(options, options.nodepiece_epochs, 1).trials,
        ours=len(RIDGES) * len(TURNS),
        theirs=_others_rival(options, 1).trials,
    )
    by_edges(options.out / "edges.png", [row for row in rows if row.metric == "mrr"])
    told = [*_taken(found), *_cut_off(found)]
    words = "\n\n".join([words.strip(), *told, cold_leads.section(leads)])
    given = printed.given(arguments(), options)
    publish(options.out, rows, found, dials, About("cold", _TITLE, words, "model", given, AIMS))


def _taken(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What was chosen, seed by seed."""
    for kind, what in (("cold-", "of the withheld"), ("others-fold-in-", "of the others")):
        told = sorted((one["seed"], one) for cell, one in found.items() if cell.startswith(kind))
        if told:
            each = ", ".join(f"{one['prior_edges']:g}" for _, one in told)
            turns = ", ".join(f"{one['turns']}" for _, one in told if "turns" in one)
            behind = f", after {turns} turns" if turns else ""
            yield f"Lambdas that `chosen` took {what}, seed by seed: {each}{behind}."


def _cut_off(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A rival that was best at its last look might gain by more of them; its page says so."""
    told = [result for cell, result in found.items() if cell.startswith("nodepiece-")]
    last = sum(result["epochs"] == result["last_look"] for result in told)
    if last:
        own = [found[cell]["measured_seconds"] for cell in found if cell.startswith("cold-")]
        theirs = np.mean([result["measured_seconds"] for result in told])
        beside = f", and those of fold-in {np.mean(own):.0f} s" if own else ""
        yield (
            f"In {last} of {len(told)} seeds `nodepiece` is best at its last look, so it might "
            f"gain by more epochs. All of its trials take {theirs:.0f} s a seed{beside}."
        )


def main() -> None:
    options = arguments().parse_args()
    try:
        found = grid.run(cells(options, Speed()), options)
    except KgeError as error:
        raise SystemExit(f"error: {error}") from error
    write(found, options)


if __name__ == "__main__":
    main()
