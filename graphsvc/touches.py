"""What the heads of some answers were shown and did: the part of the log that outcomes need.

Takes answers, a connection and how far to look, gives a history per head under the keys that hold
now; never says which impression an outcome belongs to (see `attribution.py`). Our design.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from graphsvc import answers as answers_module
from graphsvc.answers import Answer
from graphsvc.builtin import RETRACT
from graphsvc.bulk import rows_among
from graphsvc.ids import EntityId
from graphsvc.logread import aliases, canonical
from graphsvc.projection import standing_events
from graphsvc.schema import Schema

#: The clocks of whoever shows and of the server that answered may differ by so much.
SKEW_SECONDS = 600
_NEVER = 2**62


class Shown(NamedTuple):
    """An impression. Impressions compare by (time, seq): the later one is the greater."""

    time: int
    seq: int
    item: int
    request_id: str | None
    position: int | None
    sampling_rate: float | None


class Converted(NamedTuple):
    """A conversion; `object` is what it was on, e.g. a product."""

    time: int
    seq: int
    event: str
    object: int
    value: float
    event_id: str


class _Row(NamedTuple):
    """A row of the log under the keys that hold now."""

    head: int
    target: int
    seq: int
    event_id: str
    event_name: str
    event_time: int
    relation: str | None
    value: float | None
    request_id: str | None
    position: int | None
    sampling_rate: float | None


def _edge(row: _Row) -> tuple[str, int]:
    """The relation that an event adds to, or takes back from, and with what."""
    return (row.relation or "" if row.event_name == RETRACT else row.event_name), row.target


@dataclass(slots=True)
class History:
    """What one head was shown and did, within the time that a block of answers needs."""

    #: item -> impressions, in order.
    shown: dict[int, list[Shown]] = field(default_factory=lambda: defaultdict(list))
    #: (outcome or conversion, what it was on) -> (time, is retraction, event id)
    acts: dict[tuple[str, int], list[tuple[int, bool, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    #: item -> times of the label's negative
    refusals: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    #: Those that nobody took back.
    conversions: list[Converted] = field(default_factory=list)
    #: item -> (asked_at, request_id) of the answers that hold it, in order.
    answered: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))


class Touches:
    """One block of answers, and the part of the log that it is joined with.

    `conversions` are the names of the events that are read as such; the seconds are those of the
    windows behind an impression.
    """

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        answers: Sequence[Answer],
        *,
        conversions: Collection[str],
        click_seconds: int,
        conversion_seconds: int,
    ) -> None:
        self.connection, self.schema, self.conversions = connection, schema, conversions
        self.click_seconds, self.conversion_seconds = click_seconds, conversion_seconds
        self.heads: dict[EntityId, int] = self._keys({answer.head for answer in answers})
        self.items: dict[tuple[str, str], int] = self._keys(
            {(answer.tail_type, item.id) for answer in answers for item in answer.items}
        )
        #: Events that either of their ends may have done; `labels.py` takes them so, too.
        self._either_way = schema.undirected.intersection(conversions)
        label = schema.label
        #: What people can take back again.
        self._acts = {label.outcome, *conversions}
        if label.outcome in schema.undirected:
            self._either_way |= {label.outcome, label.negative or label.outcome}
        if self._either_way:
            self._either_way |= {RETRACT}
        self.histories: dict[int, History] = defaultdict(History)
        self.links: dict[int, set[int]] = {}
        if answers:
            asked = [answer.asked_at for answer in answers]
            self._read(min(asked), max(asked))
            self._read_answers(min(asked), max(asked))

    def leading_to(self, target: int) -> set[int]:
        """The items that a conversion on `target` can be owed to: itself, and what leads to it."""
        return self.links.get(target, set()) | {target}

    def _keys(self, names: set[Any]) -> dict[Any, int]:
        """(type, id) -> the key that holds now; names of nobody are left out."""
        found: dict[Any, int] = {}
        by_type: dict[str, dict[str, Any]] = defaultdict(dict)
        for name in names:
            by_type[name[0]][name[1]] = name
        query = (
            "SELECT id, coalesce(merged_into, key) FROM entities "
            "WHERE type = {value} AND id {among}"
        )
        for type_, ids in by_type.items():
            rows = rows_among(self.connection, query, list(ids), where=(type_,))
            found.update((ids[id_], key) for id_, key in rows)
        return found

    def _links(self) -> dict[int, set[int]]:
        """Target of a conversion -> items that have a structure edge to it.

        Of all items that the heads were shown: the last touch may be of an item that no answer of
        this block holds, and who gets a conversion may not depend on the block.
        """
        targets = {self.schema.events[name].tail for name in self.conversions}
        ties = [
            relation.name
            for relation in self.schema.relations
            if relation.source == "structure"
            and relation.head == self.schema.events[self.schema.label.exposure].tail
            and relation.tail in targets
        ]
        shown = sorted({item for history in self.histories.values() for item in history.shown})
        found: dict[int, set[int]] = defaultdict(set)
        query = "SELECT head, tail FROM edges WHERE relation = {value} AND head {among_numbers}"
        for name in ties:
            for head, tail in rows_among(self.connection, query, shown, where=(name,)):
                found[tail].add(head)
        return found

    def _read(self, first: int, last: int) -> None:
        """The heads' impressions, outcomes, negatives and conversions, in order of time."""
        label = self.schema.label
        names = {label.exposure, label.outcome, RETRACT, *self.conversions}
        if label.negative:
            names.add(label.negative)
        # An impression comes within a window of its answer, what it led to within another one.
        until = last + 2 * max(self.click_seconds, self.conversion_seconds)
        heads = aliases(self.connection, self.heads.values())
        for row in self._log(names, first - SKEW_SECONDS, until, actors=heads):
            self._keep(row)
        self.links = self._links()
        for row in self._turned(names, first - SKEW_SECONDS, until, heads):
            self._keep(row)
        self._read_retractions(heads, until + 1)
        for history in self.histories.values():
            self._take_back(history)

    def _read_retractions(self, heads: Mapping[int, int], since: int) -> None:
        """What was taken back of the outcomes and conversions that were read, however much later.

        So it does not depend on the answers beside it. A retraction takes back the last event
        before it, so those of the same kind that came in between are read as well.
        """

        def later(of: Collection[int], names: Collection[str]) -> list[_Row]:
            some = {alias: key for alias, key in heads.items() if key in of}
            rows = [
                *self._log(names, since, _NEVER, actors=some),
                *self._turned(names, since, _NEVER, some),
            ]
            return [row for row in rows if _edge(row) in self.histories[row.head].acts]

        acted = {key for key, history in self.histories.items() if history.acts}
        taken_back = later(acted, {RETRACT})
        kinds = {_edge(row)[0] for row in taken_back}
        between = later({row.head for row in taken_back}, kinds) if kinds else []
        for row in [*taken_back, *between]:
            self._keep(row)

    def _take_back(self, history: History) -> None:
        """Leave the conversions that still stand."""
        stand = {
            (name, target, *event)
            for (name, target), acts in history.acts.items()
            for event in standing_events(acts, adds_up=self.schema.events[name].parallel)
        }
        history.conversions = [
            one
            for one in history.conversions
            if (one.event, one.object, one.time, one.event_id) in stand
        ]

    def _turned(
        self, names: Collection[str], since: int, until: int, heads: Mapping[int, int]
    ) -> Iterator[_Row]:
        """The events of some names that the log has under their other end, turned round.

        That is so where a relation has no direction: what a head did is then found under what it
        was shown, or what that leads to.
        """
        turned = self._either_way.intersection(names)
        if turned:
            shown = {item for history in self.histories.values() for item in history.shown}
            others = aliases(self.connection, shown | self.links.keys())
            for row in self._log(turned, since, until, actors=others, objects=heads):
                # Among the retractions are those of relations that do have a direction.
                if row.head != row.target and _edge(row)[0] in self._either_way:
                    yield row._replace(head=row.target, target=row.head)

    def _log(
        self,
        names: Collection[str],
        since: int,
        until: int,
        *,
        actors: Mapping[int, int],
        objects: Mapping[int, int] | None = None,
    ) -> Iterator[_Row]:
        """The events of some names within a time, both ends included, in order of time.

        `actors`, `objects`: key as the log has it -> key that holds now; without objects, of all.
        """
        if not actors:
            return
        # The concatenation keeps the names from choosing the index: it is the actor's that is
        # wanted, since of a name there may be millions of events.
        query = (
            "SELECT actor, object, seq, event_id, event_name, event_time, "  # noqa: S608  (no values)
            "relation, value, request_id, position, sampling_rate FROM events "
            "WHERE event_time BETWEEN {value} AND {value} "
            f"AND event_name || '' IN ({', '.join(['{value}'] * len(names))}) "
            f"AND object {'IS NOT NULL' if objects is None else '{among_numbers}'} "
            "AND actor {among_numbers} ORDER BY event_time, seq"
        )
        where = (since, until, *sorted(names))
        if objects is not None:
            where += (json.dumps(sorted(objects)),)
        rows = rows_among(self.connection, query, sorted(actors), where=where)
        if objects is None:
            objects = canonical(self.connection, [row[1] for row in rows])
        for actor, target, *rest in rows:
            yield _Row(actors[actor], objects[target], *rest)

    def _keep(self, row: _Row) -> None:
        """Put an event where it belongs in its head's history."""
        label, history = self.schema.label, self.histories[row.head]
        name, taken_back = _edge(row)[0], row.event_name == RETRACT
        if row.event_name == label.exposure:
            shown = (row.request_id, row.position, row.sampling_rate)
            history.shown[row.target].append(Shown(row.event_time, row.seq, row.target, *shown))
        if name in self._acts:
            history.acts[name, row.target].append((row.event_time, taken_back, row.event_id))
        if row.event_name == label.negative:
            history.refusals[row.target].append(row.event_time)
        if row.event_name in self.conversions:
            what = (row.event_name, row.target, row.value or 0.0, row.event_id)
            history.conversions.append(Converted(row.event_time, row.seq, *what))

    def _read_answers(self, first: int, last: int) -> None:
        """Which answers hold which item, for impressions that do not say whose they are.

        Answers keep the ids that they were asked with, so those under merged ids are read too,
        whether or not this block holds one.
        """
        mine = sorted(aliases(self.connection, self.heads.values()))
        query = "SELECT type, id FROM entities WHERE key {among_numbers}"
        by_type: dict[str, list[str]] = defaultdict(list)
        for type_, id_ in rows_among(self.connection, query, mine):
            by_type[type_].append(id_)
        until = last + self.click_seconds
        found = [
            answer
            for type_, ids in by_type.items()
            for answer in answers_module.to_heads(
                self.connection, type_, sorted(ids), since=first, until=until
            )
        ]
        heads = self._keys({answer.head for answer in found})
        items = self._keys(
            {(answer.tail_type, item.id) for answer in found for item in answer.items}
        )
        for answer in found:
            history = self.histories[heads[answer.head]]
            for item in answer.items:
                key = items.get((answer.tail_type, item.id))
                if key:
                    history.answered[key].append((answer.asked_at, answer.request_id))
