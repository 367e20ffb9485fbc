"""The market as a stream: events in the order of time, as many as somebody takes.

Takes a world, gives chunks; holds one block, what is still to follow from earlier ones, and the
columns of products and ads. Chunks of any size are cuts of one and the same stream, and a shorter
stream is the beginning of a longer one.
"""

from collections.abc import Iterator

import numpy as np

from graphsvc.errors import WorldError
from graphsvc.simulate.blocks import Blocks
from graphsvc.simulate.goods import Goods, goods_of
from graphsvc.simulate.rows import EVENT, IMPRESSION, TRUTH, Chunk, in_order
from graphsvc.simulate.world import DAY, World


class Market:
    """A world with its products and ads, ready to be run."""

    def __init__(self, world: World) -> None:
        self.world: World = world
        self.goods: Goods = goods_of(world)

    def stream(
        self, *, events: int | None = None, days: float | None = None, chunk: int = 50_000
    ) -> Iterator[Chunk]:
        """The first `events`, or those of the first `days`, or both, whichever ends first.

        Chunks have `chunk` events, the last one fewer. Raises `WorldError` if it is to have no end
        or no chunks.
        """
        endless = events is None and days is None
        if endless or chunk < 1 or (events or 0) < 0:
            raise WorldError(
                "a stream should have an end, events or days, and chunks of at least 1 event; "
                f"received events {events}, days {days}, chunk {chunk}"
            )
        until = None if days is None else self.world.start + round(days * DAY)
        left = events
        for part in _cut(self._blocks(), chunk):
            taken = len(part.events) if left is None else min(left, len(part.events))
            if until is not None:
                taken = min(taken, int(np.searchsorted(part.events["time"], until)))
            if taken > 0:
                yield _first(part, taken)[0]
            left = None if left is None else left - taken
            if left == 0 or taken < chunk:
                return

    def _blocks(self) -> Iterator[Chunk]:
        """Block by block all events that happen before its end, without one either."""
        blocks = Blocks(self.world, self.goods)
        waiting, told = np.empty(0, dtype=EVENT), np.empty(0, dtype=TRUTH)
        while True:
            drawn = blocks.next()
            events = np.concatenate([waiting, drawn.events])
            due = events["time"] < drawn.end
            waiting, ready = events[~due], in_order(events[due])
            told = np.concatenate([told, drawn.truth])
            whole, rest = _first(Chunk(ready, told), len(ready))
            told = rest.truth
            yield whole


def _cut(blocks: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    """The same in chunks of one size, for ever."""
    held: list[Chunk] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block.events)
        if count < size:
            continue
        rest = Chunk(
            np.concatenate([part.events for part in held]),
            np.concatenate([part.truth for part in held]),
        )
        while len(rest.events) >= size:
            part, rest = _first(rest, size)
            yield part
        held, count = [rest], len(rest.events)


def _first(chunk: Chunk, count: int) -> tuple[Chunk, Chunk]:
    """The first events with the truth about them, and the rest."""
    events = chunk.events[:count]
    shown = int((events["kind"] == IMPRESSION).sum())
    return (
        Chunk(events, chunk.truth[:shown]),
        Chunk(chunk.events[count:], chunk.truth[shown:]),
    )
