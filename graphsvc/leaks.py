"""Edges of the graph that give away what a ranker is to guess.

Takes a snapshot, gives counts by relation; never holds more than the pairs that end well and a
block of the graph. The export lets no such edge through by the events' own times: what is found
here came in as a fact without a time, or by a fault.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.errors import LeakFound
from graphsvc.labels import EXPOSURE
from graphsvc.report import Row
from graphsvc.snapshot import Snapshot, Span


@dataclass(slots=True)
class Leak:
    """The edges of one relation between those who are shown things and the things."""

    relation: str
    #: Edges that give a label away.
    leaked: int = 0
    #: All edges of the relation.
    edges: int = 0

    @property
    def share(self) -> float:
        return self.leaked / self.edges if self.edges else 0.0


def find_leaks(snapshot: Snapshot) -> list[Leak]:
    """Every relation between the exposure's two types, and how many of its edges leak.

    An edge leaks if its pair, in either direction, has a row behind GRAPH with label 1,
    and the edge is of structure, which has no time, or newer than the person's GRAPH.
    """
    info = snapshot.interaction
    known = _known(snapshot)
    found = {
        code: Leak(relation.name)
        for code, relation in enumerate(snapshot.relations)
        if {relation.head, relation.tail} == {info.head, info.tail}
    }
    for block in snapshot.blocks("triples"):
        for code, leak in found.items():
            here = block["relation"] == code
            relation = snapshot.relations[code]
            ends, time = (block["head"][here], block["tail"][here]), block["time"][here]
            timeless = relation.source == "structure"
            leaked = np.zeros(len(time), dtype=bool)
            if relation.head == info.head:
                leaked |= known.given_away(*ends, time, timeless=timeless)
            if relation.tail == info.head:
                leaked |= known.given_away(*ends[::-1], time, timeless=timeless)
            leak.leaked += int(leaked.sum())
            leak.edges += len(leaked)
    return list(found.values())


def leak_rows(snapshot: Snapshot, leaks: list[Leak]) -> list[Row]:
    """Count and share by relation, and the count of all, for the report."""
    split = str(snapshot.split["protocol"])
    total = sum(leak.leaked for leak in leaks)
    rows = [Row(metric="leaked_edges", value=total, unit="count", split=split, model="all")]
    for leak in leaks:
        rows += [
            Row(
                metric="leaked_edges",
                value=leak.leaked,
                unit="count",
                split=split,
                model=leak.relation,
            ),
            Row(
                metric="leaked_share",
                value=leak.share,
                unit="share",
                split=split,
                model=leak.relation,
            ),
        ]
    return rows


def refuse_leaks(leaks: list[Leak]) -> None:
    """Raise `LeakFound` with a sentence if there is any."""
    bad = [leak for leak in leaks if leak.leaked]
    if bad:
        named = ", ".join(
            f"{leak.relation}: {leak.leaked} of {leak.edges} edges ({leak.share:.1%})"
            for leak in bad
        )
        raise LeakFound(
            f"edges of the graph give away labels that rankers are to guess: {named}; post such "
            "events with the source and time they have instead of as structure, take the relation "
            "out of the schema, or set allow_leaks to go on and have it reported"
        )


class _Known(NamedTuple):
    """What is to be guessed, and the end of each person's GRAPH."""

    #: head << 32 | tail of rows with label 1 in a later span, sorted
    pairs: NDArray[np.int64]
    #: [entities] last exposure in GRAPH; -1 for who has none
    last: NDArray[np.int64]

    def given_away(
        self,
        head: NDArray[np.int32],
        tail: NDArray[np.int32],
        time: NDArray[np.int64],
        *,
        timeless: bool,
    ) -> NDArray[np.bool_]:
        pair = (head.astype(np.int64) << 32) | tail
        place = np.searchsorted(self.pairs, pair).clip(max=max(len(self.pairs) - 1, 0))
        asked = self.pairs[place] == pair if len(self.pairs) else np.zeros(len(pair), dtype=bool)
        return asked if timeless else asked & (time > self.last[head])


def _known(snapshot: Snapshot) -> _Known:
    last = np.full(snapshot.entity_count, -1, dtype=np.int64)
    pairs = [np.empty(0, dtype=np.int64)]
    for block in snapshot.blocks("interactions"):
        later = (block["span"] > Span.GRAPH) & (block["label"] == 1)
        head = block["head"][later].astype(np.int64)
        pairs.append(np.unique((head << 32) | block["tail"][later]))
        early = (block["span"] == Span.GRAPH) & (block["event"] == EXPOSURE)
        np.maximum.at(last, block["head"][early], block["time"][early])
    if snapshot.split["protocol"] == "global_time":
        last[:] = snapshot.watermark["as_of"]
    return _Known(np.unique(np.concatenate(pairs)), last)
