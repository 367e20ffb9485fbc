"""Keeping an overlay up to date: the log is followed by sequence number, a little at a time.

Takes the graph as it is when a trio becomes live, then each new row of the log; gives folded-in
entities and hidden rows to the trio's overlay. Never does more than a bounded piece of work per
step, and never holds more than a bounded number of entities that wait.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, time

from api.overlay import Overlay, Place
from api.solving import Solver
from api.waiting import Turn, Waiting
from graphsvc import tail as log
from graphsvc.builtin import MERGE, OPT_OUT, RETRACT
from graphsvc.db import Connection, Database
from graphsvc.folding import FoldEdge, count_edges, fold_edges
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from graphsvc.tail import Change, Entity

#: Rows of the log, and entities of the walk, per step.
_ROWS = 2_000
#: Entities solved together; a step goes on with the next ones until its time is over.
_SOLVED = 32
_STEP_SECONDS = 0.05
#: With more entities waiting, the log is not read on: its rows wait where they are.
_MOST_WAITING = 10_000
#: Candidates of answers that were found to be missing; more are forgotten.
_MOST_WANTED = 2_000
#: Entities that are known to have nothing to be solved from.
_MOST_IN_VAIN = 100_000
#: Behind every (time, row) of the log.
_AT_THE_END = (2**63 - 1, 2**63 - 1)


@dataclass(slots=True)
class Tail:
    """Follows the log on behalf of one overlay. One thread steps; any may ask."""

    database: Database
    schema: Callable[[], Schema]
    solver: Solver
    overlay: Overlay
    #: The bundle knows the entities and the structure of the log up to here.
    watermark: int
    #: Most recent edges of each relation and direction that a fold-in takes.
    most_edges: int
    #: The end of the graph's span: of what people did, the bundle knows the events up to this
    #: second. 0, the safe side, if nobody can say.
    graph_end: int = 0
    #: The last row of the log that is dealt with, or waits to be solved.
    done: int = 0
    #: Rows of the log that are not dealt with yet, as of the last step.
    lag: int = 0
    #: What is still to be done may take its time: it is about those who keep a vector meanwhile.
    calm: bool = True
    #: Keys of persons who opted out behind the watermark: a number for each of these, no more.
    _opted_out: set[int] = field(default_factory=set)
    #: The walk over entities that have no vector of training's goes on below this key.
    _below: int = 0
    #: The walk over the log, for what changed before this trio was live, goes on below this row,
    _before: int = 0
    #: and when it has reached the watermark, before this time and row: of what people did.
    _earlier: tuple[int, int] | None = _AT_THE_END
    _waiting: Waiting = field(init=False)
    #: Names of events that change the edges of those whose trained vectors are fold-ins.
    _changing: frozenset[str] = field(init=False)
    #: Those of which the bundle may know a part only, up to the watermark.
    _spanned: frozenset[str] = field(init=False)
    _wanted: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_WANTED))
    #: Those without an edge to anything that the bundle holds: to ask for them helps nobody.
    _in_vain: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        bundle = self.solver.bundle
        names = {r.name for r in bundle.relations if r.head in bundle.settled}
        self._changing = frozenset(names | {RETRACT, MERGE} if names else ())
        timeless = {r.name for r in bundle.relations if r.source == "structure"}
        self._spanned = self._changing - timeless - {MERGE}
        self._waiting = Waiting(most_changed=self.overlay.bound)

    def start(self) -> None:
        """Take over what holds now: who is out of answers, and who opted out since training.

        Both are read in blocks, and no vector of theirs is used from here on. Who needs a new one,
        like what training never saw, follows step by step, the newest first, then what has changed.
        """
        with self.database.reading() as connection:
            self.done = log.reached(connection)
            self._below = log.last_key(connection) + 1
            self._before = self.done + 1
            for entity in log.out_of_answers(connection):
                self._hide(entity)
            for entity in log.opted_out(connection, after=self.watermark):
                self._opted_out.add(entity.key)
                self._hide(entity)

    def want(self, keys: Iterable[int]) -> None:
        """Ask for entities that an answer found missing; they are there a step later."""
        self._wanted.extend(key for key in keys if key not in self._in_vain)

    @property
    def wanting(self) -> bool:
        """Whether somebody waits that an answer found missing, or that the log has just named."""
        return bool(self._wanted) or self._waiting.count(Turn.NEW, Turn.AGAIN) > 0

    def step(self) -> bool:
        """Do a piece of what there is to do. True if more is waiting."""
        with self.database.reading() as connection:
            reached = log.reached(connection)
            full = self._read(connection, reached)
            self._solve(connection)
            walking = not self._waiting.unsolved and self._walk(connection)
            looking_back = not (walking or self._waiting) and self._look_back(connection)
        self.lag = reached - self.done
        self.calm = not (full or walking or self._waiting.unsolved)
        return not self.calm or looking_back or bool(self._waiting)

    def _read(self, connection: Connection, reached: int) -> bool:
        """Deal with the next rows of the log, up to the last one that is there. True if cut off."""
        if self._waiting.count(Turn.NEW, Turn.AGAIN) >= _MOST_WAITING:
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
        opted_out, leaning = self._withdrawn(connection, rows)
        touched = dict.fromkeys(leaning) | touched
        changed = [*leaning, *self._changed(rows)]
        if len(self._in_vain) > _MOST_IN_VAIN or any(row.event_name == MERGE for row in rows):
            self._in_vain.clear()  # the edges of others lead elsewhere where ids became one
        self._settle(connection, touched, opted_out=opted_out, changed=changed)
        full = len(rows) == _ROWS
        # Rows behind the last one may have been taken out: nobody will find them any more.
        self.done = rows[-1].seq if full else max(self.done, reached)
        return full

    def _changed(self, rows: Iterable[Change]) -> list[int]:
        """The actors of rows that change edges of theirs, in order; others keep their vector."""
        return list(dict.fromkeys(row.actor for row in rows if row.event_name in self._changing))

    def _withdrawn(
        self, connection: Connection, rows: Sequence[Change]
    ) -> tuple[set[int], list[int]]:
        """Who has opted out by some rows, and who was solved from edges that went with that.

        The log has these edges' events no more, so nothing else names the latter. If one of two
        merged persons has opted out, both have: it is the merge that says so.
        """
        said = {row.actor for row in rows if row.event_name == OPT_OUT}
        merged = [row for row in rows if row.event_name == MERGE]
        persons = self._persons(
            connection, said.union(*((row.actor, row.object or row.actor) for row in merged))
        )
        if not persons:
            return set(), []
        ids = log.ids_of(connection, persons)
        opted_out = {holds for key, holds in ids.items() if key in said | self._opted_out}
        return opted_out, log.keys_of(connection, self.overlay.leaning_on(set(ids)))

    def _persons(self, connection: Connection, keys: Iterable[int]) -> set[int]:
        """The keys of persons that some keys stand for now."""
        entities, known = self._entities(connection, keys), self.schema().entities
        return {
            _holds(entities, key)
            for key, entity in entities.items()
            if entity.type in known and known[entity.type].person
        }

    def _settle(
        self,
        connection: Connection,
        keys: Iterable[int],
        *,
        opted_out: Iterable[int] = (),
        changed: Iterable[int] = (),
    ) -> None:
        """Hide what is out of answers, and let those that need another vector wait.

        `opted_out`: keys that hold now.
        """
        named = dict.fromkeys(keys)
        entities = self._entities(connection, named)
        for key in opted_out:
            self._opt_out(entities, key)
        moved = {_holds(entities, key) for key in changed}
        # In the order of the log: where there is not room for all, those named last stay.
        for key in [*named, *(key for key in entities if key not in named)]:
            if key in entities:
                self._place(entities[key])
                if key in moved:
                    self._refresh(entities[key], Turn.CHANGED)

    def _opt_out(self, entities: dict[int, Entity], key: int) -> None:
        """Use nothing of a person that an edge gave which may be gone, from here on.

        Before the log counts as read: who looks until they are solved again finds nobody.
        """
        self._opted_out.add(key)
        if key in entities:
            self.overlay.drop(entities[key].name)

    def _entities(self, connection: Connection, keys: Iterable[int]) -> dict[int, Entity]:
        """Entities by key, and behind them those that any of them is part of."""
        wanted = list(keys)
        entities: dict[int, Entity] = {}
        for first in range(0, len(wanted), _ROWS):
            entities |= log.entities_of(connection, wanted[first : first + _ROWS])
        holds = {e.merged_into for e in entities.values() if e.merged_into} - set(entities)
        return entities | log.entities_of(connection, holds)

    def _place(self, entity: Entity, *, walking: bool = False) -> None:
        gone = entity.retired or entity.merged_into is not None
        replaced = entity.key in self._opted_out
        place = self._indexed(entity)
        if place is not None:
            self.overlay.hide(entity.type, place, hidden=gone or replaced)
        if gone:
            self.overlay.drop(entity.name)
            self._waiting.drop(entity)
        elif entity.type in self.solver.bundle.types and (place is None or replaced):
            again = Turn.AGAIN if entity.name in self.overlay else Turn.NEW
            self._waiting.put(Turn.OLDER if walking else again, entity)

    def _hide(self, entity: Entity) -> None:
        """Pass over an entity's row in searches, if it has one."""
        place = self._indexed(entity)
        if place is not None:
            self.overlay.hide(entity.type, place, hidden=True)

    def _refresh(self, entity: Entity, turn: Turn) -> None:
        """Let an entity whose edges have changed wait, if training gave it a vector of that kind.

        Trained vectors of other types hold more than a fold-in knows, so they stay.
        """
        gone = entity.retired or entity.merged_into is not None
        if gone or entity.key in self._opted_out:
            return
        if entity.type in self.solver.bundle.settled and self._indexed(entity) is not None:
            self._waiting.put(turn, entity)

    def _indexed(self, entity: Entity) -> Place | None:
        """An entity's place in the index of its type, None if training never saw it."""
        kind = self.solver.bundle.types.get(entity.type)
        row = int(self.solver.bundle.rows(entity.type, [entity.id])[0])
        return None if kind is None or row < 0 else Place(row - kind.start, kind.stop - kind.start)

    def _solve(self, connection: Connection) -> None:
        """Solve for those that wait, newcomers first, until the step's time is over.

        Of the changed ones a step solves some and no more: they are as many as there are people
        about, and this process answers meanwhile.
        """
        until = monotonic() + _STEP_SECONDS
        while (taken := self._waiting.take(_SOLVED)) is not None:
            turn, chosen = taken
            try:
                self._solve_some(connection, chosen, turn)
            except BaseException:
                self._waiting.put_all(turn, chosen)
                raise
            if turn.changed or monotonic() > until:
                return

    def _solve_some(self, connection: Connection, chosen: list[Entity], turn: Turn) -> None:
        schema = self.schema()
        offsite = {relation.name for relation in schema.relations if relation.source == "offsite"}
        for type_ in dict.fromkeys(entity.type for entity in chosen):
            some = [entity for entity in chosen if entity.type == type_]
            found, degrees = self._edges_of(connection, schema, some)
            solved = self.solver.solve(type_, found, degrees=degrees)
            for entity, folded, edges in zip(some, solved, found, strict=True):
                if not folded.edges:
                    self.overlay.drop(entity.name)
                    self._in_vain.add(entity.key)
                    continue
                self._in_vain.discard(entity.key)
                self.overlay.put(
                    entity.name,
                    replace(folded, leans_on=_ends_of(edges, offsite)),
                    latest=turn.latest,
                    replaces=self._indexed(entity) if turn.changed else None,
                )

    def _edges_of(
        self, connection: Connection, schema: Schema, chosen: list[Entity]
    ) -> tuple[list[list[FoldEdge]], list[dict[str, int]]]:
        """Edges to solve some entities from, and how many each has of every relation."""
        as_of, most = int(time()), self.most_edges
        found = [
            fold_edges(connection, schema, type_=one.type, key=one.key, as_of=as_of, limit=most)
            for one in chosen
        ]
        degrees = [
            count_edges(
                connection, schema, edges, type_=one.type, key=one.key, as_of=as_of, limit=most
            )
            for one, edges in zip(chosen, found, strict=True)
        ]
        return found, degrees

    def _walk(self, connection: Connection) -> bool:
        """Look at the next entities below the last ones; those without a vector wait.

        It ends where the overlay is full: what is older than that is solved when it is touched.
        """
        if self._below <= 1 or not self.overlay.room:
            return False
        # What is one too many makes room itself; so not many more than fit are solved in vain.
        room = max(self.overlay.room, _SOLVED)
        page = log.entities_below(connection, self._below, limit=_ROWS)
        above, self._below = self._below, page[-1].key if page else 0
        for entity in self._without_vector(page):
            if self._waiting.count(Turn.OLDER) == room:
                # Some of these may have no edges: if there is room left then, it goes on here.
                self._below = above
                break
            if entity.name not in self.overlay:
                self._place(entity, walking=True)
            above = entity.key
        return self._below > 1

    def _look_back(self, connection: Connection) -> bool:
        """Look at the last rows of the log that the bundle has not seen and nobody followed.

        First those behind the watermark, then what people did behind the graph's span. Those whose
        edges they changed wait, the last ones first. It ends where the overlay is full.
        """
        if not self._changing or self.overlay.full:
            return False
        rows = self._unseen(connection)
        keys = self._changed(rows)
        entities = self._entities(connection, keys)
        for key in dict.fromkeys(_holds(entities, key) for key in keys):
            if key in entities and entities[key].name not in self.overlay:
                self._refresh(entities[key], Turn.CHANGED_BEFORE)
        return bool(rows)

    def _unseen(self, connection: Connection) -> list[Change]:
        """The next rows to look back at; none at the end."""
        if self._before:
            rows = log.changes_before(connection, self._before, after=self.watermark, limit=_ROWS)
            self._before = rows[-1].seq if rows else 0
            if rows:
                return rows
        if self._earlier is None:
            return []
        rows = log.changes_later(
            connection, self._spanned, than=self.graph_end, before=self._earlier, limit=_ROWS
        )
        self._earlier = (rows[-1].event_time, rows[-1].seq) if rows else None
        return rows

    def _without_vector(self, page: Sequence[Entity]) -> list[Entity]:
        """Those of some entities that the bundle does not hold, or for nothing; in their order."""
        rows: dict[EntityId, int] = {}
        for type_ in dict.fromkeys(entity.type for entity in page):
            some = [entity for entity in page if entity.type == type_]
            found = self.solver.bundle.rows(type_, [entity.id for entity in some])
            rows.update(zip((entity.name for entity in some), found.tolist(), strict=True))
        return [e for e in page if rows[e.name] < 0 or e.key in self._opted_out]


def _ends_of(edges: Iterable[FoldEdge], relations: Collection[str]) -> tuple[int, ...]:
    """The keys of the other ends of some relations' edges."""
    return tuple(edge.key for edge in edges if edge.relation in relations)


def _holds(entities: dict[int, Entity], key: int) -> int:
    """The key that stands for one now."""
    entity = entities.get(key)
    return entity.merged_into or key if entity else key
