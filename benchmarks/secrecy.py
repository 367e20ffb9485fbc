"""What it costs federated rounds that a server sees less: drawn clients, sums alone, noise.

    python3 -m venv build/flower && build/flower/bin/pip install -e '.[federated,dev]'
    build/flower/bin/python benchmarks/secrecy.py

All of it is Flower's own: its drawing, its SecAgg+, its mod for local differential privacy; clients
are asked in one process. Where Flower is not installed nothing is measured; an environment of its
own, since it holds other packages to older versions.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
from fed_problems import CONVEX_ROWS, Problem, convex
from matplotlib import pyplot as plt
from pictures import finish
from publish import About, publish, spare

from graphsvc.report import Row
from ranking.fedda.config import MethodConfig, NoiseConfig, RoundsConfig, SecretSumConfig
from ranking.intervals import t_interval

#: Clients of a small federation, and of a larger one.
CLIENTS = (20, 60)
ROUNDS = RoundsConfig(rounds=30, steps=10)
METHOD = MethodConfig(reading="carried", optimizer="sgdm", momentum=0.9)
#: What each arm tries on a world of its own seed; bounds are of answers that get noise.
RATES, BOUNDS, TRIED = (0.01, 0.03, 0.1, 0.3), (0.03, 0.3), 0
EPSILON, DELTA = 1.0, 1e-5
_TITLE = "What secrecy costs federated rounds"
_WORDS = """
Logistic regression with a known optimum, clients with inputs and a truth of their own, as in
[federated methods](../federated/README.md), of {few} and of {many} clients; FedDA `carried` with
SGDM, {rounds} rounds of {steps} local steps. `reached` is the share of the way from the first loss
to the least one. All that is compared is Flower's own, and off by default; clients are asked in
one process, beside other work, so `round_seconds` has no network in it, all clients one after the
other, and tells orders of magnitude alone.

- `all`: each client in each round, answers as they are. `half drawn`, `tenth drawn`: Flower draws
  so many for a round.
- `summed`: SecAgg+; the server sees the mean of the answers, rounded, and each client's rows and
  steps. All clients have a secret with each other: of {few} alone.
- `noise`: each answer is shortened and gets noise until it is ({epsilon:g}, {delta:g}) locally
  differentially private: nobody but the client sees it without. That is one round's; {rounds} of
  them are ({spent:g}, {lost:g}). Noise of a mean falls with the root of the clients.

Each arm has its rate by trials on a world of a seed of its own, of {rates}; `noise` its bound as
well, of {bounds}. The t interval is over {seeds} seeds; `cost` is what is lost beside `all`, seed
by seed.

![reached by arm](reached.png)
"""


@dataclass(frozen=True)
class Arm:
    """What the server sees less of."""

    name: str
    fraction: float = 1.0
    summed: bool = False
    noisy: bool = False
    #: federations that it is measured in
    clients: tuple[int, ...] = CLIENTS


ARMS = (
    Arm("all"),
    Arm("half drawn", fraction=0.5),
    Arm("tenth drawn", fraction=0.1),
    Arm("summed", summed=True, clients=CLIENTS[:1]),
    Arm("noise", noisy=True),
)


class NotInstalled(Exception):
    """Flower is not installed: .venv/bin/pip install -e '.[federated]'."""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/secrecy")
    made.add_argument("--seeds", type=int, default=5, help="2 to 11")
    return made


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name: an arm in a federation, its trials and all its seeds."""
    made: dict[str, grid.Measure] = {}
    for count in CLIENTS:
        for arm in (one for one in ARMS if count in one.clients):
            told = (count, ROUNDS.rounds, ROUNDS.steps, METHOD.momentum, RATES, BOUNDS, EPSILON)
            name = grid.named(_stem(arm, count), *told, DELTA, options.seeds)
            made[name] = partial(_measured, arm, count, options.seeds)
    return made


def _stem(arm: Arm, count: int) -> str:
    return f"{arm.name.replace(' ', '-')}-{count}"


def _measured(arm: Arm, count: int, seeds: int) -> Mapping[str, Any]:
    torch.set_num_threads(1)
    tried = {
        (rate, bound): _run(arm, convex(TRIED, count), TRIED, rate, bound)["reached"]
        for rate, bound in product(RATES, BOUNDS if arm.noisy else BOUNDS[:1])
    }
    rate, bound = max(tried, key=lambda dials: tried[dials])
    runs = [_run(arm, convex(seed, count), seed, rate, bound) for seed in range(1, seeds + 1)]
    return {
        "rate": rate,
        "bound": bound if arm.noisy else None,
        "reached": [one["reached"] for one in runs],
        "round_seconds": [one["round_seconds"] for one in runs],
        "tried": [[*dials, reached] for dials, reached in tried.items()],
    }


def _run(arm: Arm, problem: Problem, seed: int, rate: float, bound: float) -> dict[str, float]:
    """One training over Flower; one that leaves the numbers reaches nothing."""
    try:
        from fed_grid import LocalGrid, server_context

        from api.federation import FedDA, client_app, server_app
        from api.secrecy import local_noise, summed_client_app, summed_server_app
        from ranking.fedda.course import Course
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{NotInstalled.__doc__} {error}") from error
    logging.getLogger("flwr").setLevel(logging.ERROR)
    random.seed(seed)
    np.random.seed(seed)
    method, clients = replace(METHOD, rate=rate), problem.clients()
    count = clients.count
    noise = NoiseConfig(bound=bound, epsilon=EPSILON, delta=DELTA)
    mods = [local_noise(noise)] if arm.noisy else []

    def find(context: Any) -> tuple[Any, int]:
        return clients, int(context.node_config["partition-id"])

    secret = SecretSumConfig(most_rows=CONVEX_ROWS)
    make_app: Callable[[], Any] = partial(client_app, find, method, mods=mods)
    if arm.summed:
        make_app = partial(summed_client_app, find, method, secret)
    apps = {number + 1: make_app() for number in range(count)}
    with tempfile.TemporaryDirectory() as folder:
        course = Course(problem.start, (method, ROUNDS), Path(folder) / "state.safetensors")
        if arm.summed:
            app = summed_server_app(lambda _: course, secret)
        else:
            app = server_app(lambda _: FedDA(course, fraction=arm.fraction))
        began = time.perf_counter()
        app(LocalGrid(apps), server_context())
        spent = time.perf_counter() - began
        if course.left:
            raise SystemExit(f"{arm.name} ended with {course.left} rounds left")
    reached = problem.worth(course.state.weights)["reached"]
    usable = reached if np.isfinite(reached) else -np.inf
    return {"reached": max(float(usable), -1e3), "round_seconds": spent / ROUNDS.rounds}


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """What each arm reached, what that is beside `all`, and how long its rounds took."""
    made: list[Row] = []
    for count in CLIENTS:
        cells_of = {arm.name: _cell(found, arm, count) for arm in ARMS}
        everybody = cells_of[ARMS[0].name]
        for name, cell in cells_of.items():
            if cell is None:
                continue
            where = {"model": name, "split": f"{count} clients"}
            made.append(_mean(cell["reached"], metric="reached", unit="share", **where))
            if everybody is not None and cell is not everybody:
                lost = np.subtract(everybody["reached"], cell["reached"]).tolist()
                made.append(_mean(lost, metric="cost", unit="share", **where))
            seconds = mean(cell["round_seconds"])
            made.append(Row(metric="round_seconds", value=seconds, unit="s", **where))
    return made


def _cell(found: Mapping[str, Mapping[str, Any]], arm: Arm, count: int) -> Mapping[str, Any] | None:
    stem = f"{_stem(arm, count)}-"
    return next((cell for name, cell in found.items() if name.startswith(stem)), None)


def _mean(values: Sequence[float], **about: Any) -> Row:
    value, low, high = t_interval(list(values))
    return Row(value=value, lo=low, hi=high, seed="all", **about)


def draw(file: Path, rows: Sequence[Row]) -> None:
    """What each arm reached, a group of bars for each federation."""
    shown = [row for row in rows if row.metric == "reached"]
    figure, axes = plt.subplots(figsize=(8.4, 3.4), layout="constrained")
    names = [arm.name for arm in ARMS if any(row.model == arm.name for row in shown)]
    for n, count in enumerate(CLIENTS):
        own = [row for row in shown if row.split == f"{count} clients"]
        places = [names.index(row.model) + 0.38 * (n - 0.5) for row in own]
        bars = np.transpose([(row.value - (row.lo or 0), (row.hi or 0) - row.value) for row in own])
        axes.bar(places, [row.value for row in own], 0.36, yerr=bars, label=f"{count} clients")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("share of the way to the optimum")
    finish(file, figure, axes)


def main() -> None:
    options = parser().parse_args()
    if not 2 <= options.seeds <= 11:
        raise SystemExit(f"--seeds should be 2 to 11, received {options.seeds}")
    outcome = grid.measure(cells(options), options, (NotInstalled,))
    if options.list:
        return
    rows = rows_of(outcome.found)
    spare(options.out, "secrecy", rows)
    if rows:
        draw(options.out / "reached.png", rows)
    words = _WORDS.format(
        few=CLIENTS[0],
        many=CLIENTS[1],
        rounds=ROUNDS.rounds,
        steps=ROUNDS.steps,
        epsilon=EPSILON,
        delta=DELTA,
        spent=ROUNDS.rounds * EPSILON,
        lost=ROUNDS.rounds * DELTA,
        rates=", ".join(f"{rate:g}" for rate in RATES),
        bounds=", ".join(f"{bound:g}" for bound in BOUNDS),
        seeds=options.seeds,
    )
    told = {"seeds": options.seeds, "clients": list(CLIENTS), "rounds": ROUNDS.rounds}
    about = About("secrecy", _TITLE, words.strip(), "arm", printed.given(parser(), options))
    publish(options.out, rows, outcome.found, told, about)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
