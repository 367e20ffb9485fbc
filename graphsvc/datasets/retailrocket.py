"""RetailRocket's shop: what visitors viewed, put into the cart and bought.

Takes a folder, a zip file or the file itself, gives raw events; never holds a file in memory.

The published data set is `events.csv`, with the time of every row in milliseconds. Where it is not
there, a derivative of it is read, a file per kind of event. That one holds no times, so times are
made: one second per row, first all views, then all additions to a cart, then all purchases, in the
order of the files. Whatever depends on time, a split or a decay, means nothing on the derivative.
"""

import io
import re
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from graphsvc.errors import DatasetMissing

#: The first row's time in the derivative: 2015-05-01, about when the data was collected.
START = 1_430_438_400

_PUBLISHED = "events.csv"
_HEADER = "timestamp,visitorid,event,itemid,transactionid"
_ROW = re.compile(
    r"(\d{1,15}),(\d{1,20}),(view|addtocart|transaction),(\d{1,20}),(\d{0,20})", re.ASCII
)
_NAMES = {"view": "view", "addtocart": "add_to_cart", "transaction": "purchase"}
_DERIVED = {
    "view": "view_ecommerce.dat",
    "add_to_cart": "add_to_cart_ecommerce.dat",
    "purchase": "purchase_ecommerce.dat",
}

#: Visitors are persons; a view is what is shown, an addition to the cart the outcome.
RETAILROCKET_SCHEMA: dict[str, Any] = {
    "name": "shop",
    "entities": {"visitor": {"person": True}, "item": {"person": False}},
    "relations": {
        name: {"head": "visitor", "tail": "item", "source": "onsite", "weight": weight}
        for name, weight in (("view", 1.0), ("add_to_cart", 2.0), ("purchase", 4.0))
    },
    "observations": {},
    "label": {"exposure": "view", "outcome": "add_to_cart", "window_minutes": 1440.0},
}

Raw = dict[str, Any]


@dataclass(slots=True)
class RetailRocketCounts:
    """What the files gave, and what was left out."""

    #: Whether the times are those of the shop; False: they were made.
    timed: bool = True
    events: int = 0
    #: Events whose row stood there before, to the millisecond; each is an event of its own.
    repeated: int = 0
    #: Rows that are no event: too few or too many cells, another event, no number.
    skipped_row: int = 0
    #: The first of them, as `file, line n`.
    first_skipped: str | None = None

    def skip(self, file: str, line: int) -> None:
        self.skipped_row += 1
        self.first_skipped = self.first_skipped or f"{file}, line {line}"


def retailrocket(source: Path, counts: RetailRocketCounts | None = None) -> Iterator[Raw]:
    """The events of the schema `RETAILROCKET_SCHEMA`, in the order of the files.

    `counts` is filled while the events are taken, but says at once whether they are `timed`.
    Raises `DatasetMissing` if neither form is there.
    """
    counts = counts if counts is not None else RetailRocketCounts()
    counts.timed = _has(source, _PUBLISHED)
    if counts.timed:
        return _published(source, counts)
    missing = [file for file in _DERIVED.values() if not _has(source, file)]
    if missing:
        raise DatasetMissing(
            f"{source.name} should be {_PUBLISHED}, or a folder or zip file that holds it or all "
            f"of {', '.join(_DERIVED.values())}; neither {_PUBLISHED} nor {', '.join(missing)} is "
            "there"
        )
    return _derived(source, counts)


def _published(source: Path, counts: RetailRocketCounts) -> Iterator[Raw]:
    """Two passes, so that a row is told from its repetition without a set of millions of rows."""
    suspects = _suspects(source)
    seen: Counter[str] = Counter()
    for number, row in _rows(source):
        if row is None:
            counts.skip(_PUBLISHED, number)
            continue
        time, visitor, event, item, transaction = row
        name = _NAMES[event]
        event_id = f"rr-{name}-{time}-{visitor}-{item}"
        if transaction:
            event_id += f"-t{transaction}"
        if hash(row) in suspects:
            seen[event_id] += 1
            if seen[event_id] > 1:
                counts.repeated += 1
                event_id += f"-r{seen[event_id]}"
        counts.events += 1
        yield _event(event_id, name, int(time) // 1000, visitor, item)


def _suspects(source: Path) -> set[int]:
    """The hashes that more than one row has. A collision only means that a row is counted."""
    hashes = array("q", (hash(row) for _, row in _rows(source) if row is not None))
    ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _rows(source: Path) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    """The number of each line and its cells, None where it is no row of the data set."""
    with _opened(source, _PUBLISHED) as stream:
        header = next(stream, "").strip()
        if header != _HEADER:
            raise DatasetMissing(
                f"{_PUBLISHED} should begin with the line {_HEADER}, received {header[:100]!r}"
            )
        for number, line in enumerate(stream, start=2):
            match = _ROW.fullmatch(line.strip())
            if match:
                yield number, match.groups()
            elif line.strip():
                yield number, None


def _derived(source: Path, counts: RetailRocketCounts) -> Iterator[Raw]:
    time = START
    for name, file in _DERIVED.items():
        with _opened(source, file) as stream:
            for number, line in enumerate(stream, start=1):
                cells = line.split()
                if number == 1 and cells and not cells[0].isdecimal():
                    continue  # the names of the columns
                if len(cells) < 2:
                    if cells:
                        counts.skip(file, number)
                    continue
                visitor, item = cells[:2]
                time += 1
                counts.events += 1
                yield _event(f"rr-{name}-{visitor}-{item}", name, time, visitor, item)


def _event(event_id: str, name: str, time: int, visitor: str, item: str) -> Raw:
    return {
        "event_id": event_id,
        "event_name": name,
        "event_time": time,
        "action_source": "onsite",
        "actor": {"type": "visitor", "id": visitor},
        "object": {"type": "item", "id": item},
    }


def _has(source: Path, file: str) -> bool:
    if source.is_dir():
        return any(source.rglob(file))
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return _member(archive, file) is not None
    return source.is_file() and source.name == file


@contextmanager
def _opened(source: Path, file: str) -> Iterator[TextIO]:
    """A file that is there. What is no text becomes a row that is skipped."""
    with ExitStack() as stack:
        if zipfile.is_zipfile(source):
            archive = stack.enter_context(zipfile.ZipFile(source))
            member = stack.enter_context(archive.open(_member(archive, file) or file))
            yield io.TextIOWrapper(member, encoding="utf-8-sig", errors="replace")
            return
        found = min(source.rglob(file)) if source.is_dir() else source
        yield stack.enter_context(found.open(encoding="utf-8-sig", errors="replace"))


def _member(archive: zipfile.ZipFile, file: str) -> str | None:
    names = (name for name in archive.namelist() if name.endswith(f"/{file}") or name == file)
    return next(names, None)
