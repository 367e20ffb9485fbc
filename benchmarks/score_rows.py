"""Figures and picture of scores over HTTP.

Takes what cells measured, gives rows of a report; measures nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import pyplot as plt
from pictures import finish
from score_forwards import EAGER

from graphsvc.report import Row
from ranking.intervals import t_interval


class Asked(NamedTuple):
    """What was measured: the ranker's arm, precisions of ID rows, candidates, clients at once."""

    arm: str
    precisions: Sequence[str]
    candidates: Sequence[int]
    clients: Sequence[int]
    #: Scores that one process computes at once.
    at_once: Sequence[int] = ()


def result_rows(found: Mapping[str, Mapping[str, Any]], asked: Asked) -> list[Row]:
    """The figures of all cells; those of turns as their mean with a t interval."""

    def cells(name: str) -> list[Mapping[str, Any]]:
        return [cell for whole, cell in found.items() if whole.startswith(f"{name}-")]

    made: list[Row] = []
    for precision in asked.precisions:
        for told in cells(f"ranker-{precision}"):
            made += _of_ranker(asked.arm, precision, told)
        for count in asked.candidates:
            made += _of_turns(
                f"{precision}/{count} candidates", count, cells(f"alone-{precision}-{count}")
            )
        made += _of_turns(
            f"{precision}/while events come", asked.candidates[0], cells(f"fed-{precision}")
        )
        for clients in asked.clients:
            for cell in cells(f"loaded-{precision}-{clients}"):
                made += _of_crowd(f"{precision}/{clients} clients", asked.candidates[0], cell)
    turns = [(number, cell) for number in asked.at_once for cell in cells(f"turns-{number}")]
    for number, cell in turns:
        made += _of_crowd(f"one process/{number} at once", asked.candidates[0], cell)
    forwards = [(count, cell) for count in asked.candidates for cell in cells(f"forwards-{count}")]
    for count, cell in forwards:
        made += _of_forwards(count, cell["forms"])
    return made


def _of_forwards(count: int, forms: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Of each form how long it takes, by the eager one as well, turn by turn."""
    made = []
    for form, told in forms.items():
        where = {"split": f"network alone/{count} candidates", "model": form, "seed": "all"}
        value, low, high = t_interval(told["p50_ms"])
        made.append(Row(metric="network_p50_ms", value=value, unit="ms", lo=low, hi=high, **where))
        both = zip(told["p50_ms"], forms[EAGER]["p50_ms"], strict=True)
        value, low, high = t_interval([own / eager for own, eager in both])
        made += [
            Row(metric="by_eager", value=value, unit="ratio", lo=low, hi=high, **where),
            Row(metric="logit_difference", value=told["logit_difference"], unit="logit", **where),
            Row(metric="seconds_to_make", value=told["seconds_to_make"], unit="s", **where),
        ]
    return made


def _of_ranker(arm: str, precision: str, told: Mapping[str, Any]) -> list[Row]:
    auc, low, high = told["test_auc"]
    where = {"split": precision, "model": arm}
    sizes = {"x_0": "numbers", "layers": "layers", "tokens": "tokens", "table_mib": "MiB"}
    return [
        Row(metric="test_auc", value=auc, unit="share", lo=low, hi=high, **where),
        *(Row(metric=name, value=told[name], unit=unit, **where) for name, unit in sizes.items()),
        *(
            Row(
                metric="forward_p50_ms",
                value=value,
                unit="ms",
                split=f"{precision}/{count} candidates",
                model=count,
            )
            for count, value in told["forward_p50_ms"].items()
        ),
    ]


def _of_turns(split: str, count: int, turns: Sequence[Mapping[str, Any]]) -> list[Row]:
    if not turns:
        return []
    figures = {"p50_ms": "score_p50_ms", "p99_ms": "score_p99_ms", "server_peak_mib": "server_peak"}
    where = {"split": split, "model": str(count), "seed": "all"}
    made = []
    for name, metric in figures.items():
        if name not in turns[0]:
            continue
        value, low, high = t_interval([turn[name] for turn in turns])
        unit = "MiB" if name.endswith("mib") else "ms"
        made.append(Row(metric=metric, value=value, unit=unit, lo=low, hi=high, **where))
    return made


def _of_crowd(split: str, candidates: int, cell: Mapping[str, float]) -> list[Row]:
    where = {"split": split, "model": str(candidates)}
    units = {"answers_per_second": "answers/s", "p50_ms": "ms", "p99_ms": "ms"}
    names = {"p50_ms": "loaded_p50_ms", "p99_ms": "loaded_p99_ms"}
    return [
        Row(metric=names.get(name, name), value=cell[name], unit=unit, **where)
        for name, unit in units.items()
    ]


def draw(file: Path, rows: Sequence[Row], asked: Asked) -> None:
    """Answers per second and waiting, by clients at once."""
    crowds = [row for row in rows if row.split.endswith(" clients")]
    if not crowds:
        return
    figure, (left, right) = plt.subplots(ncols=2, figsize=(9.6, 3.6), layout="constrained")
    for precision in asked.precisions:
        own = {
            metric: sorted(
                (int(row.split.split("/")[1].split()[0]), row.value)
                for row in crowds
                if row.metric == metric and row.split.startswith(f"{precision}/")
            )
            for metric in ("answers_per_second", "loaded_p50_ms", "loaded_p99_ms")
        }
        if not own["answers_per_second"]:
            continue
        [line] = left.plot(*zip(*own["answers_per_second"], strict=True), "o-", label=precision)
        color = line.get_color()
        right.plot(*zip(*own["loaded_p50_ms"], strict=True), "o-", color=color)
        right.plot(*zip(*own["loaded_p99_ms"], strict=True), "s:", color=color)
    for axes, says in ((left, "answers per second"), (right, "ms: p50 (line), p99 (dotted)")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(asked.clients, [str(clients) for clients in asked.clients])
        axes.set_xlabel("clients at once")
        axes.set_ylabel(says)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    finish(file, figure, left)
