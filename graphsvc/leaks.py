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
    """The edges of one relation between those who are shown things and what is guessed of them."""

    relation: str
    #: Edges that give a label away.
    leaked: int = 0
    #: All edges of the relation.
    edges: int = 0

    @property
    def share(self) -> float:
        return self.leaked / self.edges if self.edges else 0.0


def find_leaks(snapshot: Snapshot) -> list[Leak]:
    """Every relation between people and what is shown to them or bought, and how many edges leak.

    An edge leaks if its pair, in either direction, has a row behind GRAPH with label 1, or with a
    conversion of what the row's item leads to; and the edge is of structure, which has no time, or
    newer than the person's GRAPH.
    """
    info, bought = snapshot.interaction, _bought(snapshot)
    known, asked = _known(snapshot, bought), {info.tail, *bought}
    found = {
        code: Leak(relation.name)
        for code, relation in enumerate(snapshot.relations)
        if (relation.head == info.head and relation.tail in asked)
        or (relation.tail == info.head and relation.head in asked)
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

    #: head << 32 | tail of rows with label 1 in a later span, and of what was bought; sorted
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


def _bought(snapshot: Snapshot) -> frozenset[str]:
    """The types that conversions are on, beside that of what is shown."""
    info = snapshot.interaction
    ends = {one.tail for one in snapshot.relations if one.name in info.conversions}
    return frozenset(ends - {info.head, info.tail})


def _known(snapshot: Snapshot, bought: frozenset[str]) -> _Known:
    last = np.full(snapshot.entity_count, -1, dtype=np.int64)
    pairs = [np.empty(0, dtype=np.int64)]
    converted = [np.empty(0, dtype=np.int64)]
    for block in snapshot.blocks("interactions"):
        later = (block["span"] > Span.GRAPH) & (block["label"] == 1)
        head = block["head"][later].astype(np.int64)
        made = (head << 32) | block["tail"][later]
        pairs.append(np.unique(made))
        converted.append(np.unique(made[block["conversion"][later] == 1]))
        early = (block["span"] == Span.GRAPH) & (block["event"] == EXPOSURE)
        np.maximum.at(last, block["head"][early], block["time"][early])
    if snapshot.split["protocol"] == "global_time":
        last[:] = snapshot.watermark["as_of"]
    pairs.append(_led_to(snapshot, bought, np.unique(np.concatenate(converted))))
    return _Known(np.unique(np.concatenate(pairs)), last)


def _led_to(
    snapshot: Snapshot, bought: frozenset[str], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The people of some pairs with everything of `bought` that the pair's item leads to."""
    info = snapshot.interaction
    ties = [
        code
        for code, one in enumerate(snapshot.relations)
        if one.source == "structure" and one.head == info.tail and one.tail in bought
    ]
    if not ties:
        return np.empty(0, dtype=np.int64)
    items, others = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    for block in snapshot.blocks("triples"):
        own = np.isin(block["relation"], ties)
        items.append(block["head"][own])
        others.append(block["tail"][own])
    item, other = np.concatenate(items), np.concatenate(others)
    order = np.argsort(item, kind="stable")
    item, other = item[order], other[order]
    asked = pairs & 0xFFFFFFFF
    first = np.searchsorted(item, asked, side="left")
    count = np.searchsorted(item, asked, side="right") - first
    place = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    return (np.repeat(pairs >> 32, count) << 32) | other[place]
