"""What a ranker is told about entities, and about the exposure of one to the other, as columns.

Of entities: ids, vectors, attributes and counters. Of an exposure: its place and its time. Takes
columns of equal length, gives them by row; never looks anything up. Training builds them from a
snapshot, serving from the live graph: the features cannot tell which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray

from ranking.columns import coded
from ranking.errors import StatesMismatch


class Around(NamedTuple):
    """Where what entities lead to lies: float32 [n, d] in the bundle's space, bool [n] if known."""

    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Around":
        """Those at some rows, in that order."""
        return Around(self.vectors[rows], self.known[rows])

    def joined(self, more: "Around") -> "Around":
        """These, and more behind them."""
        return Around(*(np.concatenate(columns) for columns in zip(self, more, strict=True)))


@dataclass(frozen=True, slots=True)
class EntityStates:
    """n entities of one type at one moment each.

    ids: object [n], the application's ids. vectors: float32 [n, d] in the bundle's space, from
    the bundle, a fold-in or a type's prior. known: bool [n], False where there is no vector at all
    (its numbers are then ignored). attributes: name -> n JSON values (a list, or `Coded`, which is
    quicker where many are the same), None where unset; a missing name reads as all None.
    exposures, outcomes: int64 [n], how often the entity was part of an exposure or an outcome
    strictly before the moment of scoring. nameless: bool [n], True where nothing may be used that
    was learned about this very id; None: nowhere. around: type -> where the entities of that type
    lie that each leads to; a missing type is known of none.
    Raises `StatesMismatch` if the lengths differ.
    """

    # Lengths are compared below, so that a caller gets a sentence and not a type error.
    ids: NDArray[np.object_]
    vectors: Float32[np.ndarray, "_ d"]
    known: Bool[np.ndarray, "_"]
    attributes: Mapping[str, Sequence[Any]]
    exposures: Int64[np.ndarray, "_"]
    outcomes: Int64[np.ndarray, "_"]
    nameless: Bool[np.ndarray, "_"] | None = None
    around: Mapping[str, Around] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        del columns["attributes"], columns["around"]
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        lengths |= {f"attributes.{name}": len(column) for name, column in self.attributes.items()}
        lengths |= {f"around.{type_}": len(found.known) for type_, found in self.around.items()}
        if len(set(lengths.values())) > 1:
            raise StatesMismatch(f"columns should have one length, received {lengths}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int64[np.ndarray, "m"]) -> "EntityStates":
        """The entities at some rows, in that order."""
        return EntityStates(
            ids=self.ids[rows],
            vectors=self.vectors[rows],
            known=self.known[rows],
            attributes={name: coded(column).take(rows) for name, column in self.attributes.items()},
            exposures=self.exposures[rows],
            outcomes=self.outcomes[rows],
            nameless=None if self.nameless is None else self.nameless[rows],
            around={type_: found.take(rows) for type_, found in self.around.items()},
        )


@dataclass(frozen=True, slots=True)
class ExposureStates:
    """n exposures, of a tail to a head each: where it stands and when.

    position: int64 [n], the place in what is shown, from 0; -1 where nobody said. time: int64 [n],
    seconds since 1970; -1 where it does not matter. Raises `StatesMismatch` if the lengths differ.
    """

    position: Int64[np.ndarray, "_"]
    time: Int64[np.ndarray, "_"]

    def __post_init__(self) -> None:
        if len(self.position) != len(self.time):
            raise StatesMismatch(
                f"columns should have one length, received {len(self.position)} positions and "
                f"{len(self.time)} times"
            )

    def __len__(self) -> int:
        return len(self.position)

    def take(self, rows: Int64[np.ndarray, "m"]) -> "ExposureStates":
        """The exposures at some rows, in that order."""
        return ExposureStates(self.position[rows], self.time[rows])

    def at(self, position: int) -> "ExposureStates":
        """The same, all in one place."""
        return ExposureStates(np.full(len(self), position, dtype=np.int64), self.time)


def alike(count: int, *, position: int = -1, time: int = -1) -> ExposureStates:
    """So many exposures in one place, at one moment."""
    return ExposureStates(
        np.full(count, position, dtype=np.int64), np.full(count, time, dtype=np.int64)
    )
