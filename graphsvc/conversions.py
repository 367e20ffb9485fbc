"""Which click led to a conversion: the second label, by last click.

Takes clicks, conversions and what items lead to, gives the clicks that a conversion belongs to, to
be asked about by exposure; never reads the log. Pure arithmetic, all in arrays: what arrived first
does not show. Our design.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.errors import ConversionUnknown
from graphsvc.schema import Schema

_DAY_SECONDS = 86_400
_MOST_DAYS = 365.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversions:
    """What counts as a conversion of what was clicked, and for how long."""

    #: Names of events; None: those of the schema's label, or, where it names none, every offsite
    #: relation that a click can lead to.
    events: tuple[str, ...] | None = None
    #: So many days after a click a conversion still belongs to it; the end counts.
    days: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.days <= _MOST_DAYS:
            raise ConversionUnknown(
                f"conversion_days should be above 0 and at most {_MOST_DAYS:g}, "
                f"received {self.days!r}"
            )

    @property
    def seconds(self) -> int:
        return round(self.days * _DAY_SECONDS)

    def named(self, schema: Schema) -> tuple[str, ...]:
        """The events that count, in the schema's order.

        Raises `ConversionUnknown` for a name that the schema does not have, or that no click of it
        can lead to.
        """
        able, named = schema.convertible, schema.label.conversions
        if self.events is None:
            offsite = {event.name for event in schema.relations if event.source == "offsite"}
            return tuple(name for name in able if name in (named or offsite))
        for name in self.events:
            if name not in able:
                raise ConversionUnknown(
                    f"conversions should be events that a click can lead to ("
                    f"{', '.join(able) or 'the schema has none'}), received {name!r}"
                )
        return tuple(name for name in able if name in self.events)


def ties(schema: Schema, names: tuple[str, ...]) -> frozenset[str]:
    """The relations of structure by which items lead to what some conversions are on."""
    targets = {schema.events[name].tail for name in names}
    shown = schema.events[schema.label.exposure].tail
    return frozenset(
        relation.name
        for relation in schema.relations
        if relation.source == "structure" and relation.head == shown and relation.tail in targets
    )


class Deeds(NamedTuple):
    """Who did something with what, and when: rows of the snapshot, seconds since 1970."""

    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    time: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Deeds":
        """Some of them."""
        return Deeds(*(column[rows] for column in self))

    def turned_too(self) -> "Deeds":
        """These, and the same with their ends changed round."""
        both = (np.concatenate([self.head, self.tail]), np.concatenate([self.tail, self.head]))
        return Deeds(*both, np.concatenate([self.time, self.time]))

    def in_order(self) -> "Deeds":
        """By time; of one second by head, then by tail."""
        return self.take(np.lexsort((self.tail, self.head, self.time)))


class Ties(NamedTuple):
    """Item -> what it leads to, sorted by item: rows of the snapshot."""

    item: NDArray[np.int64]
    target: NDArray[np.int64]


def converted(clicks: Deeds, conversions: Deeds, leading: Ties, seconds: int) -> NDArray[np.bool_]:
    """Whether each click led to a conversion; clicks are `in_order`.

    A conversion belongs to the latest click at its time or before whose item is what it is on, or
    leads to that, if that click is no more than `seconds` old: so none is counted twice. Of clicks
    of one second it is the last in order.
    """
    found = np.zeros(len(clicks.time), dtype=bool)
    if not len(clicks.time) or not len(conversions.time):
        return found
    click, target = _led_to(clicks.tail, leading)
    names, wanted = np.unique(_pair(conversions.head, conversions.tail), return_inverse=True)
    place, is_wanted = _placed(names, _pair(clicks.head[click], target))
    click, place = click[is_wanted], place[is_wanted]
    if not len(click):
        return found
    # Clicks are in the order of time, so their numbers sort like their times.
    order = np.lexsort((click, place))
    click, place = click[order], place[order]
    time = clicks.time[click]
    start, width = int(time.min()), int(time.max()) - int(time.min()) + 1
    # (pair, time) as one number that sorts like the two.
    codes = place * width + (time - start)
    until = np.minimum(conversions.time - start, width - 1)
    at = np.searchsorted(codes, wanted.reshape(-1) * width + until, side="right") - 1
    last = at.clip(min=0)
    owed = (at >= 0) & (until >= 0) & (place[last] == wanted.reshape(-1))
    owed &= conversions.time - time[last] <= seconds
    found[click[last[owed]]] = True
    return found


class Led:
    """The clicks that led to a conversion, asked about by exposure.

    `either_way`: a click of (a, b) is one of (b, a).
    """

    def __init__(self, clicks: Deeds, *, either_way: bool = False) -> None:
        self._either_way = either_way
        pair = self._pair(clicks.head, clicks.tail)
        self._names, place = np.unique(pair, return_inverse=True)
        self._start = int(clicks.time.min()) if len(clicks.time) else 0
        self._span = int(clicks.time.max()) - self._start if len(clicks.time) else 0
        self._codes = np.sort(place.reshape(-1) * self._width + (clicks.time - self._start))

    @property
    def _width(self) -> int:
        # One slot more than there are seconds: what lies behind them all is not the next pair's.
        return self._span + 2

    def within(self, exposures: Deeds, window: int) -> NDArray[np.bool_]:
        """Whether such a click of the same pair lies in [time, time + window]."""
        if not len(self._names):
            return np.zeros(len(exposures.time), dtype=bool)
        place, known = _placed(self._names, self._pair(exposures.head, exposures.tail))
        first = (exposures.time - self._start).clip(0, self._span + 1)
        last = (exposures.time - self._start + window).clip(-1, self._span)
        low = np.searchsorted(self._codes, place * self._width + first, side="left")
        high = np.searchsorted(self._codes, place * self._width + last, side="right")
        return known & (low < high)

    def _pair(self, head: NDArray[np.int64], tail: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._either_way:
            head, tail = np.minimum(head, tail), np.maximum(head, tail)
        return _pair(head, tail)


def _led_to(items: NDArray[np.int64], leading: Ties) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(number of the item, target) of each item's targets; an item is its own target as well."""
    numbers = np.arange(len(items))
    first = np.searchsorted(leading.item, items, side="left")
    count = np.searchsorted(leading.item, items, side="right") - first
    number = np.repeat(numbers, count)
    within = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
    target = leading.target[first[number] + within]
    return np.concatenate([numbers, number]), np.concatenate([items, target])


def _pair(head: NDArray[np.int64], tail: NDArray[np.int64]) -> NDArray[np.int64]:
    return (head << 32) | tail


def _placed(
    names: NDArray[np.int64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each pair stands among sorted names, and whether it does."""
    place = np.searchsorted(names, pairs).clip(max=len(names) - 1)
    return place, names[place] == pairs
