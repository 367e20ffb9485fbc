"""Somebody in the planted world who is going to be erased, and every place where they might be.

Their id stands in no other text, so that bytes on disk can be searched for it.
"""

from pathlib import Path
from typing import Any

from planted import START, planted_events

from api.demo import searching

WHO, AS = "u5", "forgotten-5f3a@example.org"
REF = {"type": "user", "id": AS}
PATH = "/v1/entities/user/forgotten-5f3a%40example.org"


def events() -> list[dict[str, Any]]:
    """The planted world, one of whose people has a name that can be told from all others."""
    named = [_named(event) for event in planted_events()]
    return [*named, said("forgotten-age", "set_attributes", properties={"age": 77, "gender": "F"})]


def said(event_id: str, name: str, *, time: int = START + 40_000, **rest: Any) -> dict[str, Any]:
    """What is said of them alone."""
    return {
        "event_id": event_id,
        "event_name": name,
        "event_time": time,
        "action_source": "structure",
        "actor": REF,
        **rest,
    }


def places(folder: Path) -> list[str]:
    """The files in which their id stands, whether plain or packed."""
    return [str(file.relative_to(folder)) for file in searching.places(folder, AS)]


def _named(event: dict[str, Any]) -> dict[str, Any]:
    if event["actor"]["id"] != WHO:
        return event
    return {**event, "actor": REF, "event_id": event["event_id"].replace(WHO, AS)}
