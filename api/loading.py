"""Files of events into a graph.

Takes open files and an intake, gives counts, a note of what was not taken, and the first events if
they are wanted; never prints.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.intake import Intake
from api.reading.files import EventFile
from api.reading.lines import Unmade
from api.rejects import Rejects
from graphsvc.ingest import Verdict

_SHOWN = 10
_NOT_TAKEN = ("rejected", "conflict")
#: How far a file is, its extent, and the unit of both.
Tick = Callable[[int, int, str], None]


@dataclass(slots=True)
class Loaded:
    """What became of the rows of some files."""

    counts: Counter[str] = field(default_factory=Counter)
    #: The first rows that were not taken, and why.
    first: list[dict[str, Any]] = field(default_factory=list)
    #: The first events of each file, taken or not.
    shown: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events there were."""
        return self.counts.total()


def load(
    files: list[EventFile], intake: Intake, *, rejects: Path | None, tick: Tick, show: int = 0
) -> Loaded:
    """Ingest files one after the other; `show` of each file's events are kept to be looked at.

    Rows that were rejected or in conflict are written to `rejects` as they turn up, with the
    reason: one JSON object per line, whose `event` can be corrected and sent again. Where no event
    could be made, it has the `row` as it was read and the `entry` of the mapping that failed. They
    can be read once their chunk is through, and what stood in the file goes with the first of them.
    """
    loaded = Loaded()
    with ExitStack() as stack:
        sink = stack.enter_context(Rejects(rejects))
        for file in files:
            left = show
            for rows, numbered in intake.run(stack.enter_context(closing(file.chunks()))):
                loaded.counts.update(verdict.status for _, verdict in numbered)
                for (number, value), (_, verdict) in zip(rows, numbered, strict=True):
                    if left:
                        loaded.shown.append(_look(file.path, number, value, verdict))
                        left -= 1
                    if verdict.status in _NOT_TAKEN:
                        _note(loaded, sink, file.path, (number, value, verdict))
                sink.flush()
                tick(file.done, file.total, file.unit)
    return loaded


def _look(path: Path, number: int, value: Any, verdict: Verdict) -> dict[str, Any]:
    event = None if isinstance(value, Unmade) else value
    said = {"rejected": verdict._asdict()} if verdict.status in _NOT_TAKEN else {}
    return {"file": path.name, "line": number, "event": event, **said}


def _note(loaded: Loaded, sink: Rejects, path: Path, row: tuple[int, Any, Verdict]) -> None:
    number, value, verdict = row
    reason = {"file": path.name, "line": number, **verdict._asdict()}
    if len(loaded.first) < _SHOWN:
        loaded.first.append(reason)
    sink.add({**reason, **_as_read(value)})


def _as_read(value: Any) -> dict[str, Any]:
    """What can be corrected and sent again."""
    if not isinstance(value, Unmade):
        return {"event": value}
    return {"event": None, "row": value.row, "entry": value.entry}
