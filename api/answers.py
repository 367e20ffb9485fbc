"""Answering questions with the live trio: where somebody is, and who would click what.

Takes entity ids, gives vectors and scores; a whole answer uses one trio. Who is near is in
`api/asking.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.candidates import Described, woven
from api.errors import Invalid
from api.live import Following, Live, Trio
from api.lying import lying_at
from api.onsite import onsite_outcomes, onsite_states
from api.opening import open_database, open_store
from api.overlay import Folded
from api.placing import tiers_of
from api.questions import Located, State
from api.reasons import Reason, check_explained, reasons
from api.scoring import Scores, listed, sort_out
from api.settings import Settings
from graphsvc import graph, tail, versions
from graphsvc.db import Connection, Database
from graphsvc.errors import EntityRetired
from graphsvc.folding import NO_OUTCOMES, Outcomes, fold_edges, fold_outcomes
from graphsvc.graph import EntityRows
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from kge.bundle import ALL, Bundle
from ranking.bundle import Around, EntityStates, alike, mean_vectors

#: Edges that are read at once of candidates, of what they lead to.
_MOST_LED_TO = 50_000
#: Rows of the log that are looked through for who has changed since the answer before.
_MOST_TOUCHED = 1_000


@dataclass(frozen=True, slots=True)
class Answerer:
    """The graph as it is now, for answering beside a trio."""

    database: Database
    schema: Schema
    foldin_edges: int

    def score(
        self,
        trio: Trio,
        head: EntityId,
        candidates: Sequence[str],
        *,
        order: str | None = None,
        position: int | None = None,
        explain: bool = False,
    ) -> Scores:
        """The probabilities of each candidate, best first by what is asked for, explained if asked.

        `position`: the place in what is shown that they are for, instead of the ranker's. Raises
        `HeadMissing`, and `Invalid`, also where more are to be explained than may be.
        """
        ranker = trio.ranker
        order = ranker.check_order(order)
        place = ranker.served_position if position is None else position
        if head.type != ranker.head_type:
            raise Invalid(f"head.type should be {ranker.head_type!r}, received {head.type!r}")
        if explain:
            check_explained(len(candidates))
        # Before the moment of this answer: what others keep of a later one is not of it.
        kept_up_to = trio.candidates.seq
        with self.database.reading() as connection:
            located = self.locate(trio, connection, head, scoring=True)
            onsite, who = None, located.entity
            if explain:
                onsite = self._without_offsite(trio, connection, located)
            head_rows = self._rows(connection, who.type, [who.id], ranker.head_attributes)
            described = self._described(trio, connection, candidates, after=kept_up_to)
            states = self._tails(trio, connection, candidates) if explain else None
        kept, left_out = sort_out(candidates, described)
        lying = lying_at(trio, candidates, described.places, described.keys)
        tails = described.side.lying(lying.vectors, lying.known)
        heads = self._head(located, head_rows)
        shown = alike(1, position=place, time=int(time()))
        scored = ranker.scored_sides(
            ranker.encoder.side(0, heads), tails if not left_out else tails.take(kept), shown
        )
        why: Sequence[Reason | None] = [None] * len(kept)
        if onsite is not None and states is not None:
            without = self._head(onsite, head_rows)
            why = reasons(ranker, heads, without, states.take(kept), exposures=shown, order=order)
        return Scores(
            head=located,
            items=listed([candidates[n] for n in kept], scored, order, lying.take(kept), why),
            left_out=left_out,
            order=order,
            position=place if ranker.reads_position else None,
        )

    def _described(
        self, trio: Trio, connection: Connection, candidates: Sequence[str], *, after: int
    ) -> Described:
        """Candidates as the graph has them now; read are those of whom it is not known any more.

        `after`: the row that what is kept held up to before this moment began.
        """
        held, version = trio.candidates, self.schema.version
        touched = tail.touched(connection, after=after, most=_MOST_TOUCHED)
        kept, missing = held.take(candidates, touched, version)
        if kept is not None and not len(missing):
            return kept
        ids = list(dict.fromkeys(candidates[n] for n in missing))
        read = self._read(trio, connection, ids)
        held.put(ids, read, touched, version)
        number = {id_: n for n, id_ in enumerate(ids)}
        own = np.array([number[candidates[n]] for n in missing], dtype=np.int64)
        return read.take(own) if kept is None else woven(kept, read.take(own), missing)

    def _read(self, trio: Trio, connection: Connection, ids: Sequence[str]) -> Described:
        """The same, read from the graph."""
        ranker = trio.ranker
        rows = self._rows(connection, ranker.tail_type, ids, ranker.tail_attributes)
        nowhere = np.zeros((len(ids), trio.bundle.dim), dtype=np.float32)
        states = self._states(ids, rows, vectors=nowhere, known=np.zeros(len(ids), dtype=bool))
        around = self._around(trio, connection, rows)
        return Described(
            keys=rows.keys,
            retired=rows.retired,
            merged_into=rows.merged_into,
            places=trio.bundle.rows(ranker.tail_type, ids),
            side=ranker.encoder.side(1, replace(states, around=around)),
        )

    def _tails(self, trio: Trio, connection: Connection, candidates: Sequence[str]) -> EntityStates:
        """The states of all candidates, with the bundle's vectors or those folded in."""
        ranker = trio.ranker
        rows = self._rows(connection, ranker.tail_type, candidates, ranker.tail_attributes)
        places = trio.bundle.rows(ranker.tail_type, candidates)
        lying = lying_at(trio, candidates, places, rows.keys)
        states = self._states(candidates, rows, vectors=lying.vectors, known=lying.known)
        return replace(states, around=self._around(trio, connection, rows))

    def _head(self, located: Located, rows: EntityRows) -> EntityStates:
        """The state of who is asked about; of one who is without a name, what is known onsite."""
        states = self._states(
            [located.entity.id],
            rows,
            vectors=located.vector[None, :],
            known=np.ones(1, dtype=bool),
        )
        return onsite_states(self.schema, states) if located.nameless else states

    def locate(
        self,
        trio: Trio,
        connection: Connection,
        entity: EntityId,
        *,
        scoring: bool = False,
        facet: str = ALL,
    ) -> Located:
        """A learned vector; else one folded in from present edges; else the prior of the type.

        Who has changed since training is where the overlay has put them, except for scoring: the
        ranker knows them by their trained vector (decision 26). Who has opted out since training
        has no learned vector any more: it saw offsite edges. For scoring only outcomes count, each
        as one: what the ranker saw of cold heads in training; who has opted out is then without a
        name, too. Raises `EntityRetired`.
        """
        named = tail.named(connection, entity)
        holds = named.entity if named else entity
        if named and named.retired:
            raise EntityRetired(f"{entity.type} {entity.id!r} is retired; restore it first")
        if scoring:
            return self._to_score(trio, connection, named, holds)
        row = int(trio.bundle.rows(holds.type, [holds.id])[0])
        if row >= 0 and not _refused(connection, named, since=trio.tail.watermark):
            return self.learned(trio, holds, row, facet)
        if holds.type not in trio.bundle.types:
            return _nowhere(trio, holds, facet)
        folded = self._fold(trio, connection, named, holds).within(facet)
        if folded is None:
            return _nowhere(trio, holds, facet)
        return Located(
            holds, folded.vector, -1, "cold" if folded.edges else "unknown", folded.edges
        )

    def _to_score(
        self, trio: Trio, connection: Connection, named: tail.Named | None, holds: EntityId
    ) -> Located:
        """Where a ranker finds somebody, and whether it may use what it learned about them.

        A refreshed bundle may know of an opt-out that its ranker does not know of.
        """
        row, watermark = int(trio.bundle.rows(holds.type, [holds.id])[0]), trio.tail.watermark
        since = min(watermark, trio.ranker_watermark)
        refused = _refused(connection, named, since=since)
        if row >= 0 and refused <= watermark:
            vector = trio.bundle.vectors[row]
            return Located(holds, vector, row, "learned", 0, nameless=bool(refused))
        return self._by_outcomes(trio, connection, named, holds, onsite=bool(refused))

    def _by_outcomes(
        self,
        trio: Trio,
        connection: Connection,
        named: tail.Named | None,
        holds: EntityId,
        *,
        onsite: bool,
    ) -> Located:
        """Where a ranker finds somebody without the vector that training gave them, if any.

        `onsite`: somebody who has opted out, or as if they had.
        """
        if holds.type not in trio.bundle.types:
            return replace(_nowhere(trio, holds, ALL), nameless=onsite)
        found = self._outcomes(connection, holds.type, named.key) if named else NO_OUTCOMES
        if onsite:
            found = onsite_outcomes(self.schema, found)
        folded = self._fold_outcomes(trio, holds, found)
        state: State = "cold" if folded.edges else "unknown"
        return Located(holds, folded.vector, -1, state, folded.edges, nameless=onsite)

    def _without_offsite(self, trio: Trio, connection: Connection, located: Located) -> Located:
        """Where they would be if they opted out; who has done so is there already.

        Nothing offsite is left of them, so what training has made of the rest since may be used.
        """
        named = tail.named(connection, located.entity)
        if named and named.out:
            return located
        return self._by_outcomes(trio, connection, named, located.entity, onsite=True)

    def learned(self, trio: Trio, entity: EntityId, row: int, facet: str = ALL) -> Located:
        """Where a trained entity is for searches: it may have changed since.

        Nowhere in a facet of whose relations it has no edge, or has none any more.
        """
        now = trio.overlay.get(entity)
        moved = now.within(facet) if now else None
        if moved is not None:
            return Located(entity, moved.vector, row, "learned", moved.edges)
        held = trio.bundle.facet(facet)
        if facet != ALL and (now is not None or not held.degree[row]):
            return _nowhere(trio, entity, facet)
        return Located(entity, held.vectors[row], row, "learned", 0)

    def _fold(
        self, trio: Trio, connection: Connection, named: tail.Named | None, holds: EntityId
    ) -> Folded:
        """Where somebody's present edges put them."""
        if named is None:
            return trio.solver.solve(holds.type, [[]])[0]
        found = fold_edges(
            connection,
            self.schema,
            type_=named.entity.type,
            key=named.key,
            as_of=int(time()),
            limit=self.foldin_edges,
        )
        # Weights decay by the second; what identifies the edges is who they lead to, how often.
        seen = tuple((e.relation, e.other, e.inverse, e.times) for e in found)
        return self._once(trio, holds, seen, lambda: trio.solver.solve(holds.type, [found])[0])

    def _outcomes(self, connection: Connection, type_: str, key: int) -> Outcomes:
        now, limit = int(time()), self.foldin_edges
        return fold_outcomes(connection, self.schema, type_=type_, key=key, as_of=now, limit=limit)

    def _fold_outcomes(self, trio: Trio, holds: EntityId, found: Outcomes) -> Folded:
        """Where somebody's outcomes put them for a ranker."""
        outcome, solver = self.schema.label.outcome, trio.solver
        return self._once(
            trio,
            holds,
            (outcome, *found),
            lambda: solver.solve_outcomes(holds.type, outcome, [found])[0],
        )

    def _once(
        self, trio: Trio, holds: EntityId, seen: tuple[Any, ...], solve: Callable[[], Folded]
    ) -> Folded:
        """A vector, or the one that the same edges gave before."""
        stamp = hash(seen)
        remembered = trio.heads.get(holds, stamp)
        if remembered:
            return remembered
        folded = solve()
        trio.heads.put(holds, stamp, folded)
        return folded

    def _around(self, trio: Trio, connection: Connection, rows: EntityRows) -> dict[str, Around]:
        """Where what candidates lead to lies, by type, as far as the ranker reads it."""
        leads = trio.ranker.leads(trio.bundle)
        keys, place = np.unique(rows.keys, return_inverse=True)
        found = _led_to(trio.bundle, connection, keys, leads)
        return {type_: around.take(place) for type_, around in found.items()}

    def _rows(
        self, connection: Connection, type_: str, ids: Sequence[str], attributes: Sequence[str]
    ) -> EntityRows:
        """Attributes and counters as of now, in the order of `ids`."""
        events = (self.schema.label.exposure, self.schema.label.outcome)
        return graph.states(connection, type_, ids, attributes=attributes, events=events)

    def _states(
        self,
        ids: Sequence[str],
        rows: EntityRows,
        *,
        vectors: NDArray[np.float32],
        known: NDArray[np.bool_],
    ) -> EntityStates:
        label = self.schema.label
        return EntityStates(
            ids=np.array(ids, dtype=object),
            vectors=vectors,
            known=known,
            attributes=rows.attributes,
            exposures=rows.counters[label.exposure],
            outcomes=rows.counters[label.outcome],
        )


def _led_to(
    bundle: Bundle, connection: Connection, keys: NDArray[np.int64], leads: Mapping[str, str]
) -> dict[str, Around]:
    """Where what some entities lead to lies, by type; `leads`: relation -> type.

    Who leads to more than may be read together is read by itself, so that nobody's depends on
    whom they are asked with; of one that leads to more than that, the first ones count.
    """
    edges = graph.led_to(connection, keys.tolist(), list(leads), most=_MOST_LED_TO + 1)
    if len(edges) > _MOST_LED_TO and len(keys) > 1:
        halves = np.array_split(keys, 2)
        one, other = (_led_to(bundle, connection, half, leads) for half in halves)
        return {type_: one[type_].joined(other[type_]) for type_ in one}
    found: dict[str, Around] = {}
    for type_ in dict.fromkeys(leads.values()):
        own = [(key, end.id) for key, end in edges[:_MOST_LED_TO] if end.type == type_]
        owner = np.searchsorted(keys, np.array([key for key, _ in own], dtype=np.int64))
        others = bundle.rows(type_, [id_ for _, id_ in own])
        found[type_] = mean_vectors(bundle, owner, others, len(keys))
    return found


def _nowhere(trio: Trio, entity: EntityId, facet: str) -> Located:
    dim = trio.bundle.facet(facet).vectors.shape[1]
    return Located(entity, np.zeros(dim, dtype=np.float32), -1, "unknown", 0)


def _refused(connection: Connection, named: tail.Named | None, *, since: int) -> int:
    """The row of the log behind `since` in which somebody last opted out; 0 if in none."""
    if named is None or not named.spoke:
        return 0
    return tail.opted_out_since(connection, since, keys=[named.key]).get(named.key, 0)


def open_answerer(settings: Settings) -> tuple[Answerer, Trio]:
    """An answerer and the trio that is live now, for the command line."""
    return answerer_of(settings, open_database())


def answerer_of(settings: Settings, database: Database) -> tuple[Answerer, Trio]:
    """The same on a database that is open, whatever the environment says."""
    with database.reading() as connection:
        schema = versions.current(connection)
    live = Live(
        database=database,
        store=open_store(settings, database),
        schema=lambda: schema,
        following=Following(
            overlay_entities=settings.overlay_entities,
            most_edges=settings.foldin_edges,
            tiers=tiers_of(settings.tiers),
            exported=settings.forward == "onnx",
        ),
    )
    live.refresh()
    return Answerer(database, schema, settings.foldin_edges), live.trio()
