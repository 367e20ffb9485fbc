"""What no log of any test may hold: whole keys, and people.

Takes texts, gives what should not be in them. Tests name people `u7`, or `...@example.org` where
somebody of a longer id is wanted.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.logs import SERVED, JsonLines

FORBIDDEN = re.compile(r"gs_[0-9a-f]{16}_[0-9a-f]{64}|[\w.]+@example\.org|\bu\d+\b")


class _Watching(logging.Handler):
    """Reads every record as a server would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if FORBIDDEN.search(line):
            self.found.append(line)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Lines of this process's log that say too much, until the block ends."""
    handler, root = _Watching(), logging.getLogger()
    told = [logging.getLogger(name) for name in SERVED]
    levels = [one.level for one in told]
    root.addHandler(handler)
    for one in told:
        one.setLevel(logging.INFO)  # as in a server, whatever of it a test looks at
    try:
        yield handler.found
    finally:
        root.removeHandler(handler)
        for one, level in zip(told, levels, strict=True):
            one.setLevel(level)


def refuse(folder: Path) -> None:
    """Raise `AssertionError` where a process in a folder has written what no log may hold."""
    for file in folder.glob("*.log"):
        found = FORBIDDEN.search(file.read_text(errors="replace"))
        assert found is None, f"{file.name} says {found.group()[:24]}..."
