"""The demo's report as people read it.

Takes the report's document, prints tables; every figure comes from the document.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from graphsvc.report import Row, rows_of

_RETRIEVAL = ("mrr", "hits@10", "recall@50")
_RANKING = ("auc", "logloss", "ece")
_TITLES = {
    "per_user_time": "(a) per user by time, the headline (item statistics see the global future)",
    "global_time": "(b) global time, as served (new users are folded in)",
}


def show(document: Mapping[str, Any], path: Path, *, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
        return
    console, rows = Console(width=110), rows_of(document)
    _show_service(console, rows)
    for protocol, title in _TITLES.items():
        console.rule(title)
        test = f"{protocol}/test"
        console.print(_table(rows, test, _RETRIEVAL, "held-out user-film edges, filtered"))
        console.print(_table(rows, test, _RANKING, "rankers and rivals, test span"))
        console.print(_by_history(rows, protocol))
        for sentence in _verdicts(rows, test):
            console.print(sentence, highlight=False)
    near = document["neighbors"]
    console.rule("neighbors")
    console.print(f"nearest to {near['of']}: {', '.join(near['items'])}", highlight=False)
    console.print(f"\nEvery figure is in {path}; the service's data is in .demo/data.")


def _show_service(console: Console, rows: Sequence[Row]) -> None:
    console.rule("the service")
    table = Table("metric", "of", "value", "unit")
    for row in rows:
        if row.split == "demo":
            table.add_row(row.metric, row.model, f"{row.value:,.1f}".removesuffix(".0"), row.unit)
    console.print(table)


def _table(rows: Sequence[Row], split: str, metrics: Iterable[str], title: str) -> Table:
    """Models down, metrics across, each with its 95 % interval; differences below."""
    table = Table("model", *metrics, title=title, title_justify="left")
    wanted = [row for row in rows if row.split == split and row.metric in metrics]
    models = dict.fromkeys(row.model for row in wanted)
    for model in sorted(models, key=lambda name: " - " in name):
        cells = {row.metric: _figure(row) for row in wanted if row.model == model}
        table.add_row(model, *(cells.get(metric, "") for metric in metrics))
    return table


def _by_history(rows: Sequence[Row], protocol: str) -> Table | str:
    """The same by how many outcomes of the user were known before the row."""
    prefix = f"{protocol}/test/history="
    wanted = [r for r in rows if r.split.startswith(prefix) and r.metric in ("auc", "mrr")]
    if not wanted:
        return ""
    buckets = list(dict.fromkeys(row.split.removeprefix(prefix) for row in wanted))
    table = Table("metric", "model", *(f"history {b}" for b in buckets), title_justify="left")
    for metric, model in dict.fromkeys((row.metric, row.model) for row in wanted):
        cells = {
            row.split.removeprefix(prefix): _figure(row)
            for row in wanted
            if (row.metric, row.model) == (metric, model)
        }
        table.add_row(metric, model, *(cells.get(bucket, "") for bucket in buckets))
    return table


def _verdicts(rows: Sequence[Row], split: str) -> Iterable[str]:
    """One sentence per difference: it counts when its interval excludes 0."""
    for row in rows:
        if row.split != split or " - " not in row.model or row.metric not in ("mrr", "auc"):
            continue
        ours, rival = row.model.split(" - ")
        if row.lo is not None and row.lo > 0:
            yield f"{ours} beats {rival} on {row.metric}: {_figure(row, signed=True)}"
        elif row.hi is not None and row.hi < 0:
            yield f"{ours} loses to {rival} on {row.metric}: {_figure(row, signed=True)}"
        else:
            yield (
                f"{ours} and {rival}: no difference shown on {row.metric}, "
                f"{_figure(row, signed=True)}"
            )


def _figure(row: Row, *, signed: bool = False) -> str:
    sign = "+" if signed or " - " in row.model else ""
    text = f"{row.value:{sign}.4f}"
    if row.lo is None or row.hi is None:
        return text
    return f"{text} [{row.lo:{sign}.4f}, {row.hi:{sign}.4f}]"
