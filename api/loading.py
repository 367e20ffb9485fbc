"""Files of events into the graph, or a look at what they would be.

Takes open files and an intake, gives counts and a note of what was not taken; never prints.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import time
from typing import Any, BinaryIO

import orjson

from api.intake import Intake
from api.reading.files import EventFile
from api.reading.lines import Rows
from graphsvc.ingest import Rules, Verdict, prepare
from graphsvc.schema import Schema

_SHOWN = 10
#: How far a file is, its extent, and the unit of both.
Tick = Callable[[int, int, str], None]


@dataclass(slots=True)
class Loaded:
    """What became of the rows of some files."""

    counts: Counter[str] = field(default_factory=Counter)
    #: The first rows that were not taken, and why.
    first: list[dict[str, Any]] = field(default_factory=list)


def load(files: list[EventFile], intake: Intake, *, rejects: Path | None, tick: Tick) -> Loaded:
    """Ingest files one after the other.

    Rows that were rejected or in conflict are written to `rejects` as they turn up, with the
    reason: one JSON object per line, whose `event` can be corrected and sent again.
    """
    loaded = Loaded()
    with _opened(rejects) as sink:
        for file in files:
            for rows, numbered in intake.run(file.chunks()):
                loaded.counts.update(verdict.status for _, verdict in numbered)
                for (number, value), (_, verdict) in zip(rows, numbered, strict=True):
                    if verdict.status in ("rejected", "conflict"):
                        _note(loaded, sink, file.path, (number, value, verdict))
                tick(file.done, file.total, file.unit)
    return loaded


def preview(files: list[EventFile], schema: Schema, rules: Rules, *, most: int) -> list[Any]:
    """The first events of each file and, where one would be rejected already, why."""
    shown = []
    for file in files:
        for number, value in islice(_flat(file.chunks()), most):
            if isinstance(value, Verdict):
                wrong: Verdict | None = value
            else:
                wrong = prepare(schema, [value], now=int(time()), rules=rules).verdicts[0]
            said = {"rejected": wrong._asdict()} if wrong else {}
            event = None if isinstance(value, Verdict) else value
            shown.append({"file": file.path.name, "line": number, "event": event, **said})
    return shown


def _flat(chunks: Iterator[Rows]) -> Iterator[tuple[int, Any]]:
    for rows in chunks:
        yield from rows


def _note(loaded: Loaded, sink: BinaryIO | None, path: Path, row: tuple[int, Any, Verdict]) -> None:
    number, value, verdict = row
    reason = {"file": path.name, "line": number, **verdict._asdict()}
    if len(loaded.first) < _SHOWN:
        loaded.first.append(reason)
    if sink is not None:
        event = None if isinstance(value, Verdict) else value
        sink.write(_line({**reason, "event": event}))


def _line(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, default=str) + b"\n"
    except TypeError:  # half a pair, or a number beyond 64 bits: no event has one
        return orjson.dumps({**value, "event": repr(value["event"])}, default=str) + b"\n"


def _opened(file: Path | None) -> AbstractContextManager[BinaryIO | None]:
    return file.open("wb") if file else nullcontext()
