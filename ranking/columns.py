"""Columns in which many rows have the same value: the values, and which of them each row has.

Takes values, gives them by number, so that what is done to a value is done once, and one gather
gives it to all rows; never decides what a value means.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, slots=True)
class Coded(Sequence[Any]):
    """A column of n rows; it reads like the list of their values.

    values: object [u]; some may be equal, and some may be of no row. codes: int64 [n], the number
    of each row's value.
    """

    values: NDArray[np.object_]
    codes: Int64[np.ndarray, "_"]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Coded(self.values, self.codes[index])
        return self.values[self.codes[index]]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values[self.codes].tolist())

    def take(self, rows: Int64[np.ndarray, "m"]) -> "Coded":
        """Some rows, in that order."""
        return Coded(self.values, self.codes[rows])


def coded(column: Sequence[Any]) -> Coded:
    """Any column as a coded one; in a plain one each row counts as a value of its own."""
    if isinstance(column, Coded):
        return column
    return Coded(as_objects(column), np.arange(len(column), dtype=np.int64))


def distinct(texts: Sequence[str] | NDArray[np.object_]) -> Coded:
    """A column of text with each value once, in the order of their first rows."""
    column = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
    values = list(dict.fromkeys(column))
    number = {value: code for code, value in enumerate(values)}
    codes = np.fromiter(map(number.__getitem__, column), dtype=np.int64, count=len(column))
    return Coded(as_objects(values), codes)


def unset(count: int) -> Coded:
    """A column without any value: None everywhere."""
    return Coded(as_objects([None]), np.zeros(count, dtype=np.int64))


def as_objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Python values as an array of them; numpy itself would make a table of lists of one length."""
    return np.fromiter(values, dtype=object, count=len(values))


def by_name(
    column: Sequence[Any], name_of: Callable[[Any], str | None], most: int
) -> Iterator[tuple[str, Bool[np.ndarray, "n"]]]:
    """The rows of each name that values have: the most frequent names first, then by the name.

    A value without a name is in none.
    """
    own = coded(column)
    names = [name_of(value) for value in own.values]
    rows = np.bincount(own.codes, minlength=len(names)).tolist()
    counts: dict[str, int] = {}
    for name, count in zip(names, rows, strict=True):
        if name is not None and count:
            counts[name] = counts.get(name, 0) + count
    for name in sorted(counts, key=lambda name: (-counts[name], name))[:most]:
        yield name, np.array([one == name for one in names], dtype=bool)[own.codes]
