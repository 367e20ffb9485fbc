"""The options of a benchmark's command, as its page prints them.

Takes a parser and what it has parsed, gives text; never says where files lie on this machine.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What says how far one command goes and where it works, but not what is measured.
_OF_ONE_RUN = ("only", "list", "budget_minutes", "work")


def given(
    parser: argparse.ArgumentParser, options: argparse.Namespace, *, leave: tuple[str, ...] = ()
) -> str:
    """Every option that is not as it is by default, in the parser's order, but for `leave`."""
    told = []
    for name, value in vars(options).items():
        if name not in (*_OF_ONE_RUN, *leave) and value != parser.get_default(name):
            told.append(f"--{name.replace('_', '-')}")
            told += _texts(value)
    return " ".join(told)


def _texts(value: Any) -> Iterator[str]:
    """An option's values; none of a switch."""
    if isinstance(value, list):
        yield from (text for one in value for text in _texts(one))
    elif isinstance(value, Path):
        yield path(value)
    elif isinstance(value, float):
        yield f"{value:g}"
    elif value is not True:
        yield str(value)


def path(file: Path) -> str:
    """A path from here; elsewhere its last folder, which may name a data set, and its own name."""
    whole, here = file.resolve(), Path.cwd()
    if whole.is_relative_to(here):
        return whole.relative_to(here).as_posix()
    return f"{whole.parent.name}/{whole.name}"
