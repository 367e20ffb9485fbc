"""Who is gone: what whoever holds ids asks, to find the rows of those who were erased.

Takes ids, gives places; never says who it is. While an erasure is under way ids are known, later
their digests alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: What stands where the id of somebody stood who was erased. No id is empty.
NOBODY = ""


@runtime_checkable
class Gone(Protocol):
    """Some who were erased."""

    @property
    def types(self) -> Collection[str]:
        """Of which types somebody is gone."""

    def among(self, type_: str, ids: Sequence[str | None]) -> NDArray[np.int64]:
        """The places of those among some ids of a type, in rising order; None is nobody."""


@dataclass(frozen=True, slots=True)
class Named:
    """By their ids."""

    ids: Mapping[str, frozenset[str]]

    @property
    def types(self) -> Collection[str]:
        return self.ids.keys()

    def among(self, type_: str, ids: Sequence[str | None]) -> NDArray[np.int64]:
        wanted = self.ids.get(type_, frozenset())
        return places([id_ in wanted for id_ in ids] if wanted else [])


def places(found: Sequence[bool]) -> NDArray[np.int64]:
    """Where something was found."""
    return np.flatnonzero(np.array(found, dtype=np.bool_))
