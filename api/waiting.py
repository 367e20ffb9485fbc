"""Entities that wait to be solved, and whose turn it is.

Takes entities with their turn, gives some of one turn at a time, the first turn before all others;
never holds an entity twice, and never more changed ones than its bound.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from graphsvc.tail import Entity


class Turn(IntEnum):
    """Why an entity waits, the most urgent first: who is found nowhere, then who is found wrongly.

    New ones, those to be solved again, those that the walk over older ones found; then those that
    training knows and the log changes, and at last those that changed before this trio was live.
    """

    NEW = 0
    AGAIN = 1
    OLDER = 2
    CHANGED = 3
    CHANGED_BEFORE = 4

    @property
    def changed(self) -> bool:
        """Training knows the entity."""
        return self >= Turn.CHANGED

    @property
    def latest(self) -> bool:
        """It was touched just now."""
        return self not in (Turn.OLDER, Turn.CHANGED_BEFORE)


@dataclass(slots=True)
class Waiting:
    """A queue per turn. Those who keep a vector meanwhile, the changed ones, may be forgotten."""

    #: Most changed entities; of more, those that wait longest are forgotten.
    most_changed: int
    _queues: tuple[OrderedDict[int, Entity], ...] = field(
        default_factory=lambda: tuple(OrderedDict() for _ in Turn)
    )

    def put(self, turn: Turn, entity: Entity) -> None:
        """Let an entity wait; one that waits already keeps the better turn and its place there."""
        if any(entity.key in self._queues[earlier] for earlier in Turn if earlier < turn):
            return
        for later in Turn:
            if later > turn:
                self._queues[later].pop(entity.key, None)
        self._queues[turn][entity.key] = entity
        if turn.changed and len(self._queues[turn]) > self.most_changed:
            self._queues[turn].popitem(last=turn is Turn.CHANGED_BEFORE)

    def put_all(self, turn: Turn, entities: Iterable[Entity]) -> None:
        """Let some entities wait for one turn."""
        for entity in entities:
            self.put(turn, entity)

    def drop(self, entity: Entity) -> None:
        """Forget an entity, if it waits."""
        for queue in self._queues:
            queue.pop(entity.key, None)

    def take(self, most: int) -> tuple[Turn, list[Entity]] | None:
        """The next ones, all of one turn, those that wait longest first; None: nobody waits."""
        for turn in Turn:
            queue = self._queues[turn]
            if queue:
                return turn, [queue.popitem(last=False)[1] for _ in range(min(most, len(queue)))]
        return None

    def count(self, *turns: Turn) -> int:
        """How many wait for some turns."""
        return sum(len(self._queues[turn]) for turn in turns)

    @property
    def unsolved(self) -> bool:
        """Whether somebody waits who has no vector meanwhile."""
        return any(self._queues[turn] for turn in Turn if not turn.changed)

    def __bool__(self) -> bool:
        return any(self._queues)
