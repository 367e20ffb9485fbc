"""Federated methods side by side: what it takes to get as far as centralized training.

    .venv/bin/python benchmarks/federated.py
    .venv/bin/python benchmarks/federated.py --sets convex

All methods race on logistic regression with a known optimum; the best of them on digits.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

# PyKEEN makes a folder for data sets where it is imported; none is needed here.
os.environ.setdefault("PYSTOW_HOME", str(Path(tempfile.gettempdir()) / "pystow"))
sys.path.insert(0, str(Path(__file__).parent))

import fed_pages
import fed_race
import grid
import printed
from fed_problems import Problem, convex, digits
from fed_race import CENTRAL, Arm, arms, best_trial, raced, told
from publish import About, publish

from api.errors import ApiError
from api.settings import read_settings
from graphsvc.errors import GraphError
from kge.errors import KgeError
from ranking.fedda.config import MethodConfig, RoundsConfig

#: Seed of the problem on which dials are chosen; those of the race begin at 1.
TRIED = 0
ALWAYS = ("fedavg",)
_LONGER = ("digit_rounds", "digit_steps", "ranker_rounds", "ranker_steps", "ranker_clients")


class NotYet(Exception):
    """Another cell has to be measured first."""


#: What a cell may fail with.
ERRORS = (NotYet, ApiError, GraphError, KgeError)


@dataclass(frozen=True)
class Set:
    """A set of problems, one for each seed, and how long a race on it is."""

    name: str
    problem: Callable[[int], Problem]
    length: RoundsConfig
    trials: int
    #: Whether trials of FedDA include end phases.
    ends: bool = True


def sets(options: argparse.Namespace) -> dict[str, Set]:
    made = [
        Set(
            "convex",
            convex,
            RoundsConfig(rounds=options.convex_rounds, steps=options.convex_steps),
            options.trials,
        ),
        *(
            Set(
                f"digits-{alpha:g}",
                partial(digits, alpha=alpha),
                RoundsConfig(rounds=options.digit_rounds, steps=options.digit_steps),
                options.trials,
            )
            for alpha in options.alphas
        ),
        Set(
            "movielens",
            partial(_movielens, options),
            RoundsConfig(
                rounds=options.ranker_rounds,
                steps=options.ranker_steps,
                clients=options.ranker_clients,
            ),
            options.ranker_trials,
            ends=False,
        ),
    ]
    return {one.name: one for one in made}


def arguments() -> argparse.ArgumentParser:
    parser = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/federated")
    parser.add_argument("--sets", nargs="+", help="some sets only: convex, digits-0.1, ...")
    parser.add_argument("--seeds", type=int, default=5, help="2 to 11")
    parser.add_argument("--trials", type=int, default=24, help="of each method on each set")
    parser.add_argument("--best", type=int, default=5, help="methods that race beyond convex")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.6])
    parser.add_argument("--convex-rounds", type=int, default=200)
    parser.add_argument("--convex-steps", type=int, default=10)
    parser.add_argument("--digit-rounds", type=int, default=150)
    parser.add_argument("--digit-steps", type=int, default=5)
    parser.add_argument("--data", type=Path, help="the folder of MovieLens-100k's five files")
    parser.add_argument("--work", type=Path, help="folder of what is made of it")
    parser.add_argument("--ranker-rounds", type=int, default=60)
    parser.add_argument("--ranker-steps", type=int, default=5)
    parser.add_argument("--ranker-clients", type=int, default=100, help="users in a round")
    parser.add_argument("--ranker-trials", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def central_arm() -> Arm:
    """One client with all rows, whose carried momentum is centralized SGDM exactly."""
    return Arm(name=CENTRAL, method=MethodConfig())


def cell_name(options: argparse.Namespace, one: Set, arm: Arm) -> str:
    dials = (asdict(one.length), asdict(arm.method), one.trials, one.ends, options.seeds)
    return grid.named(f"{one.name}-{arm.name.replace(' ', '-')}", *dials)


def kept(options: argparse.Namespace, one: Set, arm: Arm) -> Mapping[str, Any] | None:
    """What a cell says, if it has been measured."""
    file: Path = options.out / "cells" / f"{cell_name(options, one, arm)}.json"
    return json.loads(file.read_text()) if file.exists() else None


def measure(options: argparse.Namespace, one: Set, arm: Arm) -> Mapping[str, Any]:
    """Dials of an arm by its trials, and its race on every seed."""
    target, references = math.inf, dict.fromkeys(_seeds(options), 0.0)
    if arm.name != CENTRAL:
        central = kept(options, one, central_arm())
        if central is None:
            raise NotYet(f"{one.name} should have been trained centrally first")
        target = fed_race.SHARES[-1] * central["tried"]["last"]
        references = {seed: central["races"][str(seed)]["last"]["reached"] for seed in references}
    elif (known := _reference(options, one)) is not None:
        return known
    arm = replace(arm, ends=arm.ends and one.ends)
    chosen = best_trial(one.problem(TRIED), arm, one.length, trials=one.trials, target=target)
    races = {
        str(seed): raced(one.problem(seed), chosen.trial, reference, central=arm.name == CENTRAL)
        for seed, reference in references.items()
    }
    tried = {"number": chosen.number, "took": chosen.rounds, "last": chosen.last}
    tried |= {"trials": one.trials, **told(chosen.trial)}
    return {"set": one.name, "arm": arm.name, "tried": tried, "races": races}


def _reference(options: argparse.Namespace, one: Set) -> Mapping[str, Any] | None:
    """The center's cell where a set has another optimizer for it; None where it has not."""
    first = one.problem(TRIED).reference
    if first is None:
        return None
    never = dict.fromkeys(f"{share:g}" for share in fed_race.SHARES)
    races = {}
    for seed in _seeds(options):
        reference = one.problem(seed).reference
        last = dict(reference()) if reference is not None else {}
        races[str(seed)] = {"took": never, "rounds": 0, "last": last, "curve": [last]}
    tried = {"took": None, "last": first()["score"], "trials": 1}
    return {"set": one.name, "arm": CENTRAL, "tried": tried, "races": races}


def _movielens(options: argparse.Namespace, seed: int) -> Problem:
    work = options.work or read_settings().cache_dir / "federated"
    return _rankers(options.data, work, options.threads)(seed)


@cache
def _rankers(data: Path | None, work: Path, threads: int) -> Callable[[int], Problem]:
    """Loaded when a cell first needs it: it takes the service's own examples."""
    from fed_movielens import problem_of

    return problem_of(data, work, threads)


def _seeds(options: argparse.Namespace) -> range:
    if not 2 <= options.seeds <= 11:
        raise SystemExit(f"--seeds should be 2 to 11, received {options.seeds}")
    return range(1, options.seeds + 1)


def cells(
    options: argparse.Namespace, one: Set, taking_part: Sequence[Arm]
) -> dict[str, grid.Measure]:
    return {
        cell_name(options, one, arm): partial(measure, options, one, arm)
        for arm in (central_arm(), *taking_part)
    }


def bias_cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """How far from the optimum methods come to rest, with dials that none of them chose."""
    return {
        grid.named(f"bias-{seed}", fed_pages.BIAS_DIALS): partial(fed_pages.bias, seed)
        for seed in _seeds(options)
    }


def best_of(found: Mapping[str, Mapping[str, Any]], count: int) -> list[Arm]:
    """The methods with the fewest rounds on convex, and FedAvg among them in any case."""
    known = arms()
    order = sorted(
        (fed_pages.mean_rounds(cell, fed_race.SHARES[-1]), cell["arm"])
        for cell in found.values()
        if cell.get("set") == "convex" and cell["arm"] in known
    )
    names = [name for _, name in order]
    chosen = [*ALWAYS, *(name for name in names if name not in ALWAYS)][:count]
    return [known[name] for name in chosen]


def everything(options: argparse.Namespace) -> grid.Outcome:
    """Convex with all methods, then the others with the best of them."""
    wanted = options.sets or list(sets(options))
    unknown = set(wanted) - set(sets(options))
    if unknown:
        raise SystemExit(f"--sets should be of {', '.join(sets(options))}: {sorted(unknown)}")
    first = sets(options)["convex"]
    everybody = cells(options, first, list(arms().values()))
    outcome = grid.measure({**bias_cells(options), **everybody}, options, ERRORS)
    complete = everybody.keys() <= outcome.found.keys()
    for name in wanted:
        if name != "convex" and complete:
            best = best_of(outcome.found, options.best)
            more = cells(options, sets(options)[name], best)
            outcome |= grid.measure(more, options, ERRORS)
    if not complete and wanted != ["convex"]:
        grid.console.print("the other sets wait until convex is complete")
    return outcome


def write(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Report, page and pictures of what was measured."""
    rows = fed_pages.rows_of(found)
    names = ("seeds", "trials", "best", "alphas", "convex_rounds", "convex_steps")
    dials = {name: getattr(options, name) for name in (*names, *_LONGER)}
    fed_pages.pictures(options.out, found)
    words = fed_pages.words(found, options)
    given = printed.given(arguments(), options, leave=("out", "sets"))
    about = About("federated", fed_pages.TITLE, words, "method", given, fed_pages.AIMS)
    publish(options.out, rows, found, dials, about)


def main() -> None:
    options = arguments().parse_args()
    outcome = everything(options)
    if not options.list and outcome.found:
        write(outcome.found, options)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
