"""Several batches as one, so that one transaction writes them all.

Takes batches that were prepared under one schema, gives one; never looks at the database. What it
says of each event is what it would have said had the batches been written one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphsvc.barred import Said
from graphsvc.entry import Entry
from graphsvc.verdict import Verdict


@dataclass(slots=True)
class Batch:
    """Raw events that were checked, and the rows that they become; nothing is written yet."""

    #: By place: the verdict, where it is known already.
    verdicts: list[Verdict | None]
    #: One per distinct name and id, in their order.
    entries: list[Entry] = field(default_factory=list)
    #: Name and id again within the batch: (place, place of the first, body).
    repeats: list[tuple[int, int, int]] = field(default_factory=list)
    #: Too old, unless they were seen in time: (place, digest, body, verdict, what it says).
    late: list[tuple[int, bytes, int, Verdict, Said]] = field(default_factory=list)
    #: Place -> what `set_attributes` sets.
    properties: dict[int, Any] = field(default_factory=dict)

    def digests(self) -> set[bytes]:
        """What names the events in it, late ones too."""
        return {entry.digest for entry in self.entries} | {late[1] for late in self.late}


def together(batches: Sequence[Batch]) -> Batch:
    """One batch of the events of several that share no event; places count on from one to the next.

    Of batches that do share one, what becomes of the second event can depend on whether the graph
    as it is refuses the first.
    """
    if len(batches) == 1:
        return batches[0]
    whole = Batch(verdicts=[])
    for batch in batches:
        start = len(whole.verdicts)
        whole.verdicts += batch.verdicts
        whole.entries += [Entry(start + entry[0], *entry[1:]) for entry in batch.entries]
        whole.repeats += [(start + n, start + first, body) for n, first, body in batch.repeats]
        whole.late += [(start + late[0], *late[1:]) for late in batch.late]
        whole.properties.update((start + n, value) for n, value in batch.properties.items())
    return whole
