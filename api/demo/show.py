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

from api.demo import forget
from graphsvc.report import Row, rows_of

#: What the rows of the embedding's four arms are of; their own split follows.
ARMS_SPLIT = "arms"
_RETRIEVAL = ("mrr", "hits@10", "recall@50")
_RANKING = ("auc", "logloss", "ece")
#: Of all differences that a report holds, those that are put into words.
_JUDGED = (*_RETRIEVAL, "auc")
_TITLES = {
    "per_user_time": "(a) per user by time, the headline (item statistics see the global future)",
    "global_time": "(b) global time, as served (new users are folded in)",
}


def show(document: Mapping[str, Any], path: Path, *, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
        return
    console, rows = Console(width=118, highlight=False), rows_of(document)
    for protocol, title in _TITLES.items():
        test = f"{protocol}/test"
        console.print()
        console.rule(title)
        console.print(_table(rows, test, _RETRIEVAL, "held-out user-film edges, filtered"))
        console.print(
            _table(rows, test, _RANKING, "will the user like the film? rankers and rivals")
        )
        console.print("differences, with paired intervals:")
        for sentence in _verdicts(rows, test):
            console.print(f"  {sentence}")
        _show_slices(
            console,
            rows,
            f"{protocol}/test/history=",
            ("mrr", "auc"),
            "by the number of clicks known of the user before the row",
        )
    _show_arms(console, rows)
    console.print()
    console.rule("the service")
    for sentence in _service(rows):
        console.print(f"  {sentence}")
    console.print(f"  promoted: ranker_{document['promoted']['arm']}, the best on valid")
    for sentence in hybrid_lines(document["hybrid"]):
        console.print(f"  {sentence}")
    near = document["neighbors"]
    console.print(f"  nearest to {near['of']}: {'; '.join(near['items'])}")
    for sentence in forget.lines(document["erasure"]):
        console.print(f"  {sentence}")
    console.print(f"\nEvery figure is in {path}. `make up-demo` serves what was trained here.")


def _service(rows: Sequence[Row]) -> Iterable[str]:
    """What the demo counted and timed, a line per metric."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if row.split == "demo":
            grouped.setdefault(row.metric, []).append(row)
    for metric, found in grouped.items():
        total = sum(row.value for row in found)
        if len(found) == 1:
            of = "" if found[0].model == "graphsvc" else f" of {found[0].model}"
            yield f"{metric}{of}: {_number(total)} {found[0].unit}"
        else:
            each = ", ".join(f"{row.model} {_number(row.value)}" for row in found)
            yield f"{metric}: {each} {found[0].unit}"


def hybrid_lines(words: Mapping[str, Any]) -> Iterable[str]:
    """Which tier holds what of the promoted ranker, in which precision."""
    for table in words["tables"]:
        yield (
            f"{table['name']}: trained in {table['trained']}, served in {table['served']} "
            f"from the {table['tier']} tier"
        )
    upper = words["upper"]
    yield (
        f"upper_model: in the {upper['tier']} tier, on {upper['device']}, "
        f"by {upper['by']}; {words['reason']}"
    )
    yield gpu_line(words)


def gpu_line(words: Mapping[str, Any]) -> str:
    """Whether anything of the hybrid path ran on a GPU."""
    if not words["gpu"]:
        return "nothing of this ran on a GPU: here is none, or none that may be used"
    return f"a GPU is there ({words['gpu']}); the upper model ran on {words['upper']['device']}"


def _table(rows: Sequence[Row], split: str, metrics: Sequence[str], title: str) -> Table:
    """Models down, metrics across, each with its 95 % interval."""
    wanted = [r for r in rows if r.split == split and r.metric in metrics and " - " not in r.model]
    table = Table("model", *metrics, title=title, title_justify="left")
    for model in dict.fromkeys(row.model for row in wanted):
        cells = {row.metric: _figure(row) for row in wanted if row.model == model}
        table.add_row(model, *(cells.get(metric, "") for metric in metrics))
    return table


def _show_arms(console: Console, rows: Sequence[Row]) -> None:
    """The embedding without and with each of its two mechanisms."""
    split = next((row.split for row in rows if row.split.startswith(f"{ARMS_SPLIT}/")), None)
    if split is None:
        return
    console.print()
    console.rule("the four arms of the embedding, trained on the graph of (a)")
    console.print(_table(rows, split, _RETRIEVAL, "held-out user-film edges, filtered"))
    console.print("differences, with paired intervals:")
    for sentence in _verdicts(rows, split):
        console.print(f"  {sentence}")
    _show_slices(
        console,
        rows,
        f"{split}/degree=",
        ("mrr", "hits@10"),
        "by the number of training edges of the film",
    )
    for row in rows:
        if row.metric == "frame_kept":
            kept = "kept" if row.value else "did not keep"
            console.print(f"  {row.model}: the refresh {kept} the frame that it began with")


def _show_slices(
    console: Console, rows: Sequence[Row], prefix: str, metrics: Sequence[str], title: str
) -> None:
    """The same figures by the slices of a split."""
    wanted = [
        row
        for row in rows
        if row.split.startswith(prefix) and row.metric in metrics and " - " not in row.model
    ]
    if not wanted:
        return
    slices = list(dict.fromkeys(row.split for row in wanted))
    names = (split.rpartition("/")[2].replace("=", " ") for split in slices)
    table = Table("metric", "model", *names, title=title, title_justify="left")
    for metric, model in dict.fromkeys((row.metric, row.model) for row in wanted):
        cells = {
            row.split: _figure(row) for row in wanted if (row.metric, row.model) == (metric, model)
        }
        table.add_row(metric, model, *(cells.get(split, "") for split in slices))
    console.print(table)


def _verdicts(rows: Sequence[Row], split: str) -> Iterable[str]:
    """One sentence per difference: it counts when its interval excludes 0."""
    for row in rows:
        if row.split != split or " - " not in row.model or row.metric not in _JUDGED:
            continue
        ours, rival = row.model.split(" - ")
        figure = f"{row.metric} {_figure(row, signed=True)}"
        if row.lo is not None and row.lo > 0:
            yield f"{ours} beats {rival}: {figure}"
        elif row.hi is not None and row.hi < 0:
            yield f"{ours} loses to {rival}: {figure}"
        else:
            yield f"{ours} and {rival}: no difference shown, {figure}"


def _figure(row: Row, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    text = f"{row.value:{sign}.4f}"
    if row.lo is None or row.hi is None:
        return text
    return f"{text} [{row.lo:{sign}.4f}, {row.hi:{sign}.4f}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
