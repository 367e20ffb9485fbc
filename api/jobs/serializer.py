"""JSON for everything that the job database stores; pickle is switched off.

Takes job inputs, results, schedules and exceptions, gives JSON text; never unpickles, not even a
row that claims to be a pickle.
"""

import json
from datetime import datetime
from typing import Any, NoReturn

from dbos._serialization import DefaultSerializer, Serializer

_LONGEST_MESSAGE = 2000


class JobFailed(RuntimeError):
    """A job failed; its reason follows."""


class JsonSerializer(Serializer):
    """JSON with two additions: datetimes (schedules need them) and the sentence of an exception."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_to_json)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data, object_hook=_from_json)

    def name(self) -> str:
        return "graphsvc_json"


def forbid_pickle() -> None:
    """Make DBOS' default serializer refuse. Called by every process that opens the job database."""

    def refuse(*_args: Any) -> NoReturn:
        raise TypeError("pickle is switched off; rows are JSON")

    # A row's own column chooses the reader, so a doctored row would otherwise be unpickled.
    for name in ("serialize", "deserialize"):
        setattr(DefaultSerializer, name, refuse)


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, BaseException):
        return {"$error": type(value).__name__, "message": str(value)[:_LONGEST_MESSAGE]}
    raise TypeError(f"a job's values should be JSON, received {type(value).__name__}")


def _from_json(value: dict[str, Any]) -> Any:
    if "$datetime" in value:
        return datetime.fromisoformat(value["$datetime"])
    if "$error" in value:
        return JobFailed(value["message"] or value["$error"])
    return value
