"""Keeping an overlay up to date: the log is followed by sequence number, a little at a time.

Takes the graph as it is when a trio becomes live, then each new row of the log; gives folded-in
entities and hidden rows to the trio's overlay. Never does more than a bounded piece of work per
step, and never holds more than a bounded number of entities that wait.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic, time

from api.overlay import Overlay
from api.solving import Solver
from graphsvc import tail as log
from graphsvc.builtin import OPT_OUT
from graphsvc.db import Connection, Database
from graphsvc.folding import fold_edges
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from graphsvc.tail import Entity

#: Rows of the log, and entities of the walk, per step.
_ROWS = 2_000
#: Entities solved together; a step goes on with the next ones until its time is over.
_SOLVED = 32
_STEP_SECONDS = 0.05
#: With more entities waiting, the log is not read on: its rows wait where they are.
_MOST_WAITING = 10_000
#: Candidates of answers that were found to be missing; more are forgotten.
_MOST_WANTED = 2_000


@dataclass(slots=True)
class Tail:
    """Follows the log on behalf of one overlay. One thread steps; any may ask."""

    database: Database
    schema: Callable[[], Schema]
    solver: Solver
    overlay: Overlay
    #: The bundle has seen the log up to here.
    watermark: int
    #: Most recent edges that a fold-in looks at.
    most_edges: int
    #: The last row of the log that is dealt with, or waits to be solved.
    done: int = 0
    #: Rows of the log that are not dealt with yet, as of the last step.
    lag: int = 0
    #: Keys of persons who opted out behind the watermark.
    _opted_out: set[int] = field(default_factory=set)
    #: The walk over entities that training did not see goes on below this key.
    _below: int = 0
    _new: OrderedDict[int, Entity] = field(default_factory=OrderedDict)
    _again: OrderedDict[int, Entity] = field(default_factory=OrderedDict)
    #: What the walk found: it waits for those whom the log names, and never takes their room.
    _older: OrderedDict[int, Entity] = field(default_factory=OrderedDict)
    _wanted: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_WANTED))

    def start(self) -> None:
        """Take over what holds now: who is out of answers, and who opted out since training.

        What training never saw follows step by step, the newest first.
        """
        with self.database.reading() as connection:
            self.done = log.reached(connection)
            self._below = log.last_key(connection) + 1
            for entity in log.out_of_answers(connection):
                self._hide(entity, hidden=True)
            opted_out = log.opted_out_since(connection, self.watermark)
            self._settle(connection, opted_out, opted_out=opted_out)

    def want(self, keys: Iterable[int]) -> None:
        """Ask for entities that an answer found missing; they are there a step later."""
        self._wanted.extend(keys)

    def step(self) -> bool:
        """Do a piece of what there is to do. True if more is waiting."""
        with self.database.reading() as connection:
            reached = log.reached(connection)
            full = self._read(connection, reached)
            self._solve(connection)
            walking = not self._waits and self._walk(connection)
        self.lag = reached - self.done
        return full or walking or self._waits

    @property
    def _waits(self) -> bool:
        return bool(self._new or self._again or self._older)

    def _read(self, connection: Connection, reached: int) -> bool:
        """Deal with the next rows of the log, up to the last one that is there. True if cut off."""
        if len(self._new) + len(self._again) >= _MOST_WAITING:
            return True
        if reached <= self.done and not self._wanted:
            return False
        wanted = [self._wanted.popleft() for _ in range(len(self._wanted))]
        rows = log.changes(connection, after=self.done, limit=_ROWS)
        touched = dict.fromkeys(wanted)
        for row in rows:
            touched[row.actor] = None
            if row.object is not None:
                touched[row.object] = None
        opted_out = [row.actor for row in rows if row.event_name == OPT_OUT]
        self._settle(connection, touched, opted_out=opted_out)
        full = len(rows) == _ROWS
        # Rows behind the last one may have been taken out: nobody will find them any more.
        self.done = rows[-1].seq if full else max(self.done, reached)
        return full

    def _settle(
        self, connection: Connection, keys: Iterable[int], *, opted_out: Iterable[int]
    ) -> None:
        """Hide what is out of answers, and let those that need a vector of their own wait."""
        named = dict.fromkeys(keys)
        touched = list(named)
        entities: dict[int, Entity] = {}
        for first in range(0, len(touched), _ROWS):
            entities |= log.entities_of(connection, touched[first : first + _ROWS])
        holds = {e.merged_into for e in entities.values() if e.merged_into} - set(entities)
        entities |= log.entities_of(connection, holds)
        for key in opted_out:
            entity = entities.get(key)
            self._opted_out.add(entity.merged_into or key if entity else key)
        # In the order of the log: where there is not room for all, those named last stay.
        for key in [*touched, *(key for key in holds if key not in named)]:
            if key in entities:
                self._place(entities[key])

    def _place(self, entity: Entity, *, walking: bool = False) -> None:
        gone = entity.retired or entity.merged_into is not None
        replaced = entity.key in self._opted_out
        row = self._hide(entity, hidden=gone or replaced)
        if gone:
            self.overlay.drop(entity.name)
            for waiting in (self._new, self._again, self._older):
                waiting.pop(entity.key, None)
        elif entity.type in self.solver.bundle.types and (row is None or replaced):
            if walking:
                self._older[entity.key] = entity
                return
            self._older.pop(entity.key, None)
            again = entity.name in self.overlay or entity.key in self._again
            (self._again if again else self._new)[entity.key] = entity

    def _hide(self, entity: Entity, *, hidden: bool) -> int | None:
        """Pass over an entity's row in searches, or no longer: the row, None if it has none."""
        kind = self.solver.bundle.types.get(entity.type)
        if kind is None:
            return None
        row = int(self.solver.bundle.rows(entity.type, [entity.id])[0])
        if row < 0:
            return None
        self.overlay.hide(entity.type, row - kind.start, kind.stop - kind.start, hidden=hidden)
        return row

    def _solve(self, connection: Connection) -> None:
        """Solve for those that wait, newcomers first, until the step's time is over."""
        until = monotonic() + _STEP_SECONDS
        queues = (self._new, self._again, self._older)
        while (queue := next(filter(None, queues), None)) is not None:
            chosen = [queue.popitem(last=False)[1] for _ in range(min(_SOLVED, len(queue)))]
            try:
                self._solve_some(connection, chosen, latest=queue is not self._older)
            except BaseException:
                queue.update((entity.key, entity) for entity in chosen)
                raise
            if monotonic() > until:
                return

    def _solve_some(self, connection: Connection, chosen: list[Entity], *, latest: bool) -> None:
        as_of, schema = int(time()), self.schema()
        for type_ in dict.fromkeys(entity.type for entity in chosen):
            some = [entity for entity in chosen if entity.type == type_]
            found = [
                fold_edges(
                    connection,
                    schema,
                    type_=type_,
                    key=entity.key,
                    as_of=as_of,
                    limit=self.most_edges,
                )
                for entity in some
            ]
            solved = self.solver.solve(type_, found, each_counts=False)
            for entity, folded in zip(some, solved, strict=True):
                if folded.edges:
                    self.overlay.put(entity.name, folded, latest=latest)
                else:
                    self.overlay.drop(entity.name)

    def _walk(self, connection: Connection) -> bool:
        """Look at the next entities below the last ones, and let those wait that are not trained.

        It ends where the overlay is full: what is older than that is solved when it is touched.
        """
        if self._below <= 1 or self.overlay.full:
            return False
        # What is one too many makes room itself; so not many more than fit are solved in vain.
        room = max(self.overlay.bound - len(self.overlay), _SOLVED)
        page = log.entities_below(connection, self._below, limit=_ROWS)
        above, self._below = self._below, page[-1].key if page else 0
        for entity in self._untrained(page):
            if len(self._older) == room:
                # Some of these may have no edges: if there is room left then, it goes on here.
                self._below = above
                break
            if entity.name not in self.overlay:
                self._place(entity, walking=True)
            above = entity.key
        return self._below > 1

    def _untrained(self, page: Sequence[Entity]) -> list[Entity]:
        """Those of some entities that the bundle does not hold, in their order."""
        rows: dict[EntityId, int] = {}
        for type_ in dict.fromkeys(entity.type for entity in page):
            some = [entity for entity in page if entity.type == type_]
            found = self.solver.bundle.rows(type_, [entity.id for entity in some])
            rows.update(zip((entity.name for entity in some), found.tolist(), strict=True))
        return [entity for entity in page if rows[entity.name] < 0]
