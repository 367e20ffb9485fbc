"""What processes write to stderr: lines for people on a terminal, JSON for machines elsewhere.

Takes log records, gives text; never the text of an error that nobody foresaw, which may quote an id
or a body: its class and where it was raised are told.
"""

import json
import logging
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

Form = Literal["auto", "json", "text"]
#: What is written down of requests: all, those that were answered 400 and above but for refusals of
#: what is too much, or none.
Told = Literal["all", "errors", "none"]

#: The id of the request that is being answered; "" elsewhere.
trace_id: ContextVar[str] = ContextVar("trace_id", default="")
#: Loggers of which a server tells more than warnings: where a ranker lies, requests.
SERVED = ("graphsvc.tiers", "graphsvc.requests")
#: What a record of ours may carry beside its sentence, as `extra={"fields": {...}}`.
_FIELDS = "fields"
#: Libraries whose sentences quote what they fail on.
_QUOTING = frozenset({"nicegui", "asyncio", "socketio", "engineio"})
#: Calls of a traceback that are told, the innermost ones.
_MOST_CALLS = 20


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3]
            + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _said(record),
        }
        if one := trace_id.get():
            told["trace_id"] = one
        told |= getattr(record, _FIELDS, {})
        if record.exc_info:
            told["error"] = raised(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.message = _said(record)
        line = f"{self.formatTime(record)} {record.name} {record.message}"
        fields = getattr(record, _FIELDS, {})
        if fields:
            line += " " + " ".join(f"{name}={value}" for name, value in fields.items())
        if record.exc_info:
            told = raised(record.exc_info)
            line += "\n" + "\n".join([*(f"  {call}" for call in told["at"]), told["class"]])
        return line


def _said(record: logging.LogRecord) -> str:
    """What a record says; nothing of libraries that quote errors and addresses."""
    if record.name.partition(".")[0] in _QUOTING:
        return "its words are left out: they may quote an id"
    return record.getMessage()


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def raised(error: ExcInfo) -> dict[str, Any]:
    """Where an error came from: its class, and file, line and function of the calls."""
    kind, _, trace = error
    calls = traceback.extract_tb(trace)[-_MOST_CALLS:]
    name = "" if kind is None else f"{kind.__module__}.{kind.__qualname__}"
    return {"class": name, "at": [f"{one.filename}:{one.lineno} {one.name}" for one in calls]}


def begin(form: Form, *, told: Sequence[str] = ()) -> None:
    """Let this process write its log to stderr: warnings of all, and what the loggers `told` say.

    Of those named before and not now, warnings.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in SERVED:
        logging.getLogger(name).setLevel(logging.INFO if name in told else logging.NOTSET)
