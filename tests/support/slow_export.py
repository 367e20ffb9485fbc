"""A snapshot as anybody would make it by hand: slowly, from a list of posted events.

Entities go by their names (type, id); every rule is one obvious loop over all events.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import ceil, inf, log2
from typing import Any

from graphsvc.export import Conversions, Split
from graphsvc.schema import EventType, Schema
from graphsvc.snapshot import Snapshot

DAY = 86_400
Name = tuple[str, str]


class Slow:
    """What a snapshot of some events should hold; `observed`: when the last one arrived."""

    def __init__(
        self, schema: Schema, log: list[dict[str, Any]], split: Split, observed: int
    ) -> None:
        self.schema, self.split, self.observed = schema, split, observed
        self.into: dict[Name, Name] = {}
        for event in log:  # in the order of arrival
            if event["event_name"] == "merge":
                duplicate, kept = self.name(event["actor"]), self.name(event["object"])
                if duplicate != kept:
                    self.into[duplicate] = kept
        self.barrier = self._barriers(log)
        self.heard = [event for event in log if not self._refused(event)]
        self.log = [event for event in self.heard if self._counts(event)]
        self.named = sorted(
            {
                self.name(event[end])
                for event in log
                for end in ("actor", "object")
                if event.get(end)
            }
        )
        self._cut()

    def name(self, entity: Mapping[str, str]) -> Name:
        found = (entity["type"], entity["id"])
        while found in self.into:
            found = self.into[found]
        return found

    def _counts(self, event: dict[str, Any]) -> bool:
        """Not a loop that only a merge has made."""
        declared = self.schema.events.get(event.get("relation") or event["event_name"])
        return (
            declared is None
            or declared.self_loops
            or self.name(event["actor"]) != self.name(event["object"])
        )

    def _barriers(self, log: list[dict[str, Any]]) -> dict[Name, float]:
        """By who ever opted out: the first opt-in after the last opt-out, or never."""
        said = defaultdict(list)
        for event in log:
            if event["event_name"] in ("opt_out", "opt_in"):
                said[self.name(event["actor"])].append((event["event_time"], event["event_name"]))
        found = {}
        for who, words in said.items():
            outs = [time for time, word in words if word == "opt_out"]
            if outs:
                after = [time for time, word in words if word == "opt_in" and time > max(outs)]
                found[who] = min(after, default=inf)
        return found

    def _refused(self, event: dict[str, Any]) -> bool:
        """Of an offsite event: whether the person has opted out since."""
        declared = self.schema.events.get(event["event_name"])
        if declared is None or declared.source != "offsite":
            return False
        ends = (self.name(event["actor"]), self.name(event["object"]))
        return any(event["event_time"] < self.barrier.get(end, 0) for end in ends)

    def _is_seen(self, end: Name, time: int) -> bool:
        """Whether a conversion of theirs from then on would be in the log."""
        if not self.schema.entities[end[0]].person:
            return True
        words = [
            event["event_time"]
            for event in self.log
            if event["event_name"] == "opt_in" or event.get("consent")
            if end in self._agreeing(event)
        ]
        return bool(words) and time >= max(min(words), self.barrier.get(end, 0))

    def _agreeing(self, event: dict[str, Any]) -> list[Name]:
        """Whose word an event is: the actor's, of an offsite one that of both ends."""
        ends = [event["actor"]]
        if event["action_source"] == "offsite" and event.get("object"):
            ends.append(event["object"])
        return [self.name(end) for end in ends]

    def ends(self, event: dict[str, Any]) -> tuple[Name, Name]:
        head, tail = self.name(event["actor"]), self.name(event["object"])
        declared = self.schema.events[event.get("relation") or event["event_name"]]
        return (head, tail) if declared.directed or head <= tail else (tail, head)

    def _cut(self) -> None:
        times = defaultdict(list)
        for event in self.log:
            if event["event_name"] == self.schema.label.exposure:
                times[self.clock(self.name(event["actor"]))].append(event["event_time"])
        self.last = {}  # of every span but TEST: the ceil(n * share)-th exposure time
        for who, seen in times.items():
            shares = [sum(self.split.shares[: k + 1]) for k in range(4)]
            ranks = [ceil(round(len(seen) * share, 6)) for share in shares]
            self.last[who] = [sorted(seen)[rank - 1] for rank in ranks]
        self.as_of = max(last[0] for last in self.last.values())

    def clock(self, person: Name) -> Any:
        return person if self.split.protocol == "per_user_time" else "all"

    def span(self, person: Name, time: int) -> int:
        return sum(time > last for last in self.last.get(self.clock(person), ()))

    def triples(self) -> list[tuple[Any, ...]]:
        """(relation, head, tail, weight, time), sorted."""
        found = []
        for order, relation in enumerate(self.schema.relations):
            for (head, tail), said in self._told(relation).items():
                times = self._standing(relation, said)
                if times:
                    timeless = relation.source == "structure"
                    half = relation.half_life_days * DAY
                    ages = [0 if timeless else max(self.as_of - time, 0) for time in times]
                    weight = relation.weight * log2(1 + sum(2 ** -(age / half) for age in ages))
                    found.append((order, head, tail, weight, max(times)))
        found.sort()
        return [(self.schema.relations[order].name, *edge) for order, *edge in found]

    def _told(self, relation: EventType) -> dict[tuple[Name, Name], list[tuple[int, bool]]]:
        """(head, tail) -> (time, is a retraction) of what the graph may know."""
        shown_to = self.schema.events[self.schema.label.exposure].head
        told = defaultdict(list)
        for event in self.log:
            if relation.name in (event["event_name"], event.get("relation")):
                head, tail = self.ends(event)
                person = tail if relation.head != shown_to == relation.tail else head
                if relation.source == "structure" or not self.span(person, event["event_time"]):
                    back = event["event_name"] == "retract"
                    told[head, tail].append((event["event_time"], back))
        return told

    def _standing(self, relation: EventType, said: list[tuple[int, bool]]) -> list[int]:
        times: list[int] = []
        for time, back in sorted(said):
            if not back:
                times.append(time)
            elif times:
                times = times[:-1] if relation.parallel else []
        if relation.source != "structure":
            oldest = self.as_of - relation.window_days * DAY
            times = [time for time in times if time >= oldest]
        return times if relation.parallel else times[-1:]

    def interactions(self) -> list[tuple[Any, ...]]:
        """(time, head, tail, event, position, rate, conversion, label, span), sorted."""
        label = self.schema.label
        window = round(label.window_minutes * 60)
        codes = {label.exposure: 0, label.outcome: 1, label.negative: 2}
        acts = [event for event in self.log if event["event_name"] in codes]
        led = self._led()
        rows = []
        for event in acts:
            code, time = codes[event["event_name"]], event["event_time"]
            near = [
                (codes[other["event_name"]], other["event_time"] - time)
                for other in acts
                if self.ends(other) == self.ends(event)
            ]
            after = {other for other, gap in near if 0 <= gap <= window}
            before = {other for other, gap in near if -window <= gap <= 0}
            value = -1
            if code == 0 and time <= self.observed - window:
                value = int(1 in after and 2 not in after)
            if code == 2:
                if 0 in before:
                    continue
                value = 0
            place, rate = event.get("position", -1), event.get("sampling_rate", 1.0)
            head, tail = self.ends(event)
            bought = self._bought(event, window, led) if value == 1 else -1
            span = self.span(head, time)
            rows.append((time, head, tail, code, place, rate, bought, value, span))
        return sorted(rows)

    def _bought(self, exposure: dict[str, Any], window: int, led: list[Any]) -> int:
        """Whether one of its clicks led to a conversion; -1 if that is not over, or not seen."""
        counted = Conversions()
        time, ends = exposure["event_time"], self.ends(exposure)
        names = counted.named(self.schema)
        until = self._heard_until([self.schema.label.outcome, *names])
        if not names or time > until - window - counted.seconds:
            return -1
        if not all(self._is_seen(end, time) for end in ends):
            return -1
        return int(any(at == ends and time <= when <= time + window for when, at in led))

    def _heard_until(self, names: Iterable[str]) -> int:
        """Where the first of their sources ends, but no later than the last event arrived."""
        ends = [self.observed]
        for source in {self.schema.events[name].source for name in names}:
            of_it = [event for event in self.heard if self._source(event) == source]
            ends.append(max((event["event_time"] for event in of_it), default=0))
        return min(ends)

    def _source(self, event: dict[str, Any]) -> str | None:
        declared = self.schema.events.get(event["event_name"])
        return declared.source if declared else None

    def _led(self) -> list[tuple[int, tuple[Name, Name]]]:
        """(time, ends) of the clicks that a conversion belongs to."""
        counted, outcome = Conversions(), self.schema.label.outcome
        tied = {(head, tail) for name, head, tail, *_ in self.triples() if self._is_tie(name)}
        clicks = [
            (event["event_time"], way, self.ends(event))
            for event in self.log
            if event["event_name"] == outcome
            for way in self._ways(event)
        ]
        found = []
        for event in self.log:
            if event["event_name"] not in counted.named(self.schema):
                continue
            for person, target in self._ways(event):
                before = [
                    click
                    for click in clicks
                    if click[0] <= event["event_time"]
                    and click[1][0] == person
                    and (click[1][1] == target or (click[1][1], target) in tied)
                ]
                if before and event["event_time"] - max(before)[0] <= counted.seconds:
                    found.append((max(before)[0], max(before)[2]))
        return found

    def _ways(self, event: dict[str, Any]) -> list[tuple[Name, Name]]:
        """Who did it with what; both ways where there is no direction."""
        ends = self.ends(event)
        directed = self.schema.events[event["event_name"]].directed
        return [ends] if directed else [ends, ends[::-1]]

    def _is_tie(self, name: str) -> bool:
        relation = self.schema.events[name]
        shown = self.schema.events[self.schema.label.exposure].tail
        return relation.source == "structure" and relation.head == shown

    def attributes(self) -> list[tuple[Any, ...]]:
        """(entity, attribute, time, value), sorted; of one second the greatest event id's."""
        last: dict[Any, tuple[str, Any]] = {}
        for event in self.log:
            if event["event_name"] == "set_attributes":
                for name, value in event["properties"].items():
                    key = (self.name(event["actor"]), name, event["event_time"])
                    said = (event["event_id"], value)
                    last[key] = max(last.get(key, said), said, key=lambda s: s[0])
        return [(*key, value) for key, (_, value) in sorted(last.items(), key=lambda i: i[0])]

    def retired(self) -> list[Name]:
        said = [
            (event["event_time"], event["event_name"] == "retire", self.name(event["actor"]))
            for event in self.log
            if event["event_name"] in ("retire", "restore")
        ]
        return sorted({name for _, is_out, name in said if is_out and self._last(said, name)})

    @staticmethod
    def _last(said: list[tuple[int, bool, Name]], name: Name) -> bool:
        return max((time, is_out) for time, is_out, other in said if other == name)[1]

    def entities(self) -> list[Name]:
        return [name for name in self.named if name not in self.into]


def names_of(snapshot: Snapshot) -> list[Name]:
    """(type, id) of every row."""
    kinds = sorted(snapshot.types.values(), key=lambda kind: kind.start)
    return [(kind.name, snapshot.ids[row]) for kind in kinds for row in range(*kind[1:])]


def named_triples(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    """(relation, head, tail, weight, time)."""
    names, columns = names_of(snapshot), (column.tolist() for column in snapshot.triples())
    return [
        (snapshot.relations[relation].name, names[head], names[tail], weight, time)
        for head, relation, tail, weight, time in zip(*columns, strict=True)
    ]


def named_interactions(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    """(time, head, tail, event, position, rate, conversion, label, span)."""
    names, columns = names_of(snapshot), (column.tolist() for column in snapshot.interactions())
    return [
        (time, names[head], names[tail], event, position, rate, conversion, label, span)
        for head, tail, event, time, label, span, position, rate, conversion in zip(
            *columns, strict=True
        )
    ]
