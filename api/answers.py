"""Answering questions with the live trio: where somebody is, and who would click what.

Takes entity ids, gives vectors and scores; a whole answer uses one trio. Who is near is in
`api/asking.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import time

import numpy as np
from numpy.typing import NDArray

from api.errors import Invalid
from api.led_to import Lying
from api.live import Following, Live, Trio
from api.onsite import onsite_edges, onsite_states
from api.opening import open_database
from api.overlay import Folded
from api.placing import tiers_of
from api.questions import Located, State
from api.reasons import Reason, check_explained, reasons
from api.scoring import Scored, Scores, sort_out
from api.settings import Settings
from graphsvc import graph, tail, versions
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Connection, Database
from graphsvc.errors import EntityRetired
from graphsvc.folding import FoldEdge, fold_edges
from graphsvc.graph import EntityRows
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from kge.bundle import ALL, Bundle
from ranking.bundle import Around, EntityStates, alike, mean_vectors

#: Edges that are read of all candidates of a question, of what they lead to: 50 of each of 1000.
_MOST_LED_TO = 50_000


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
        with self.database.reading() as connection:
            located = self.locate(trio, connection, head, scoring=True)
            onsite, who = None, located.entity
            if explain:
                onsite = self._without_offsite(trio, connection, located)
            head_rows = self._rows(connection, who.type, [who.id], ranker.head_attributes)
            rows = self._rows(connection, ranker.tail_type, candidates, ranker.tail_attributes)
            around = self._around(trio, connection, rows)
        kept, left_out = sort_out(candidates, rows)
        places, folded = self._candidates(trio, candidates, rows)
        whole = self._tails(trio, candidates, rows, places, folded)
        tails = replace(whole, around=around).take(kept)
        heads = self._head(located, head_rows)
        shown = alike(1, position=place, time=int(time()))
        scored = ranker.scored(heads, tails, shown)
        why: Sequence[Reason | None] = [None] * len(kept)
        if onsite is not None:
            without = self._head(onsite, head_rows)
            why = reasons(ranker, heads, without, tails, exposures=shown, order=order)
        values = scored.by(order)
        items = []
        for row in scored.best_first(order).tolist():
            n = int(kept[row])
            one = folded[n]
            items.append(
                Scored(
                    id=candidates[n],
                    score=float(values[row]),
                    known=bool(places[n] >= 0),
                    probabilities={name: float(p[row]) for name, p in scored.probabilities.items()},
                    cold=one is not None,
                    edges=one.edges if one else 0,
                    why=why[row],
                )
            )
        told = place if ranker.reads_position else None
        return Scores(head=located, items=items, left_out=left_out, order=order, position=told)

    def _tails(
        self,
        trio: Trio,
        candidates: Sequence[str],
        rows: EntityRows,
        places: NDArray[np.int32],
        folded: Sequence[Folded | None],
    ) -> EntityStates:
        """The states of all candidates, with the bundle's vectors or those folded in."""
        known = (places >= 0) | np.array([f is not None for f in folded], dtype=bool)
        vectors = trio.bundle.vectors[np.where(places >= 0, places, 0)] * (places >= 0)[:, None]
        for n, one in enumerate(folded):
            if one is not None:
                vectors[n] = one.vector
        return self._states(candidates, rows, vectors=vectors, known=known)

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
        found = self._fold_edges(connection, named, scoring=False) if named else []
        folded = self._fold(trio, holds, found, scoring=False).within(facet)
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
        found = self._fold_edges(connection, named, scoring=True) if named else []
        if onsite:
            found = onsite_edges(self.schema, found)
        folded = self._fold(trio, holds, found, scoring=True)
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

    def _fold_edges(
        self, connection: Connection, named: tail.Named, *, scoring: bool
    ) -> list[FoldEdge]:
        return fold_edges(
            connection,
            self.schema,
            type_=named.entity.type,
            key=named.key,
            as_of=int(time()),
            limit=self.foldin_edges,
            outward=self.schema.label.outcome if scoring else None,
        )

    def _fold(
        self, trio: Trio, entity: EntityId, found: Sequence[FoldEdge], *, scoring: bool
    ) -> Folded:
        """Solve for a head's vector, or take the one that the same edges gave before."""
        # Weights decay by the second; what identifies the edges is who they lead to, how often.
        seen = tuple((e.relation, e.other, e.inverse, e.count) for e in found)
        stamp = hash((scoring, seen))
        remembered = trio.heads.get(entity, stamp)
        if remembered:
            return remembered
        folded = trio.solver.solve(entity.type, [found], each_counts=scoring)[0]
        trio.heads.put(entity, stamp, folded)
        return folded

    def _candidates(
        self, trio: Trio, ids: Sequence[str], rows: EntityRows
    ) -> tuple[NDArray[np.int32], list[Folded | None]]:
        """Rows of the bundle, -1 where it has none that may be used, and what the overlay has."""
        type_ = trio.ranker.tail_type
        places = trio.bundle.rows(type_, ids)
        hidden = trio.overlay.hidden(type_)
        if hidden is not None:
            inside = np.flatnonzero(places >= 0)
            start = trio.bundle.types[type_].start
            places[inside[hidden[places[inside] - start]]] = -1
        folded: list[Folded | None] = [None] * len(ids)
        missing = []
        for n in np.flatnonzero(places < 0).tolist():
            folded[n] = trio.overlay.get(EntityId(type_, ids[n]))
            if folded[n] is None and rows.found[n]:
                missing.append(int(rows.keys[n]))
        trio.tail.want(missing)
        return places, folded

    def _around(self, trio: Trio, connection: Connection, rows: EntityRows) -> dict[str, Around]:
        """Where what candidates lead to lies, by type, as far as the ranker reads it."""
        leads = trio.ranker.leads(trio.bundle)
        types = tuple(dict.fromkeys(leads.values()))
        if not types:
            return {}
        keys = rows.keys.tolist()
        kept, version = trio.tail.led_to.get(keys)
        missing = sorted({key for key in keys if key > 0 and key not in kept})
        if missing:
            read = _lying(trio.bundle, connection, missing, leads)
            trio.tail.led_to.put(read, version)
            kept |= read
        blank = np.zeros((len(types), trio.bundle.dim), np.float32)
        nothing = Lying(blank, np.zeros(len(types), bool))
        found = [kept.get(key, nothing) for key in keys]
        vectors = np.stack([one.vectors for one in found])
        known = np.stack([one.known for one in found])
        return {type_: Around(vectors[:, n], known[:, n]) for n, type_ in enumerate(types)}

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
    database = open_database()
    with database.reading() as connection:
        schema = versions.current(connection)
    live = Live(
        database=database,
        store=ArtifactStore(settings.artifacts_dir),
        schema=lambda: schema,
        following=Following(
            overlay_entities=settings.overlay_entities,
            most_edges=settings.foldin_edges,
            tiers=tiers_of(settings.tiers),
        ),
    )
    live.refresh()
    return Answerer(database, schema, settings.foldin_edges), live.trio()


def _lying(
    bundle: Bundle, connection: Connection, keys: Sequence[int], leads: Mapping[str, str]
) -> dict[int, Lying]:
    """Where what some entities lead to lies, by the types of `leads`, read from the graph."""
    edges = graph.led_to(connection, keys, list(leads), most=_MOST_LED_TO)
    places, found = np.array(keys, dtype=np.int64), []
    for type_ in dict.fromkeys(leads.values()):
        own = [(key, other.id) for key, other in edges if other.type == type_]
        owner = np.searchsorted(places, np.array([key for key, _ in own], dtype=np.int64))
        others = bundle.rows(type_, [id_ for _, id_ in own])
        found.append(mean_vectors(bundle, owner, others, len(keys)))
    vectors = np.stack([around.vectors for around in found], axis=1)
    known = np.stack([around.known for around in found], axis=1)
    return {key: Lying(vectors[n].copy(), known[n].copy()) for n, key in enumerate(keys)}
