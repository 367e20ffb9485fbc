"""What events mean, said once more: obvious, slow, in memory, and without a line of graphsvc.

Takes raw events as an application posts them, gives the verdicts and tables that the service should
have; keeps nothing but the log, and derives everything from it whenever it is asked.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from math import log2
from typing import Any, NamedTuple

DAY = 86_400
LATE = 7 * DAY
FUTURE = 600
NEVER = 2**62
HALF_LIVES = {"onsite": 14.0, "offsite": 30.0, "structure": float("inf")}
ALONE = {"set_attributes", "opt_out", "opt_in", "retire", "restore"}
BUILT_IN = ALONE | {"retract", "merge"}
FIELDS = (
    *("event_time", "action_source", "actor", "object", "relation", "value", "currency"),
    *("properties", "consent", "request_id", "position", "sampling_rate"),
)
KINDS: dict[str, tuple[type, ...]] = {"number": (int, float), "list": (list,)}


class Said(NamedTuple):
    """An event of the log. Ends are written `type/id`, as they were named."""

    name: str
    id: str
    time: int
    source: str
    actor: str
    object: str | None
    relation: str | None
    properties: Mapping[str, Any] | None


class Seen(NamedTuple):
    body: str
    expires_at: int


class Edge(NamedTuple):
    """As in the table `edges`; `decayed` is as of `last`."""

    count: int
    first: int
    last: int
    decayed: float


@dataclass
class Oracle:
    """The service as it should be. `document` is a schema as `GET /v1/schema` shows it."""

    document: Mapping[str, Any]
    log: list[Said] = field(default_factory=list)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    #: Who was erased -> when that was asked for, and from when on they agree again.
    erased: dict[str, tuple[int, int | None]] = field(default_factory=dict)

    def fork(self) -> "Oracle":
        """Another one that goes its own way from here."""
        return Oracle(
            self.document, list(self.log), dict(self.seen), set(self.named), dict(self.erased)
        )

    def erase(self, person: str, asked_at: int) -> None:
        """As if no event had ever named somebody, under any id; and none will before they agree."""
        one = self.canonical()
        own = {
            name for name in {person, *self.named} if one.get(name, name) == one.get(person, person)
        }
        for name in own:
            if self.erased.get(name, (0, 0))[1] is not None:
                self.erased[name] = asked_at, None
        gone = [event for event in self.log if own & {event.actor, event.object}]
        self.log = [event for event in self.log if event not in gone]
        for event in gone:
            self.seen.pop((event.name, event.id), None)
        self.named -= own

    # The door

    def post(
        self, raw: Sequence[Mapping[str, Any]], *, now: int, backfill: bool = False
    ) -> list[str]:
        """Post a batch; per event its status, or the code of its rejection."""
        said: list[str] = [""] * len(raw)
        first: dict[tuple[str, str], int] = {}
        late = []
        for place, event in enumerate(raw):
            wrong = self._wrong(event, now)
            if wrong:
                said[place] = wrong
                continue
            told = self._straight(event)
            name = told["event_name"], told["event_id"]
            if self._is_late(told, now, backfill):
                late.append((place, name, told))
            elif name in first:
                # Again in the same batch: what was refused is so again, else it was seen just now.
                before = said[first[name]]
                refused = before not in ("accepted", "duplicate", "conflict")
                said[place] = before if refused else self._again(name, told)
            else:
                first[name] = place
                said[place] = self._take(name, told, now)
        for place, name, told in late:  # those that were seen in time are no news
            known = name in self.seen and self.seen[name].expires_at > now
            unknown = "erased" if self._is_barred(_said(told)) else "late"
            said[place] = self._again(name, told) if known else unknown
        return said

    def _take(self, name: tuple[str, str], told: Mapping[str, Any], now: int) -> str:
        event = _said(told)
        if self._is_barred(event):
            return "erased"
        if event.source == "offsite" and _is_refused(event, self.consents(), self.canonical()):
            return "opted_out"
        known = name in self.seen and self.seen[name].expires_at > now
        if event.name == "merge" and not known and self._are_one(event):
            return "merge_cycle"
        if known:
            return self._again(name, told)
        forgotten = event.source != "structure" and event.name not in ("opt_out", "opt_in")
        self.seen[name] = Seen(_body(told), now + LATE + 7 * DAY if forgotten else NEVER)
        self.log.append(event)
        self.named |= {end for end in (event.actor, event.object) if end}
        if event.name == "opt_in" and event.actor in self.erased:
            asked_at, since = self.erased[event.actor]
            if event.time > asked_at:
                self.erased[event.actor] = asked_at, min(event.time, since or event.time)
        if event.name in ("opt_out", "opt_in", "merge"):
            held, one = self.consents(), self.canonical()
            self.log = [kept for kept in self.log if not _is_refused(kept, held, one)]
        return "accepted"

    def _is_barred(self, event: Said) -> bool:
        """Whether an event names somebody who was erased and had not agreed again by then."""
        held = [self.erased[end] for end in (event.actor, event.object) if end in self.erased]
        return any(
            (since is None or event.time < since)
            and not (event.name == "opt_in" and event.time > asked_at)
            for asked_at, since in held
        )

    def _again(self, name: tuple[str, str], told: Mapping[str, Any]) -> str:
        return "duplicate" if self.seen[name].body == _body(told) else "conflict"

    def _are_one(self, event: Said) -> bool:
        ends = {event.actor, event.object or ""}
        one = self.canonical()
        return ends <= self.named and len({one.get(end, end) for end in ends}) == 1

    def _is_late(self, told: Mapping[str, Any], now: int, backfill: bool) -> bool:
        spared = told["action_source"] == "structure" or told["event_name"] in ("opt_out", "opt_in")
        return not backfill and not spared and told["event_time"] < now - LATE

    def _straight(self, event: Mapping[str, Any]) -> dict[str, Any]:
        told = {"event_name": event["event_name"], "event_id": event["event_id"]}
        told |= {name: event.get(name) for name in FIELDS}
        if self._undirected(told["relation"] or told["event_name"]):
            ends = sorted((told["actor"], told["object"]), key=lambda end: end["id"])
            told["actor"], told["object"] = ends
        return told

    # What is wrong with an event by itself

    def _wrong(self, event: Mapping[str, Any], now: int) -> str | None:
        if any(name not in event for name in ("event_id", "event_name", "event_time", "actor")):
            return "invalid"
        name, relation = event["event_name"], event.get("relation")
        if name == "retract" and relation not in self.document["relations"]:
            return "unknown_relation"
        if name not in BUILT_IN and self._declared(name) is None:
            return "unknown_event"
        if name != "retract" and relation is not None:
            return "invalid"
        wrong = (
            self._wrong_ends(event, self._declared(relation or name) or {})
            if name == "retract" or name not in BUILT_IN
            else self._wrong_built_in(event)
        )
        timeless = event["action_source"] == "structure" and name not in BUILT_IN - {"retract"}
        ahead = not timeless and event["event_time"] > now + FUTURE
        return wrong or ("future" if ahead else None)

    def _wrong_ends(self, event: Mapping[str, Any], declared: Mapping[str, Any]) -> str | None:
        if event["action_source"] != declared["source"]:
            return "wrong_source"
        for end, kind in (("actor", "head"), ("object", "tail")):
            if event.get(end) is None:
                return "invalid"
            if event[end]["type"] != declared[kind]:
                known = event[end]["type"] in self.document["entities"]
                return "wrong_type" if known else "unknown_entity_type"
        if not declared.get("self_loops", True) and event["actor"] == event["object"]:
            return "self_loop"
        asked = declared["source"] == "offsite" and event["event_name"] != "retract"
        persons = self._is_person(declared["head"]) or self._is_person(declared["tail"])
        return (
            "consent_required" if asked and persons and event.get("consent") is not True else None
        )

    def _wrong_built_in(self, event: Mapping[str, Any]) -> str | None:
        name, kind, target = event["event_name"], event["actor"]["type"], event.get("object")
        consents = name in ("opt_out", "opt_in")
        if not consents and event["action_source"] != "structure":
            return "wrong_source"
        if kind not in self.document["entities"]:
            return "unknown_entity_type"
        if (target is None) == (name == "merge"):
            return "invalid"
        if name == "merge":
            cycle = "merge_cycle" if target == event["actor"] else None
            return cycle if target["type"] == kind else "wrong_type"
        if name != "set_attributes" and consents != self._is_person(kind):
            return "wrong_type"
        return self._wrong_attributes(event) if name == "set_attributes" else None

    def _wrong_attributes(self, event: Mapping[str, Any]) -> str | None:
        declared = self.document["entities"][event["actor"]["type"]].get("attributes", {})
        if not event.get("properties"):
            return "invalid"
        for name, value in event["properties"].items():
            if name not in declared:
                return "attribute_unknown"
            if value is not None and not isinstance(value, KINDS.get(declared[name], (str,))):
                return "attribute_type"
        return None

    def _declared(self, name: str) -> Mapping[str, Any] | None:
        return self.document["relations"].get(name) or self.document["observations"].get(name)

    def _is_person(self, kind: str) -> bool:
        return bool(self.document["entities"][kind].get("person", False))

    def _undirected(self, relation: str) -> bool:
        return not self.document["relations"].get(relation, {}).get("directed", True)

    # What the log makes

    def canonical(self) -> dict[str, str]:
        """Every id that was merged -> the id of the entity that it is part of."""
        one: dict[str, str] = {}
        for event in self.log:
            if event.name == "merge" and event.object:
                ends = event.actor, event.object
                gone, kept = (one.get(end, end) for end in ends)
                one = {end: kept if into == gone else into for end, into in one.items()}
                one[gone] = kept
        return one

    def view(self, event: Said, one: Mapping[str, str]) -> Said:
        """An event with its ends as the entities that they are by now, in the relation's order."""
        actor = one.get(event.actor, event.actor)
        target = one.get(event.object, event.object) if event.object else None
        if target and self._undirected(event.relation or event.name):
            actor, target = sorted((actor, target), key=lambda end: end.partition("/")[2])
        return event._replace(actor=actor, object=target)

    def edges(self, of: str | None = None) -> dict[tuple[str, str, str], Edge]:
        """Every edge, or those of one entity (its canonical id)."""
        told: dict[tuple[str, str, str], list[tuple[int, bool]]] = defaultdict(list)
        one = self.canonical()
        for raw in self.log:
            relation = raw.relation or raw.name
            if relation in self.document["relations"]:
                event = self.view(raw, one)
                loops = self.document["relations"][relation].get("self_loops", True)
                if of in (None, event.actor, event.object) and (
                    loops or event.actor != event.object
                ):
                    pair = event.actor, relation, event.object or ""
                    told[pair].append((event.time, event.name == "retract"))
        summed = {pair: self._edge(pair[1], events) for pair, events in told.items()}
        return {pair: edge for pair, edge in summed.items() if edge}

    def _edge(self, relation: str, events: Iterable[tuple[int, bool]]) -> Edge | None:
        declared = self.document["relations"][relation]
        adds_up = declared.get("parallel", True)
        days = float(declared.get("half_life_days", HALF_LIVES[declared["source"]]))
        times: list[int] = []
        for time, taken_back in sorted(events):
            if not taken_back:
                times.append(time)
            elif times:
                times = times[:-1] if adds_up else []
        if not times:
            return None
        first, last = min(times), max(times)
        if not adds_up:
            return Edge(1, first, last, 1.0)
        decayed = sum(2.0 ** ((time - last) / (days * DAY)) for time in times)
        return Edge(len(times), first, last, decayed)

    def weight(self, relation: str, edge: Edge, now: float) -> float:
        """What an edge weighs at a moment."""
        declared = self.document["relations"][relation]
        days = float(declared.get("half_life_days", HALF_LIVES[declared["source"]]))
        decayed = edge.decayed * 2.0 ** (-max(0.0, now - edge.last) / (days * DAY))
        return float(declared.get("weight", 1.0)) * log2(1.0 + decayed)

    def counters(self) -> dict[tuple[str, str], int]:
        """(entity, event name) -> how often it was at an end of one."""
        counted: dict[tuple[str, str], int] = defaultdict(int)
        one = self.canonical()
        for event in self.log:
            for end in {one.get(end, end) for end in (event.actor, event.object) if end}:
                counted[end, event.name] += 1
        return dict(counted)

    def attributes(self) -> dict[tuple[str, str], tuple[int, str, Any]]:
        """(entity, name) -> (event time, event id, value) of the last writer."""
        written: dict[tuple[str, str], tuple[int, str, Any]] = {}
        one = self.canonical()
        for event in self.log:
            if event.name == "set_attributes":
                for name, value in (event.properties or {}).items():
                    place = one.get(event.actor, event.actor), name
                    new = event.time, event.id, value
                    if place not in written or new[:2] > written[place][:2]:
                        written[place] = new
        return written

    def consents(self) -> dict[str, tuple[str, int, int]]:
        """Person -> (state, since when, time before which offsite events are not kept)."""
        told: dict[str, list[tuple[int, str]]] = defaultdict(list)
        one = self.canonical()
        for event in self.log:
            if event.name in ("opt_out", "opt_in"):
                told[one.get(event.actor, event.actor)].append((event.time, event.name))
        held = {}
        for person, said in told.items():
            refused = max((time for time, name in said if name == "opt_out"), default=-1)
            agreed = [time for time, name in said if name == "opt_in" and time > refused]
            if not agreed:
                held[person] = "out", refused, NEVER
            else:
                held[person] = "in", max(agreed), min(agreed) if refused >= 0 else 0
        return held

    def lives(self) -> dict[str, tuple[bool, int]]:
        """Entity -> (whether it is retired, since when), where either was ever said."""
        last: dict[str, tuple[int, bool]] = {}
        one = self.canonical()
        for event in self.log:
            if event.name in ("retire", "restore"):
                end = one.get(event.actor, event.actor)
                new = event.time, event.name == "retire"
                last[end] = max(new, last.get(end, new))
        return {end: (retired, time) for end, (time, retired) in last.items()}


def _is_refused(
    event: Said, held: Mapping[str, tuple[str, int, int]], one: Mapping[str, str]
) -> bool:
    if event.source != "offsite" or event.name in ("opt_out", "opt_in"):
        return False
    ends = [one.get(end, end) for end in (event.actor, event.object) if end]
    return any(event.time < held[end][2] for end in ends if end in held)


def _said(told: Mapping[str, Any]) -> Said:
    def end(ref: Mapping[str, str] | None) -> str | None:
        return f"{ref['type']}/{ref['id']}" if ref else None

    return Said(
        told["event_name"],
        told["event_id"],
        told["event_time"],
        told["action_source"],
        end(told["actor"]) or "",
        end(told["object"]),
        told["relation"],
        copy(told["properties"]),
    )


def _body(told: Mapping[str, Any]) -> str:
    numbers = {
        name: None if told[name] is None else float(told[name])
        for name in ("value", "sampling_rate")
    }
    return json.dumps({name: told[name] for name in FIELDS} | numbers, sort_keys=True)
