"""What a benchmark leaves behind: a report as JSON, a page, and a table on the screen.

Takes rows, the cells they are from, and words; never measures anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aims
import grid
import orjson
from aims import Aim
from pages import cells_of, header_of, page
from rich.table import Table

from graphsvc.report import Row, as_report, rows_of


@dataclass(frozen=True)
class About:
    """What a benchmark says of itself: `name` is its script's, `models` what its rows compare."""

    name: str
    title: str
    words: str
    models: str
    #: options that a reader would have to give again
    options: str = ""
    aims: Sequence[Aim] = ()

    @property
    def command(self) -> str:
        """What to run."""
        return f".venv/bin/python benchmarks/{self.name}.py {self.options}".rstrip()


def spare(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Raise `SystemExit` where the report in a folder has figures that these rows lack.

    A command with fewer options, or a run that is not through, would leave a page of its own part
    in the place of the whole one. What it measured is in its cells.
    """
    file = folder / f"{name}.json"
    if not file.exists():
        return
    lost = _figures(rows_of(orjson.loads(file.read_bytes()))) - _figures(rows)
    if lost:
        example = " / ".join(min(lost))
        raise SystemExit(
            f"error: {file} has {len(lost)} figures that this command lacks, such as {example}, so "
            f"it stays as it is, and so does the page; give the options that the page names, or "
            f"another --out, or delete the report"
        )


def _figures(rows: Sequence[Row]) -> set[tuple[str, str, str]]:
    return {(row.metric, row.model, row.split) for row in rows}


def publish(
    folder: Path,
    rows: Sequence[Row],
    cells: Mapping[str, Mapping[str, Any]],
    dials: Mapping[str, Any],
    about: About,
) -> None:
    """Write `<name>.json` and `README.md` into a folder, and show the table; of nothing neither.

    Raises `SystemExit` as `spare` does.

    The report's commit names those of all cells, which may have been measured at several.
    """
    if not rows:
        raise SystemExit("error: nothing is measured yet, so there is no page of it")
    spare(folder, about.name, rows)
    head = header_of(cells.values(), dials)
    report = orjson.dumps(as_report(rows, head), option=orjson.OPT_INDENT_2)
    (folder / f"{about.name}.json").write_bytes(report)
    reached = aims.section(about.aims, rows)
    same = (about.title, about.words, about.command, rows, head)
    text = page(*same, models=about.models, aims=reached)
    (folder / "README.md").write_text(text)
    shown = Table("metric", about.models, "where", "value", "95 % interval", "unit")
    for line in cells_of(rows):
        shown.add_row(*line)
    grid.console.print(shown)
