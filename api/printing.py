"""What the command line shows: a table or lines for people, JSON for machines, and progress.

Takes plain values, prints them; never computes any.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from api.jsontext import json_of, whole

#: The option of every command that answers.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

#: Progress goes to stderr, so that stdout holds the answer alone.
PROGRESS_CONSOLE = Console(stderr=True)


#: Room for a digest beside what is said of it.
_TABLE_WIDTH = 130


@dataclass(frozen=True, slots=True)
class Output:
    """An answer, and how people see it."""

    values: Mapping[str, Any]
    #: The name of a list in `values`, and the columns to show.
    table: tuple[str, Sequence[str]] | None = None
    note: str | None = None


def out(output: Output, *, as_json: bool) -> None:
    """Print an answer on stdout."""
    if as_json:
        sys.stdout.buffer.write(json_of(output.values) + b"\n")
        sys.stdout.flush()
        return
    console = Console()
    if output.table:  # the terminal may fold a long line; a table that is squeezed loses its ids
        console.width = max(console.width, _TABLE_WIDTH)
    listed = output.table[0] if output.table else None
    if output.table:
        table = Table()
        for column in output.table[1]:
            # An id that is cut or folded cannot be copied.
            table.add_column(column, overflow="fold", no_wrap=column in ("digest", "id", "ranker"))
        for row in output.values[output.table[0]]:
            table.add_row(*(Text(_cell(column, row.get(column))) for column in output.table[1]))
        console.print(table)
    for name, value in output.values.items():
        if name != listed and value not in (None, []):
            console.print(f"{name}: {_text(value)}", soft_wrap=True, highlight=False, markup=False)
    if output.note:
        console.print(output.note, soft_wrap=True, highlight=False, markup=False)


class RateColumn(ProgressColumn):
    """Units of work per second, over the last half minute; blank as long as nobody knows."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:,.1f}/s", style="progress.data.speed")


def progress_bars(*, quiet: bool) -> Progress:
    """The bars that every long command shows where somebody sees them move."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=PROGRESS_CONSOLE,
        # In a pipe or a log a bar is a remnant, even where colors are forced.
        disable=quiet or not PROGRESS_CONSOLE.file.isatty(),
    )


def announce(what: str) -> None:
    """Say what begins, where nobody sees bars move: in a pipe or a log."""
    if not PROGRESS_CONSOLE.file.isatty():
        PROGRESS_CONSOLE.print(f"... {what}")


class Ticker:
    """A progress bar for one thing, in the form that steps want."""

    def __init__(self, title: str, *, quiet: bool) -> None:
        self._progress = progress_bars(quiet=quiet)
        self._task: TaskID = self._progress.add_task(title, total=None, note="")

    def tick(self, done: int, total: int, note: str) -> None:
        """Show `done` of `total`."""
        self._progress.update(self._task, completed=done, total=total or None, note=note)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


def _cell(column: str, value: Any) -> str:
    if column.endswith("_at") and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list | tuple):
        return json_of(value).decode()
    return whole(str(value))


def moment(seconds: int | None) -> str:
    """A second since 1970 as people read it, in UTC; "" of none."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
