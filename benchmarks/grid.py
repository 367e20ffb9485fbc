"""A benchmark as a grid of cells: each is measured once, kept as a JSON file, and never again.

Takes cells by name, gives their results; never measures two at a time. Run it again and it goes on
with the cells that are missing; delete a file to measure that cell anew.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from api.provenance import commit, machine

console = Console(stderr=True, width=110, soft_wrap=True)

Measure = Callable[[], Mapping[str, Any]]
#: What a cell may end with; any other exception is a fault of the benchmark and ends it.
Errors = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Outcome:
    """What there is of a grid's cells: results by name, and what those said that failed now."""

    found: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]

    def __or__(self, other: "Outcome") -> "Outcome":
        """Two grids as one."""
        return Outcome({**self.found, **other.found}, {**self.failed, **other.failed})

    @property
    def code(self) -> int:
        """The exit code: 1 where a cell failed."""
        return 1 if self.failed else 0


def arguments(description: str, out: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the cells' files")
    parser.add_argument(
        "--budget-minutes", type=float, default=60.0, help="begin no cell after so many"
    )
    parser.add_argument("--only", default="", help="only cells whose name has this in it")
    parser.add_argument("--list", action="store_true", help="list the cells and stop")
    return parser


def named(name: str, *parts: Any) -> str:
    """A cell's name with a short digest of its data and dials: under others it is another cell.

    `parts` are plain values, as JSON has them; of files, a digest of what they hold.
    """
    told = json.dumps(parts, sort_keys=True).encode()
    return f"{name}-{hashlib.sha256(told).hexdigest()[:8]}"


def digest_of(files: Iterable[Path], dials: Mapping[str, Any] | None = None) -> str:
    """A short digest of what files hold, in their order, wherever they lie, and of dials."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    if dials is not None:
        whole.update(json.dumps(dials, sort_keys=True).encode())
    return whole.hexdigest()[:8]


def run(cells: Mapping[str, Measure], options: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """`measure` for a benchmark of one grid whose cells do not fail; a listing ends it."""
    outcome = measure(cells, options)
    if options.list:
        sys.exit(0)
    return dict(outcome.found)


def measure(
    cells: Mapping[str, Measure], options: argparse.Namespace, errors: Errors = ()
) -> Outcome:
    """Measure what is missing within the budget, with `--list` nothing; every result there is.

    A cell that raises one of `errors` leaves no file and keeps no other cell from its turn.
    """
    folder: Path = options.out / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    began = time.monotonic()
    for name, work in cells.items():
        file = folder / f"{name}.json"
        if options.list or file.exists() or options.only not in name:
            continue
        if time.monotonic() - began > options.budget_minutes * 60:
            break
        console.print(f"[bold]{name}[/] ...")
        start, before = time.monotonic(), commit()
        try:
            told = work()
        except errors as error:
            failed[name] = str(error)
            console.print(f"{name} failed: {error}", markup=False)
            continue
        took = round(time.monotonic() - start, 1)
        code, where = _code(name, before, commit()), machine()
        result = {
            **told,
            "measured_seconds": took,
            "commit": code,
            "processor": where["processor"],
            "machine": where,
        }
        half = file.with_suffix(".half")
        half.write_text(json.dumps(result, indent=1) + "\n")
        half.rename(file)
        console.print(f"{name}: {_short(result)}")
    found = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in cells
        if (folder / f"{name}.json").exists()
    }
    _tell([name for name in cells if name not in found], failed, len(cells))
    return Outcome(found, failed)


def _code(name: str, before: str, after: str) -> str:
    """What a cell was measured with: a checkout that changed meanwhile is told, and shown.

    Modules are loaded when they are first needed, so either one may have been what was measured.
    """
    if before == after:
        return before
    console.print(
        f"warning: {name} began at commit {before} and ended at {after}: to measure it anew, "
        f"delete its file",
        markup=False,
    )
    return f"{before}..{after}"


def _tell(missing: list[str], failed: Mapping[str, str], count: int) -> None:
    console.print(f"{count - len(missing)} of {count} cells" + ("; missing:" if missing else ""))
    for name in missing:
        console.print(f"  {name}", markup=False)
    for name, message in failed.items():
        console.print(f"failed: {name}: {message}", markup=False)


def _short(result: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in result.items() if isinstance(v, int | float | str)}
    return ", ".join(
        f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in plain.items()
    )
