"""What the passes of one export share.

Takes nothing, gives a record and the progress of it; never reads an event.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from graphsvc.moment import Moment
from graphsvc.schema import Schema
from graphsvc.snapshot import SnapshotDraft, Span
from graphsvc.split import Cuts

#: Told rows done and rows in all.
ProgressOf = Callable[[int, int], None]


@dataclass(slots=True)
class Export:
    """One export: where it reads, where it writes, and who is who."""

    connection: Connection
    schema: Schema
    draft: SnapshotDraft
    #: Events up to here, and what the clock said then.
    at: Moment
    told: ProgressOf
    total: int
    done: int = 0
    #: Key of an entity that was merged -> key of the one that stands for it.
    merges: dict[int, int] = field(default_factory=dict)
    #: Entity key -> row in the snapshot; a merged one has its kept one's.
    row_of: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    #: Events that count as conversions, and for how long after a click.
    conversions: tuple[str, ...] = ()
    conversion_seconds: int = 0
    #: Clicked exposures of which a conversion would not have been seen.
    unseen: int = 0
    #: The relations of structure by which items lead to what those are on, and their edges.
    tying: frozenset[str] = frozenset()
    ties: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    cuts: Cuts = field(
        default_factory=lambda: Cuts(user=None, last=np.zeros((1, len(Span) - 1), dtype=np.int64))
    )

    @property
    def seq(self) -> int:
        return self.at.seq

    def tell(self, rows: int) -> None:
        """Count rows that were read."""
        self.done += rows
        self.told(min(self.done, self.total), self.total)
