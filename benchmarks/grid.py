"""A benchmark as a grid of cells: each is measured once, kept as a JSON file, and never again.

Takes cells by name, gives their results; never measures two at a time. Run it again and it goes on
with the cells that are missing; delete a file to measure that cell anew.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from api.provenance import commit

console = Console(stderr=True, width=110, soft_wrap=True)

Measure = Callable[[], Mapping[str, Any]]


def arguments(description: str, out: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the cells' files")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="begin no cell after")
    parser.add_argument("--only", default="", help="only cells whose name has this in it")
    parser.add_argument("--list", action="store_true", help="list the cells and stop")
    return parser


def run(cells: Mapping[str, Measure], options: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """Measure what is missing within the budget; every result there is, by cell."""
    folder: Path = options.out / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    code = commit()  # of now: who measures for an hour may find another checkout at its end
    for name, measure in cells.items():
        file = folder / f"{name}.json"
        if options.list or file.exists() or options.only not in name:
            continue
        if time.monotonic() - began > options.budget_minutes * 60:
            break
        console.print(f"[bold]{name}[/] ...")
        start = time.monotonic()
        told = measure()
        took = round(time.monotonic() - start, 1)
        result = {**told, "measured_seconds": took, "commit": code}
        half = file.with_suffix(".half")
        half.write_text(json.dumps(result, indent=1) + "\n")
        half.rename(file)
        console.print(f"{name}: {_short(result)}")
    found = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in cells
        if (folder / f"{name}.json").exists()
    }
    missing = [name for name in cells if name not in found]
    console.print(
        f"{len(found)} of {len(cells)} cells" + (f"; missing: {missing}" if missing else "")
    )
    if options.list:
        sys.exit(0)
    return found


def _short(result: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in result.items() if isinstance(v, int | float | str)}
    return ", ".join(
        f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in plain.items()
    )
