"""What became of answers: each item joined with the impression, the click and the conversion.

Takes answers and the log, gives columns; never writes. Last touch: an outcome belongs to the
latest impression before it, so no outcome is counted twice; so does the label's negative (`hide`),
which makes the click negative at once, whatever else was done or follows. Otherwise, what is
younger than its window is censored, never negative. What has no direction counts for either end
that was shown the other. Our design.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from graphsvc.answers import Answer
from graphsvc.projection import standing
from graphsvc.schema import Schema
from graphsvc.touches import SKEW_SECONDS, Converted, History, Shown, Touches

POSITIVE, NEGATIVE, CENSORED, NOT_SHOWN = 1, 0, -1, -2
_DAY_SECONDS = 86_400
_NEVER = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How long after an impression an outcome still belongs to it, in seconds; the end counts."""

    #: Also: how long after an answer an impression that names no request belongs to it.
    click_seconds: int = 30 * 60
    conversion_seconds: int = 7 * _DAY_SECONDS
    #: Events that count as conversions; None: those of the schema's label, or, where it names none,
    #: every offsite relation.
    conversions: tuple[str, ...] | None = None
    #: So long after its end a window is still open for events that arrive late.
    settle_seconds: int = 0


class Joined(NamedTuple):
    """Items of answers as columns; times are seconds since 1970, -1 where there is none.

    click, conversion: 1 positive, 0 negative, -1 censored (the window is open), -2 not shown. A
    click that the label's negative (`hide`) undoes is 0 and has no time.
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


def join(
    connection: Connection,
    schema: Schema,
    answers: Sequence[Answer],
    *,
    windows: Windows,
    now: int,
) -> Joined:
    """The items of some answers, in their order, with what is known at `now`."""
    touches = _touches(connection, schema, answers, windows)
    work = _Join(schema, touches, windows, now)
    columns: dict[str, list[Any]] = {name: [] for name in Joined._fields}
    for answer in answers:
        history = touches.histories.get(touches.heads.get(answer.head, 0), History())
        for position, item in enumerate(answer.items):
            row = {
                "request_id": answer.request_id,
                "asked_at": answer.asked_at,
                "head": answer.head.id,
                "item": item.id,
                "position": position,
                "score": item.score,
                **work.outcome(answer, touches.items.get((answer.tail_type, item.id), 0), history),
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
    """One block of answers with what their heads were shown and did, at `now`."""

    def __init__(self, schema: Schema, touches: Touches, windows: Windows, now: int) -> None:
        self.schema, self.touches, self.windows, self.now = schema, touches, windows, now

    def outcome(self, answer: Answer, item: int, history: History) -> dict[str, Any]:
        """What became of one item of an answer."""
        windows, now = self.windows, self.now
        shown = self._impression(answer, item, history)
        if shown is None:
            waiting = now <= answer.asked_at + windows.click_seconds + windows.settle_seconds
            state = CENSORED if waiting else NOT_SHOWN
            return _outcome(None, (state, -1), (state, []))
        click, click_time = self._click(shown, history)
        found = self._converted(shown, history)
        state = POSITIVE if found else self._without(shown, windows.conversion_seconds)
        return _outcome(shown, (click, click_time), (state, found))

    def _impression(self, answer: Answer, item: int, history: History) -> Shown | None:
        """The first by request id; else the first without one that the answer is the latest before.

        Neither belongs to an answer that is older than the conversion window. What is too early or
        too late counts as if it were not there: beside other answers it may not have been read.
        """
        shown = history.shown.get(item, [])
        until = answer.asked_at + self.windows.conversion_seconds
        for one in shown:
            near = answer.asked_at - SKEW_SECONDS <= one.time <= until
            if near and one.request_id == answer.request_id:
                return one
        answered = history.answered.get(item, [])
        for one in shown:
            if one.request_id is not None:
                continue
            place = bisect_right(answered, (one.time, "\U0010ffff")) - 1
            within = 0 <= one.time - answer.asked_at <= self.windows.click_seconds
            if within and answered[place] == (answer.asked_at, answer.request_id):
                return one
        return None

    def _click(self, shown: Shown, history: History) -> tuple[int, int]:
        """Whether the outcome followed, and when; what the label's negative undoes has no time."""
        # As in labels.py a negative outweighs outcomes before and after it. So the state is known
        # before the window's end: nothing that is done later can make it positive.
        if self._owned(history.refusals.get(shown.item, []), shown, history):
            return NEGATIVE, -1
        outcome = self.schema.label.outcome
        adds_up = self.schema.events[outcome].parallel
        times = standing(history.acts.get((outcome, shown.item), []), adds_up=adds_up)
        clicks = self._owned(times, shown, history)
        if clicks:
            return POSITIVE, clicks[0]
        return self._without(shown, self.windows.click_seconds), -1

    def _owned(self, times: Sequence[int], shown: Shown, history: History) -> list[int]:
        """Those within the click window and before the item's next impression, in order."""
        following = [one.time for one in history.shown[shown.item] if one[:2] > shown[:2]]
        stop = min(following, default=_NEVER)
        last = shown.time + self.windows.click_seconds
        return sorted(time for time in times if shown.time <= time <= last and time < stop)

    def _without(self, shown: Shown, seconds: int) -> int:
        """The state of an impression that nothing has followed so far."""
        is_over = self.now > shown.time + self.windows.settle_seconds + seconds
        return NEGATIVE if is_over else CENSORED

    def _converted(self, shown: Shown, history: History) -> list[Converted]:
        """Conversions within the window of what the item leads to, by last touch, in order."""
        found = []
        last = shown.time + self.windows.conversion_seconds
        for one in history.conversions:
            leading = self.touches.leading_to(one.object)
            if not shown.time <= one.time <= last or shown.item not in leading:
                continue
            touches = [
                other[:2]
                for item in leading
                for other in history.shown.get(item, ())
                if other.time <= one.time
            ]
            if max(touches) == shown[:2]:
                found.append(one)
        return sorted(found)


def _touches(
    connection: Connection, schema: Schema, answers: Sequence[Answer], windows: Windows
) -> Touches:
    named = windows.conversions if windows.conversions is not None else schema.label.conversions
    if named is None:
        named = tuple(event.name for event in schema.relations if event.source == "offsite")
    return Touches(
        connection,
        schema,
        answers,
        conversions=frozenset(named) & schema.events.keys(),
        click_seconds=windows.click_seconds,
        conversion_seconds=windows.conversion_seconds,
    )


def _outcome(
    shown: Shown | None, click: tuple[int, int], conversion: tuple[int, list[Converted]]
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
