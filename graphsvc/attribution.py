"""What became of answers: each item joined with the impression, the click and the conversion.

Takes answers and the log, gives columns; never writes. Last touch: an outcome belongs to the
latest impression before it, so no outcome is counted twice. What is younger than its window is
censored, never negative. Our design.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from graphsvc import answers as answers_module
from graphsvc.answers import Answer
from graphsvc.builtin import RETRACT
from graphsvc.bulk import rows_among
from graphsvc.projection import standing
from graphsvc.schema import Schema
from graphsvc.tables import entities, events

POSITIVE, NEGATIVE, CENSORED, NOT_SHOWN = 1, 0, -1, -2
_DAY_SECONDS = 86_400
_NEVER = 2**62
#: The clocks of whoever shows and of the server that answered may differ by so much.
_SKEW_SECONDS = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How long after an impression an outcome still belongs to it, in seconds; the end counts."""

    #: Also: how long after an answer an impression that names no request belongs to it.
    click_seconds: int = 30 * 60
    conversion_seconds: int = 7 * _DAY_SECONDS
    #: Events that count as conversions; None: every offsite relation of the schema.
    conversions: tuple[str, ...] | None = None
    #: So long after its end a window is still open for events that arrive late.
    settle_seconds: int = 0


class Joined(NamedTuple):
    """Items of answers as columns; times are seconds since 1970, -1 where there is none.

    click, conversion: 1 positive, 0 negative, -1 censored (the window is open), -2 not shown.
    """

    request_id: NDArray[np.object_]
    asked_at: NDArray[np.int64]
    head: NDArray[np.object_]
    item: NDArray[np.object_]
    #: Place in the answer, from 0.
    position: NDArray[np.int32]
    score: NDArray[np.float64]
    impression_time: NDArray[np.int64]
    #: What the impression says of its place, -1 if nothing.
    shown_position: NDArray[np.int32]
    #: What the impression says of its sampling, 1 if nothing.
    sampling_rate: NDArray[np.float64]
    click: NDArray[np.int8]
    click_time: NDArray[np.int64]
    conversion: NDArray[np.int8]
    #: Of the first conversion.
    conversion_time: NDArray[np.int64]
    #: The first conversion's event, empty if there is none.
    conversion_event: NDArray[np.object_]
    #: Sum of the conversions' values.
    conversion_value: NDArray[np.float64]


_DTYPES = {
    "asked_at": np.int64,
    "position": np.int32,
    "score": np.float64,
    "impression_time": np.int64,
    "shown_position": np.int32,
    "sampling_rate": np.float64,
    "click": np.int8,
    "click_time": np.int64,
    "conversion": np.int8,
    "conversion_time": np.int64,
    "conversion_value": np.float64,
}


class _Shown(NamedTuple):
    """An impression. Impressions compare by (time, seq): the later one is the greater."""

    time: int
    seq: int
    item: int
    request_id: str | None
    position: int | None
    sampling_rate: float | None


class _Converted(NamedTuple):
    time: int
    seq: int
    event: str
    object: int
    value: float


@dataclass(slots=True)
class _History:
    """What one head was shown and did, within the time that a block of answers needs."""

    #: item -> impressions, in order.
    shown: dict[int, list[_Shown]] = field(default_factory=lambda: defaultdict(list))
    #: item -> (time, is retraction, event id)
    acts: dict[int, list[tuple[int, bool, str]]] = field(default_factory=lambda: defaultdict(list))
    conversions: list[_Converted] = field(default_factory=list)
    #: item -> (asked_at, request_id) of the answers that hold it, in order.
    answered: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))


def blocks(
    connection: Connection,
    schema: Schema,
    windows: Windows,
    *,
    now: int,
    since: int = 0,
    until: int = _NEVER,
    block: int = 200,
) -> Iterator[Joined]:
    """The items of all answers from `since` up to, not including, `until`; `block` answers each."""
    for some in answers_module.in_order(connection, since=since, until=until, block=block):
        yield join(connection, schema, some, windows=windows, now=now)


def join(
    connection: Connection,
    schema: Schema,
    answers: Sequence[Answer],
    *,
    windows: Windows,
    now: int,
) -> Joined:
    """The items of some answers, in their order, with what is known at `now`."""
    work = _Join(connection, schema, answers, windows, now)
    columns: dict[str, list[Any]] = {name: [] for name in Joined._fields}
    for answer in answers:
        history = work.histories.get(work.heads.get(answer.head, 0), _History())
        for position, item in enumerate(answer.items):
            row = {
                "request_id": answer.request_id,
                "asked_at": answer.asked_at,
                "head": answer.head.id,
                "item": item.id,
                "position": position,
                "score": item.score,
                **work.outcome(answer, work.items.get((answer.tail_type, item.id), 0), history),
            }
            for name, column in columns.items():
                column.append(row[name])
    return Joined(
        **{
            name: np.array(column, dtype=_DTYPES.get(name, np.dtype(object)))
            for name, column in columns.items()
        }
    )


class _Join:
    """One block of answers, and the part of the log that it is joined with."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        answers: Sequence[Answer],
        windows: Windows,
        now: int,
    ) -> None:
        self.connection, self.schema, self.windows, self.now = connection, schema, windows, now
        relations = {
            relation.name: relation for relation in schema.relations if relation.source == "offsite"
        }
        named = relations if windows.conversions is None else windows.conversions
        self.conversions = {name: schema.events[name] for name in named if name in schema.events}
        self.heads = self._keys({answer.head for answer in answers})
        self.items: dict[tuple[str, str], int] = self._keys(
            {(answer.tail_type, item.id) for answer in answers for item in answer.items}
        )
        self.links = self._links({answer.tail_type for answer in answers})
        self.histories: dict[int, _History] = defaultdict(_History)
        if answers:
            asked = [answer.asked_at for answer in answers]
            self._read(min(asked), max(asked))
            self._read_answers(answers, min(asked), max(asked))

    def outcome(self, answer: Answer, item: int, history: _History) -> dict[str, Any]:
        """What became of one item of an answer."""
        windows, now = self.windows, self.now
        shown = self._impression(answer, item, history)
        if shown is None:
            waiting = now <= answer.asked_at + windows.click_seconds + windows.settle_seconds
            state = CENSORED if waiting else NOT_SHOWN
            return _outcome(None, (state, -1), (state, []))
        clicks = self._clicks(shown, history)
        found = self._converted(shown, history)
        open_until = shown.time + windows.settle_seconds

        def state_of(positive: bool, seconds: int) -> int:
            if positive:
                return POSITIVE
            return NEGATIVE if now > open_until + seconds else CENSORED

        return _outcome(
            shown,
            (state_of(bool(clicks), windows.click_seconds), clicks[0] if clicks else -1),
            (state_of(bool(found), windows.conversion_seconds), found),
        )

    def _impression(self, answer: Answer, item: int, history: _History) -> _Shown | None:
        """By request id; else the first without one that the answer is the latest before.

        Neither belongs to an answer that is older than the conversion window.
        """
        shown = history.shown.get(item, [])
        until = answer.asked_at + self.windows.conversion_seconds
        for one in shown:
            if one.request_id == answer.request_id:
                near = answer.asked_at - _SKEW_SECONDS <= one.time <= until
                return one if near else None
        answered = history.answered.get(item, [])
        for one in shown:
            if one.request_id is not None:
                continue
            place = bisect_right(answered, (one.time, "\U0010ffff")) - 1
            within = 0 <= one.time - answer.asked_at <= self.windows.click_seconds
            if within and answered[place] == (answer.asked_at, answer.request_id):
                return one
        return None

    def _clicks(self, shown: _Shown, history: _History) -> list[int]:
        """Times of the outcomes within the window and before the next impression."""
        following = [one.time for one in history.shown[shown.item] if one[:2] > shown[:2]]
        stop = min(following, default=_NEVER)
        last = shown.time + self.windows.click_seconds
        adds_up = self.schema.events[self.schema.label.outcome].parallel
        times = standing(history.acts.get(shown.item, []), adds_up=adds_up)
        return sorted(time for time in times if shown.time <= time <= last and time < stop)

    def _converted(self, shown: _Shown, history: _History) -> list[_Converted]:
        """Conversions within the window of what the item leads to, by last touch, in order."""
        found = []
        last = shown.time + self.windows.conversion_seconds
        for one in history.conversions:
            if not shown.time <= one.time <= last or shown.item not in self._leading_to(one.object):
                continue
            touches = [
                other[:2]
                for item in self._leading_to(one.object)
                for other in history.shown.get(item, ())
                if other.time <= one.time
            ]
            if max(touches) == shown[:2]:
                found.append(one)
        return sorted(found)

    def _leading_to(self, target: int) -> set[int]:
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

    def _links(self, tail_types: set[str]) -> dict[int, set[int]]:
        """Target of a conversion -> items that have a structure edge to it."""
        targets = {event.tail for event in self.conversions.values()}
        ties = [
            relation.name
            for relation in self.schema.relations
            if relation.source == "structure"
            and relation.head in tail_types
            and relation.tail in targets
        ]
        found: dict[int, set[int]] = defaultdict(set)
        query = "SELECT head, tail FROM edges WHERE relation = {value} AND head {among_numbers}"
        for name in ties:
            for head, tail in rows_among(
                self.connection, query, sorted(set(self.items.values())), where=(name,)
            ):
                found[tail].add(head)
        return found

    def _read(self, first: int, last: int) -> None:
        """The heads' impressions, outcomes and conversions, in order of time."""
        label, windows = self.schema.label, self.windows
        heads = sorted(set(self.heads.values()))
        actor, target = entities.alias("actor"), entities.alias("target")
        head = func.coalesce(actor.c.merged_into, actor.c.key)
        mine = select(entities.c.key).where(
            func.coalesce(entities.c.merged_into, entities.c.key).in_(heads)
        )
        log = events.c
        rows = self.connection.execute(
            select(
                head.label("head"),
                func.coalesce(target.c.merged_into, target.c.key).label("target"),
                log.seq,
                log.event_id,
                log.event_name,
                log.event_time,
                log.relation,
                log.value,
                log.request_id,
                log.position,
                log.sampling_rate,
            )
            .join(actor, actor.c.key == log.actor)
            .join(target, target.c.key == log.object)
            .where(
                log.actor.in_(mine),
                log.event_name.in_([label.exposure, label.outcome, RETRACT, *self.conversions]),
                log.event_time.between(
                    first - _SKEW_SECONDS, last + 2 * windows.conversion_seconds
                ),
            )
            .order_by(log.event_time, log.seq)
        )
        for row in rows:
            history = self.histories[row.head]
            taken_back = row.event_name == RETRACT and row.relation == label.outcome
            if row.event_name == label.exposure:
                shown = (row.request_id, row.position, row.sampling_rate)
                history.shown[row.target].append(
                    _Shown(row.event_time, row.seq, row.target, *shown)
                )
            elif row.event_name == label.outcome or taken_back:
                history.acts[row.target].append((row.event_time, taken_back, row.event_id))
            elif row.event_name in self.conversions:
                history.conversions.append(
                    _Converted(
                        row.event_time, row.seq, row.event_name, row.target, row.value or 0.0
                    )
                )

    def _read_answers(self, answers: Sequence[Answer], first: int, last: int) -> None:
        """Which answers hold which item, for impressions that do not say whose they are."""
        by_type: dict[str, set[str]] = defaultdict(set)
        for answer in answers:
            by_type[answer.head.type].add(answer.head.id)
        until = last + self.windows.click_seconds
        seen: Mapping[tuple[str, str], int] = self.items
        for type_, ids in by_type.items():
            for answer in answers_module.to_heads(
                self.connection, type_, sorted(ids), since=first, until=until
            ):
                history = self.histories[self.heads.get(answer.head, 0)]
                for item in answer.items:
                    key = seen.get((answer.tail_type, item.id))
                    if key:
                        history.answered[key].append((answer.asked_at, answer.request_id))


def _outcome(
    shown: _Shown | None, click: tuple[int, int], conversion: tuple[int, list[_Converted]]
) -> dict[str, Any]:
    state, found = conversion
    rate = shown.sampling_rate if shown else None
    return {
        "impression_time": shown.time if shown else -1,
        "shown_position": -1 if shown is None or shown.position is None else shown.position,
        "sampling_rate": 1.0 if rate is None else rate,
        "click": click[0],
        "click_time": click[1],
        "conversion": state,
        "conversion_time": found[0].time if found else -1,
        "conversion_event": found[0].event if found else "",
        "conversion_value": sum(one.value for one in found),
    }
