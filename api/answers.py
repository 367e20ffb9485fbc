"""Answering questions with the live trio: where somebody is, and who would click what.

Takes entity ids, gives vectors and scores; a whole answer uses one trio. Who is near is in
`api/asking.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from api.errors import Invalid
from api.live import Following, Live, Trio
from api.opening import open_database
from api.overlay import Folded
from api.questions import Located
from api.settings import Settings
from graphsvc import graph, tail, versions
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Connection, Database
from graphsvc.errors import EntityRetired
from graphsvc.folding import FoldEdge, fold_edges
from graphsvc.graph import EntityRows
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from kge.bundle import ALL
from ranking.bundle import EntityStates, alike


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A candidate, the probability that it is ordered by, and those of all heads.

    known: training saw the candidate. cold: it has a vector folded in from `edges` edges.
    """

    id: str
    score: float
    known: bool
    #: ctr and cvr, as far as the ranker answers them
    probabilities: Mapping[str, float]
    cold: bool = False
    edges: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A candidate that gets no score: it is retired, or merged into another one."""

    id: str
    reason: Literal["retired", "merged"]
    merged_into: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Candidates, best first."""

    head: Located
    items: list[Scored]
    left_out: list[LeftOut]
    #: What `items` are ordered by, and the place that their probabilities are for; None where the
    #: ranker does not mind.
    order: str
    position: int | None


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
    ) -> Scores:
        """The probabilities of each candidate, best first by what is asked for.

        `position`: the place in what is shown that they are for, instead of the ranker's. Raises
        `HeadMissing`.
        """
        ranker = trio.ranker
        order = ranker.check_order(order)
        place = ranker.served_position if position is None else position
        if head.type != ranker.head_type:
            raise Invalid(f"head.type should be {ranker.head_type!r}, received {head.type!r}")
        with self.database.reading() as connection:
            located = self.locate(trio, connection, head, scoring=True)
            head_rows = self._rows(
                connection, located.entity.type, [located.entity.id], ranker.head_attributes
            )
            rows = self._rows(connection, ranker.tail_type, candidates, ranker.tail_attributes)
        kept, left_out = _sort_out(candidates, rows)
        own = located.vector[None, :]
        heads = self._states(
            [located.entity.id], head_rows, vectors=own, known=np.ones(1, dtype=bool)
        )
        places, folded = self._candidates(trio, candidates, rows)
        known = (places >= 0) | np.array([f is not None for f in folded], dtype=bool)
        vectors = trio.bundle.vectors[np.where(places >= 0, places, 0)] * (places >= 0)[:, None]
        for n, one in enumerate(folded):
            if one is not None:
                vectors[n] = one.vector
        tails = self._states(candidates, rows, vectors=vectors, known=known).take(kept)
        scored = ranker.scored(heads, tails, alike(1, position=place, time=int(time())))
        values = scored.by(order)

        def item(row: int) -> Scored:
            n = int(kept[row])
            one = folded[n]
            return Scored(
                id=candidates[n],
                score=float(values[row]),
                known=bool(places[n] >= 0),
                probabilities={name: float(p[row]) for name, p in scored.probabilities.items()},
                cold=one is not None,
                edges=one.edges if one else 0,
            )

        return Scores(
            head=located,
            items=[item(row) for row in scored.best_first(order).tolist()],
            left_out=left_out,
            order=order,
            position=place if ranker.reads_position else None,
        )

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
        as one: what the ranker saw of cold heads in training. Raises `EntityRetired`.
        """
        named = tail.named(connection, entity)
        holds = named.entity if named else entity
        if named and named.retired:
            raise EntityRetired(f"{entity.type} {entity.id!r} is retired; restore it first")
        row = int(trio.bundle.rows(holds.type, [holds.id])[0])
        if row >= 0 and named and named.spoke:
            since = trio.tail.watermark
            if tail.opted_out_since(connection, since, keys=[named.key]):
                row = -1
        if row >= 0:
            if scoring:
                return Located(holds, trio.bundle.vectors[row], row, "learned", 0)
            return self.learned(trio, holds, row, facet)
        if holds.type not in trio.bundle.types:
            return _nowhere(trio, holds, facet)
        found = self._fold_edges(connection, named, scoring=scoring) if named else []
        folded = self._fold(trio, holds, found, scoring=scoring).within(facet)
        if folded is None:
            return _nowhere(trio, holds, facet)
        return Located(
            holds, folded.vector, -1, "cold" if folded.edges else "unknown", folded.edges
        )

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


def _sort_out(
    candidates: Sequence[str], rows: EntityRows
) -> tuple[NDArray[np.int64], list[LeftOut]]:
    """Places of the candidates that are scored, and the others with the reason."""
    kept, left_out = [], []
    for n, id_ in enumerate(candidates):
        into = rows.merged_into[n]
        if into is not None:
            left_out.append(LeftOut(id=id_, reason="merged", merged_into=into))
        elif rows.retired[n]:
            left_out.append(LeftOut(id=id_, reason="retired"))
        else:
            kept.append(n)
    return np.array(kept, dtype=np.int64), left_out


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
            overlay_entities=settings.overlay_entities, most_edges=settings.foldin_edges
        ),
    )
    live.refresh()
    return Answerer(database, schema, settings.foldin_edges), live.trio()
