"""Attributes of a bundle's entities as columns, for filters: one per type and name, as of now.

Takes a connection, gives columns that are up to its moment: whoever asks reads what the log has
said since somebody asked last, and no more. Never holds more columns than its bound; the first
question about an attribute reads all of it.

A column is a number per entity that says which of the distinct values it has, so a condition looks
at each distinct value once.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphsvc import filtering, tail
from graphsvc.db import Connection
from kge.bundle import Bundle

_MOST_COLUMNS = 64
#: Of more rows of the log than these the whole column is read anew.
_MOST_ROWS = 20_000
#: Values that nobody has any more are dropped with the column, when there are so many of them.
_MOST_STALE = 100_000
#: Up to so many values that pass are compared one by one.
_FEW_VALUES = 8

#: Which of some distinct values a condition asks for.
Test = Callable[["Values"], NDArray[np.bool_]]


@dataclass(slots=True)
class Values:
    """The distinct values of a column; only ever grows."""

    texts: dict[str, int] = field(default_factory=dict)
    decoded: list[Any] = field(default_factory=list)
    _numbers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def code(self, text: str) -> int:
        code = self.texts.get(text)
        if code is None:
            code = self.texts[text] = len(self.decoded)
            self.decoded.append(json.loads(text))
        return code

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Each value as a number, NaN where it is none."""
        known = len(self._numbers)
        if known < len(self.decoded):
            new = [_number(value) for value in self.decoded[known:]]
            self._numbers = np.concatenate([self._numbers, np.array(new, dtype=np.float64)])
        return self._numbers


@dataclass(slots=True)
class Column:
    """One attribute of one type. `others`: entities that the bundle does not hold."""

    type: str
    name: str
    codes: NDArray[np.int32]
    others: dict[str, int]
    values: Values
    #: It is as the log was here, or a little later.
    seq: int
    loaded: int
    lock: Lock = field(default_factory=Lock)

    def passing(self, test: Test) -> NDArray[np.bool_]:
        """Which rows of the type have a value that is asked for."""
        with self.lock:
            truth = np.append(test(self.values), False)  # the last one: those without a value
            few = np.flatnonzero(truth)
            if len(few) <= _FEW_VALUES:  # a look at all rows for each, which is quicker by far
                found = np.zeros(len(self.codes), np.bool_)
                for code in few.tolist():
                    found |= self.codes == code
                return found
            # NumPy is several times as quick by numbers of its own width.
            return np.asarray(truth[self.codes.astype(np.intp)])

    def passing_of(self, test: Test, ids: Sequence[str], places: NDArray[Any]) -> NDArray[np.bool_]:
        """The same of some ids; `places`: theirs among the type's rows, below 0 where none."""
        with self.lock:
            truth = np.append(test(self.values), False)
            codes = [
                self.codes[place] if place >= 0 else self.others.get(id_, -1)
                for id_, place in zip(ids, places.tolist(), strict=True)
            ]
            found: NDArray[np.bool_] = truth[np.array(codes, dtype=np.int64)]
            return found


@dataclass(slots=True)
class Columns:
    """The columns that were asked for last, of one bundle."""

    bundle: Bundle
    _kept: OrderedDict[tuple[str, str], Column] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, connection: Connection, type_: str, name: str) -> Column:
        """An attribute as it is at the connection's moment."""
        reached = tail.reached(connection)
        with self._lock:
            column = self._kept.get((type_, name))
            if column:
                self._kept.move_to_end((type_, name))
        if column is None or not self._catch_up(connection, column, reached):
            column = self._load(connection, type_, name, reached)
            with self._lock:
                self._kept[type_, name] = column
                while len(self._kept) > _MOST_COLUMNS:
                    self._kept.popitem(last=False)
        return column

    def _load(self, connection: Connection, type_: str, name: str, reached: int) -> Column:
        kind = self.bundle.types[type_]
        column = Column(
            type=type_,
            name=name,
            codes=np.full(kind.stop - kind.start, -1, np.int32),
            others={},
            values=Values(),
            seq=reached,
            loaded=0,
        )
        rows = filtering.attribute_values(connection, type_, name)
        self._write(column, [id_ for id_, _ in rows], [text for _, text in rows])
        column.loaded = len(column.values.decoded)
        return column

    def _catch_up(self, connection: Connection, column: Column, reached: int) -> bool:
        """Read what the log has changed since. False if it is easier to read everything."""
        with column.lock:
            if column.seq >= reached:
                return True
            if len(column.values.decoded) > column.loaded + _MOST_STALE:
                return False
            keys = filtering.attribute_changes(connection, after=column.seq, most=_MOST_ROWS)
            if keys is None:
                return False
            rows = [
                row
                for row in filtering.attribute_values_of(connection, column.name, keys)
                if row[0] == column.type
            ]
            self._write(column, [row[1] for row in rows], [row[2] for row in rows])
            column.seq = reached
            return True

    def _write(self, column: Column, ids: Sequence[str], texts: Sequence[str | None]) -> None:
        places = self.bundle.rows(column.type, ids) - self.bundle.types[column.type].start
        for id_, text, place in zip(ids, texts, places.tolist(), strict=True):
            code = -1 if text is None else column.values.code(text)
            if place >= 0:
                column.codes[place] = code
            elif code >= 0:
                column.others[id_] = code
            else:
                column.others.pop(id_, None)


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")
