"""A small world in which everything happens: its schema, and random events of it.

Takes a source of chance, gives events as an application posts them: new ones, and ones that are
late, repeated, contradictory, taken back, refused or malformed. Never asks the service anything.
"""

from random import Random
from typing import Any

DAY, HOUR = 86_400, 3_600
USERS = [f"u{n}" for n in range(14)]
ITEMS = [f"i{n}" for n in range(12)]
TOPICS = [f"t{n}" for n in range(4)]
SHOWN = 16

SCHEMA = """
name = "world"

[entities.user]
person = true
attributes = { country = "category", age = "number" }
[entities.item]
attributes = { title = "text" }
[entities.topic]

[relations.click]
head = "user"
tail = "item"
source = "onsite"
[relations.buy]
head = "user"
tail = "item"
source = "offsite"
[relations.told]
head = "item"
tail = "user"
source = "offsite"
[relations.friend]
head = "user"
tail = "user"
source = "onsite"
directed = false
[relations.part_of]
head = "item"
tail = "topic"
source = "structure"
parallel = false
[relations.like]
head = "item"
tail = "item"
source = "structure"
self_loops = false

[observations.impression]
head = "user"
tail = "item"
source = "onsite"
[observations.hide]
head = "user"
tail = "item"
source = "onsite"

[label]
exposure = "impression"
outcome = "click"
negative = "hide"
"""

#: event -> (source, type and ids of its actor, of its object)
_USER, _ITEM, _TOPIC = ("user", USERS), ("item", ITEMS), ("topic", TOPICS)
_ENDS: dict[str, tuple[str, Any, Any]] = {
    "click": ("onsite", _USER, _ITEM),
    "impression": ("onsite", _USER, _ITEM),
    "hide": ("onsite", _USER, _ITEM),
    "buy": ("offsite", _USER, _ITEM),
    "told": ("offsite", _ITEM, _USER),
    "friend": ("onsite", _USER, _USER),
    "part_of": ("structure", _ITEM, _TOPIC),
    "like": ("structure", _ITEM, _ITEM),
    "set_attributes": ("structure", _USER, None),
    "opt_out": ("onsite", _USER, None),
    "opt_in": ("offsite", _USER, None),
    "retire": ("structure", _ITEM, None),
    "restore": ("structure", _ITEM, None),
}
_RELATIONS = ("click", "buy", "told", "friend", "part_of", "like")
_OFTEN = ("click",) * 5 + ("impression",) * 5 + ("buy",) * 4 + ("told",) * 2 + ("retract",) * 4


class World:
    """Makes events. The same chance and the same moments give the same events."""

    def __init__(self, chance: Random, now: int) -> None:
        self.chance = chance
        self.began = now
        self.made: list[dict[str, Any]] = []
        self.merges = 0

    def history(self) -> list[dict[str, Any]]:
        """Enough to train on: everybody is shown everything, and clicks every other item."""
        events = []
        for step in range(SHOWN):
            for place, user in enumerate(USERS):
                time = self.began - 3 * DAY + step * HOUR + place
                item = ITEMS[(step * 5 + place * 3) % len(ITEMS)]
                events.append(self._event("impression", time, user, item))
                if (step + place) % 2:
                    events.append(self._event("click", time + 5, user, item))
        events += [
            self._event("part_of", self.began - 4 * DAY, item, TOPICS[n % len(TOPICS)])
            for n, item in enumerate(ITEMS)
        ]
        return events

    def batch(self, now: int, size: int) -> list[dict[str, Any]]:
        """Events of all kinds."""
        return [self.one(now) for _ in range(size)]

    def one(self, now: int) -> dict[str, Any]:
        """An event: mostly a new one, else an earlier one again, whole or changed."""
        again = self.chance.random()
        if self.made and again < 0.12:
            return self.chance.choice(self.made)
        if self.made and again < 0.17:
            return self.chance.choice(self.made) | {"event_time": self._time(now)}
        name = self.chance.choice((*_OFTEN, *_ENDS))
        if name in ("retire", "opt_out") and self.chance.random() < 0.5:
            name = "restore" if name == "retire" else "opt_in"
        if self.chance.random() < 0.01 and self.merges < 4:
            return self._merge(now)
        if name == "retract":
            relation = self.chance.choice(_RELATIONS)
            return self._event(name, self._time(now), *self._ends(relation), relation=relation)
        event = self._event(name, self._time(now), *self._ends(name))
        if name == "set_attributes":
            event["properties"] = {"country": self.chance.choice(["DE", "FR", "IT", None])}
        return event | self._oddity()

    def named(self, event_name: str, now: int, head: str, tail: str) -> dict[str, Any]:
        """An event between two entities of this world's own choosing."""
        return self._event(event_name, now, head, tail)

    def _oddity(self) -> dict[str, Any]:
        if self.chance.random() > 0.06:
            return {}
        return self.chance.choice(
            [
                {"event_time": self.began - 8 * DAY},
                {"event_time": self.began + 7 * DAY},
                {"consent": False},
                {"action_source": "structure"},
                {"event_name": "nothing"},
                {"actor": {"type": "nobody", "id": "u1"}},
                {"value": 9.5, "currency": "EUR"},
            ]
        )

    def _merge(self, now: int) -> dict[str, Any]:
        self.merges += 1
        ids = self.chance.choice([USERS, ITEMS])
        return self._event("merge", self._time(now), *self.chance.sample(ids, 2))

    def _ends(self, name: str) -> tuple[str, ...]:
        _, actor, target = _ENDS[name]
        return tuple(self.chance.choice(end[1]) for end in (actor, target) if end)

    def _time(self, now: int) -> int:
        """Some time of the last days: old enough for a label, and not near the late window."""
        ages = self.chance.randint(2 * HOUR, 3 * HOUR), self.chance.randint(2 * HOUR, 5 * DAY)
        return now - self.chance.choice([2 * HOUR, DAY, *ages])

    def _event(self, name: str, time: int, *ends: str, **more: Any) -> dict[str, Any]:
        source = "structure"
        declared = more.get("relation", name)
        if declared in _ENDS:
            source = _ENDS[declared][0]
        refs = [{"type": _TYPES[end[0]], "id": end} for end in ends]
        event: dict[str, Any] = {
            "event_id": f"e{len(self.made)}",
            "event_name": name,
            "event_time": time,
            "action_source": source,
            "actor": refs[0],
            **more,
        }
        if len(refs) > 1:
            event["object"] = refs[1]
        if source == "offsite":
            event["consent"] = True
        self.made.append(event)
        return event


_TYPES = {"u": "user", "i": "item", "t": "topic", "n": "user"}
