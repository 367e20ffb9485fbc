"""What a race of federated methods says: rows, a table, pictures; and where methods come to rest.

Takes cells, gives rows, words and PNGs; measures only the bias, with dials that nobody chose.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from aims import Aim
from differences import interval
from fed_problems import convex
from fed_race import CENTRAL, SHARES, Trial, run
from matplotlib import pyplot as plt
from pages import figure, table
from pictures import finish

from graphsvc.report import Row
from ranking.fedda.config import MethodConfig, RoundsConfig

TITLE = "Federated methods side by side"
AIMS = (
    Aim("rounds_ratio", at_most=1.0),
    Aim("bytes_ratio", at_most=2.0, where=".*sgdm"),
    Aim("bytes_ratio", at_most=2.5, where=".*(adam|adagrad)"),
)
#: What a race that was never won counts in a ratio, as a multiple of its length: for FedDA, surely
#: a loss; for a rival, the least that it can have been.
_LOST, _AT_LEAST = 10, 1
#: What is left of the way to an optimum is drawn down to here.
_NEARLY = 1e-6
#: Rate, momentum, local steps, local rounds, and rounds after them, of the runs that show the bias.
BIAS_DIALS = {
    "rate": 0.1,
    "momentum": 0.9,
    "steps": 10,
    "local": 500,
    "end": 4500,
    "end_rate": 10.0,
}
_WORDS = """
Clients hold rows that are unlike one another; a method may move weights between rounds as it likes.
Counted is how long it takes until weights are as good as 95, 98 and 99 % of what centralized SGDM
reaches in as many rounds, with all rows at one client.

- `convex`: logistic regression, 20 clients with inputs, scales and a truth of their own; what is
  reached is the share of the way from the first loss to the least one. All methods take part.
- `digits`: scikit-learn's digits, a network of one hidden layer, 50 clients whose labels are dealt
  out by Dirichlet .1 and .6; reached is accuracy on test rows. The {best} best of convex take part,
  FedAvg always. Tuned methods lie close together there: small differences say nothing.
- `movielens`: a ranker without an embedding on MovieLens-100k, per user by time; {users} users are
  the clients of a round. Reached is AUC on TEST with each user's private rows at hand, `served`
  without them. Counters are left out: they would be counted in one place, and leave so little to
  learn that an earlier race began where it was to end.
  Centralized is the service's own training (AdamW). {ranker_trials} trials each, without end phase.
- Every method has {trials} trials elsewhere, on a problem of a seed of its own; chosen are the
  fewest rounds to 99 %, there by validation rows, or the highest figure where none gets so far.
  Draws are the same for all methods, each of which reads the dials that it has. Trials of FedDA
  include end phases.
- A round's bytes are those of all clients, both ways. Gradients are those of single rows: an end
  phase and MimeLite ask for one of every row.
- `rounds_ratio`: rounds of the FedDA that did best in its trials, over those of the rival that did
  best in the race. Where FedDA never arrives it counts as {lost} races; a rival as one.

{tables}

## Where methods come to rest

Local steps on unlike clients end beside the optimum. Here all have the same dials
(rate {rate:g}, momentum {momentum:g}, {steps} local steps, {local} rounds), and FedDA then goes on
with rounds of one full gradient per client, at {end_rate:g} times the rate.

![Distance to the optimum by rounds](bias.png)

![What is left of the way to the optimum by rounds, and accuracy](race.png)
"""


def bias(seed: int) -> Mapping[str, Any]:
    """Distances to the optimum, round by round, of five methods."""
    rate, momentum = BIAS_DIALS["rate"], BIAS_DIALS["momentum"]
    local, end, steps = (int(BIAS_DIALS[name]) for name in ("local", "end", "steps"))
    same = {"rate": rate, "momentum": momentum}
    methods = {
        "fedavg": MethodConfig(method="fedavg", **same),
        "scaffold": MethodConfig(method="scaffold", **same),
        "fedcm": MethodConfig(method="fedcm", **same),
        "fedda carried": MethodConfig(**same),
    }
    trials = {
        name: Trial(method, RoundsConfig(rounds=local, steps=steps))
        for name, method in methods.items()
    }
    ended = RoundsConfig(
        rounds=local + end, steps=steps, end_rounds=end, end_rate=BIAS_DIALS["end_rate"]
    )
    trials["fedda carried, end phase"] = Trial(methods["fedda carried"], ended)
    problem = convex(seed)
    return {
        "seed": seed,
        "distances": {
            name: [one["distance"] for one in run(problem, tried).figures]
            for name, tried in trials.items()
        },
    }


def mean_rounds(cell: Mapping[str, Any], share: float) -> float:
    """Over seeds; one that never arrived counts as several races."""
    return float(np.mean([_rounds(race, share, _LOST) for race in cell["races"].values()]))


def _rounds(race: Mapping[str, Any], share: float, never: int) -> float:
    took = race["took"][f"{share:g}"]
    return float(never * max(1, race["rounds"]) if took is None else took["rounds"])


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Rows of what there is of the cells, one per run and one over all of them."""
    rows: list[Row] = []
    for cell in found.values():
        if "distances" in cell:
            continue
        for share in SHARES:
            where = f"{cell['set']}, {share:.0%}"
            took = {seed: race["took"][f"{share:g}"] for seed, race in cell["races"].items()}
            arrived = {seed: one for seed, one in took.items() if one is not None}
            if cell["arm"] != CENTRAL:
                share_of_seeds = {seed: float(seed in arrived) for seed in took}
                rows += _spread("arrived", "share", where, cell["arm"], share_of_seeds)
            if len(arrived) == len(took) and cell["arm"] != CENTRAL:
                for metric in ("rounds", "bytes", "gradients"):
                    values = {seed: float(one[metric]) for seed, one in took.items()}
                    rows += _spread(f"{metric}_to", metric, where, cell["arm"], values)
        for metric in ("reached", "served", "distance"):
            lasts = {
                s: race["last"][metric]
                for s, race in cell["races"].items()
                if metric in race["last"]
            }
            rows += _spread(metric, "share", f"{cell['set']}, at the end", cell["arm"], lasts)
    return [*rows, *_ratios(found), *_bias_rows(found)]


def _bias_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    cells = [cell for cell in found.values() if "distances" in cell]
    names = list(dict.fromkeys(name for cell in cells for name in cell["distances"]))
    rows: list[Row] = []
    for name in names:
        lasts = {str(cell["seed"]): cell["distances"][name][-1] for cell in cells}
        rows += _spread("distance", "share", "convex, same dials, at rest", name, lasts)
    return rows


def _ratios(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """FedDA over the best rival in rounds, and each FedDA over FedAvg in bytes a round."""
    rows: list[Row] = []
    by_set: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in found.values():
        if "set" in cell:
            by_set.setdefault(cell["set"], {})[cell["arm"]] = cell
    for name, of_arm in by_set.items():
        ours = [cell for arm, cell in of_arm.items() if arm.startswith("fedda")]
        rivals = [c for arm, c in of_arm.items() if not arm.startswith("fedda") and arm != CENTRAL]
        if not ours or not rivals:
            continue
        best = min(ours, key=_by_trials)
        rival = min(rivals, key=lambda cell: (mean_rounds(cell, SHARES[-1]), cell["arm"]))
        ratios = {
            seed: _rounds(best["races"][seed], SHARES[-1], _LOST)
            / max(1.0, _rounds(rival["races"][seed], SHARES[-1], _AT_LEAST))
            for seed in best["races"]
        }
        model = f"{best['arm']} / {rival['arm']}"
        rows += _spread("rounds_ratio", "ratio", f"{name}, {SHARES[-1]:.0%}", model, ratios)
        if "fedavg" not in of_arm:
            continue
        plain = of_arm["fedavg"]["races"]
        for cell in ours:
            optimizer = cell["tried"]["method"]["optimizer"]
            bytes_ratio = {
                seed: race["local_bytes"] / plain[seed]["local_bytes"]
                for seed, race in cell["races"].items()
                if race["local_bytes"] and plain[seed]["local_bytes"]
            }
            where = f"{name}, a local round, {optimizer}"
            rows += _spread("bytes_ratio", "ratio", where, f"{cell['arm']} / fedavg", bytes_ratio)
    return rows


def _by_trials(cell: Mapping[str, Any]) -> tuple[float, float, str]:
    """Fewest rounds in the trials first, then the best last score."""
    took = cell["tried"]["took"]
    return (float("inf") if took is None else took, -cell["tried"]["last"], cell["arm"])


def _spread(
    metric: str, unit: str, where: str, arm: str, by_seed: Mapping[str, float]
) -> list[Row]:
    """Every run, and their mean with its t interval; nothing of no run."""
    if not by_seed:
        return []
    same = {"metric": metric, "unit": unit, "split": where, "model": arm}
    mean, low, high = interval(list(by_seed.values()))
    rows = [Row(value=value, seed=int(seed), **same) for seed, value in sorted(by_seed.items())]
    return [*rows, Row(value=mean, lo=low, hi=high, seed="all", **same)]


def words(found: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> str:
    names = list(dict.fromkeys(cell["set"] for cell in found.values() if "set" in cell))
    tables = "\n\n".join(f"## {name}\n\n{_table(found, name)}" for name in names)
    return _WORDS.format(
        best=options.best,
        trials=options.trials,
        users=options.ranker_clients,
        ranker_trials=options.ranker_trials,
        lost=_LOST,
        tables=tables,
        **{name: BIAS_DIALS[name] for name in ("rate", "momentum", "steps", "local", "end_rate")},
    )


def _table(found: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """A line per method, the fastest first: mean rounds, bytes, gradients, and what it ended at."""
    own = [cell for cell in found.values() if cell.get("set") == name]
    own.sort(key=lambda cell: (cell["arm"] != CENTRAL, mean_rounds(cell, SHARES[-1])))
    heads = [
        "method",
        *(f"rounds to {share:.0%}" for share in SHARES),
        "MB",
        "gradients",
        "reached",
    ]
    return table(heads, [_line(cell) for cell in own], left=1)


def _line(cell: Mapping[str, Any]) -> Sequence[str]:
    races, last = list(cell["races"].values()), f"{SHARES[-1]:g}"
    ended = figure(float(np.mean([race["last"]["reached"] for race in races])))
    if cell["arm"] == CENTRAL:
        return (CENTRAL, *["" for _ in SHARES], "", "", ended)
    shown = []
    for share in SHARES:
        took = [race["took"][f"{share:g}"] for race in races]
        arrived = [one["rounds"] for one in took if one is not None]
        shown.append(
            figure(float(np.mean(arrived)))
            if len(arrived) == len(took)
            else f"{len(arrived)} of {len(took)} arrive"
        )
    took = [race["took"][last] for race in races]
    if any(one is None for one in took):
        return (cell["arm"], *shown, "", "", ended)
    megabytes, gradients = (
        float(np.mean([one[key] for one in took])) for key in ("bytes", "gradients")
    )
    return (cell["arm"], *shown, figure(megabytes / 1e6), figure(gradients), ended)


def pictures(folder: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """`bias.png` and `race.png`, of what there is."""
    _bias_picture(folder / "bias.png", [c for c in found.values() if "distances" in c])
    _race_picture(folder / "race.png", [c for c in found.values() if "set" in c])


def _bias_picture(file: Path, cells: Sequence[Mapping[str, Any]]) -> None:
    """Median over seeds of the distance to the optimum."""
    if not cells:
        return
    drawn, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for name in cells[0]["distances"]:
        length = min(len(cell["distances"][name]) for cell in cells)
        median = np.median([cell["distances"][name][:length] for cell in cells], axis=0)
        axes.loglog(np.arange(1, length + 1), median, label=name)
    axes.set_xlabel("rounds, counted from 1")
    axes.set_ylabel("||w - optimum|| / ||optimum||")
    finish(file, drawn, axes)


def _race_picture(file: Path, cells: Sequence[Mapping[str, Any]]) -> None:
    """What is reached, round by round: mean over seeds; the best eight of each set.

    Of a set with a known optimum, what is left of the way there, in logarithms.
    """
    names = list(dict.fromkeys(cell["set"] for cell in cells))
    if not names:
        return
    drawn, panels = plt.subplots(
        len(names), 1, figsize=(8.4, 3.0 * len(names)), layout="constrained", squeeze=False
    )
    for axes, name in zip(panels[:, 0], names, strict=True):
        own = [cell for cell in cells if cell["set"] == name]
        own.sort(key=lambda cell: mean_rounds(cell, SHARES[-1]))
        for cell in own[:8]:
            runs = [[one["reached"] for one in race["curve"]] for race in cell["races"].values()]
            length = min(len(run) for run in runs)
            reached = np.mean([run[:length] for run in runs], axis=0)
            left = np.clip(1 - reached, _NEARLY, None)
            axes.plot(left if name == "convex" else reached, label=cell["arm"])
        axes.set_title(name, fontsize="small")
        if name == "convex":
            axes.set_yscale("log")
        axes.set_ylabel("left of the way" if name == "convex" else "reached")
        axes.grid(visible=True, alpha=0.3)
        place = "upper right" if name == "convex" else "lower right"
        axes.legend(frameon=False, fontsize="x-small", loc=place, ncols=2)
    panels[-1, 0].set_xlabel("rounds")
    drawn.savefig(file, dpi=130)
    plt.close(drawn)
