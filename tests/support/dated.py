"""Events of ads that happened so many days ago."""

from typing import Any

from graphsvc.schema import load_schema

ADS = load_schema("ads")
DAY = 86_400
NOW = 1_767_225_600


def dated(*events: tuple[str, str, str, int]) -> list[dict[str, Any]]:
    """Events as (name, actor, object, days before now)."""
    return [
        {
            "event_id": str(number),
            "event_name": name,
            "event_time": NOW - days * DAY,
            "action_source": ADS.events[name].source,
            "actor": {"type": ADS.events[name].head, "id": actor},
            "object": {"type": ADS.events[name].tail, "id": target},
            "consent": True,
        }
        for number, (name, actor, target, days) in enumerate(events)
    ]
