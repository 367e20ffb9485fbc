"""Answering questions with the live trio: who is near, and who would click what.

Takes entity ids, gives neighbors and scores with the digests of the trio that made them. Routes
and the command line call the same functions; a whole answer uses one trio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from api.errors import Invalid
from api.live import Live, Trio
from api.opening import open_database
from api.overlay import Folded
from api.settings import Settings
from graphsvc import graph
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Connection, Database
from graphsvc.errors import EntityMissing
from graphsvc.ids import EntityId
from graphsvc.schema import Schema, load_schema
from kge.foldin import FoldInEdges
from ranking.bundle import EntityStates

#: How a vector came about: learned in training, folded in from edges, or the prior of its type.
State = Literal["learned", "cold", "unknown"]


@dataclass(frozen=True, slots=True)
class Located:
    """Where an entity lies in the bundle's space."""

    vector: NDArray[np.float32]
    #: Row in the bundle, -1 if training never saw it.
    row: int
    state: State
    #: Edges that a cold entity was folded in from.
    edges: int


@dataclass(frozen=True, slots=True)
class Neighbor:
    """An entity and its cosine distance, from 0 (same direction) to 2."""

    entity: EntityId
    distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbors:
    """The nearest entities, nearest first."""

    of: Located
    items: list[Neighbor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A candidate and the probability of the outcome. `known`: training saw the candidate."""

    id: str
    score: float
    known: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Candidates, best first."""

    head: Located
    items: list[Scored]


@dataclass(frozen=True, slots=True)
class Answerer:
    """The graph as it is now, for answering beside a trio."""

    database: Database
    schema: Schema
    foldin_edges: int

    def neighbors(self, trio: Trio, entity: EntityId, *, k: int, type_: str | None) -> Neighbors:
        """The `k` nearest entities of one type (by default its own), itself left out."""
        wanted = type_ or entity.type
        self._check_type(entity.type)
        if wanted not in trio.bundle.types:
            raise Invalid(
                f"type should be one of {', '.join(sorted(trio.bundle.types))}, received {wanted!r}"
            )
        with self.database.reading() as connection:
            located = self.locate(trio, connection, entity)
        if located.state == "unknown":
            raise EntityMissing(
                f"{entity.type} {entity.id!r} has no edge to anything that training knows, "
                "so nothing is near it"
            )
        distances, rows = trio.index.search(wanted, located.vector[None, :], k + 1)
        items = [
            Neighbor(EntityId(wanted, str(trio.bundle.ids[row])), float(distance))
            for distance, row in zip(distances[0], rows[0], strict=True)
            if row >= 0 and row != located.row
        ]
        return Neighbors(of=located, items=items[:k])

    def score(self, trio: Trio, head: EntityId, candidates: Sequence[str]) -> Scores:
        """The probability of the outcome for each candidate, best first."""
        ranker = trio.ranker
        if head.type != ranker.head_type:
            raise Invalid(f"head.type should be {ranker.head_type!r}, received {head.type!r}")
        with self.database.reading() as connection:
            located = self.locate(trio, connection, head, scoring=True)
            heads = self._states(
                trio,
                connection,
                head.type,
                [head.id],
                attributes=ranker.head_attributes,
                vectors=located.vector[None, :],
            )
            tails = self._states(
                trio, connection, ranker.tail_type, candidates, attributes=ranker.tail_attributes
            )
        probabilities = ranker.score(heads, tails)
        order = np.argsort(-probabilities, kind="stable")
        return Scores(
            head=located,
            items=[
                Scored(id=candidates[i], score=float(probabilities[i]), known=bool(tails.known[i]))
                for i in order
            ],
        )

    def locate(
        self, trio: Trio, connection: Connection, entity: EntityId, *, scoring: bool = False
    ) -> Located:
        """A learned vector; else one folded in from present edges; else the prior of the type.

        For scoring only outcomes count, each as one: what the ranker saw of cold heads in training.
        """
        row = int(trio.bundle.rows(entity.type, [entity.id])[0])
        if row >= 0:
            return Located(trio.bundle.vectors[row], row, "learned", 0)
        found = graph.fold_edges(
            connection, self.schema, entity, as_of=int(time()), limit=self.foldin_edges
        )
        if scoring:
            outcome = self.schema.label.outcome
            found = [edge for edge in found if edge.relation == outcome and not edge.inverse]
        folded = self._fold(trio, entity, found, each_counts=scoring)
        return Located(folded.vector, -1, "cold" if folded.edges else "unknown", folded.edges)

    def _fold(
        self,
        trio: Trio,
        entity: EntityId,
        found: Sequence[graph.FoldEdge],
        *,
        each_counts: bool,
    ) -> Folded:
        """Solve for a new entity's vector, or take it from the overlay.

        `each_counts`: every event is an edge of weight 1; else an edge has its decayed weight.
        """
        # Weights decay by the second; what identifies the edges is who they lead to, how often.
        seen = tuple((e.relation, e.other, e.inverse, e.count) for e in found)
        stamp = hash((each_counts, seen))
        remembered = trio.overlay.get(entity, stamp)
        if remembered:
            return remembered
        codes = {relation.name: code for code, relation in enumerate(trio.bundle.relations)}
        known = [e for e in found if e.relation in codes]
        others = np.full(len(known), -1, dtype=np.int32)
        for type_ in {edge.other.type for edge in known}:
            places = [n for n, edge in enumerate(known) if edge.other.type == type_]
            others[places] = trio.bundle.rows(type_, [known[n].other.id for n in places])
        times = [edge.count if each_counts else 1 for edge in known]
        weights = [1.0 if each_counts else edge.weight for edge in known]
        usable = np.repeat(np.flatnonzero(others >= 0), np.array(times, dtype=int)[others >= 0])
        edges = FoldInEdges(
            owner=np.zeros(len(usable), dtype=np.int32),
            relation=np.array([codes[e.relation] for e in known], dtype=np.int16)[usable],
            other=others[usable],
            inverse=np.array([e.inverse for e in known], dtype=bool)[usable],
            weight=np.array(weights, dtype=np.float32)[usable],
        )
        vector = trio.foldin.solve(entity.type, 1, edges)[0]
        folded = Folded(vector, stamp, int((others >= 0).sum()))
        trio.overlay.put(entity, folded)
        return folded

    def _states(
        self,
        trio: Trio,
        connection: Connection,
        type_: str,
        ids: Sequence[str],
        *,
        attributes: Sequence[str],
        vectors: NDArray[np.float32] | None = None,
    ) -> EntityStates:
        """Attributes and counters as of now, and vectors, in the order of `ids`."""
        label = self.schema.label
        rows = graph.states(
            connection,
            type_,
            ids,
            attributes=attributes,
            events=(label.exposure, label.outcome),
        )
        if vectors is None:
            places = trio.bundle.rows(type_, ids)
            known = places >= 0
            vectors = trio.bundle.vectors[np.where(known, places, 0)] * known[:, None]
        else:
            known = np.ones(len(ids), dtype=bool)
        return EntityStates(
            ids=np.array(ids, dtype=object),
            vectors=vectors,
            known=known,
            attributes=rows.attributes,
            exposures=rows.counters[label.exposure],
            outcomes=rows.counters[label.outcome],
        )

    def _check_type(self, type_: str) -> None:
        if type_ not in self.schema.entities:
            raise Invalid(
                f"type should be one of {', '.join(self.schema.entities)}, received {type_!r}"
            )


def open_answerer(settings: Settings) -> tuple[Answerer, Trio]:
    """An answerer and the trio that is live now, for the command line."""
    database = open_database()
    live = Live(
        database=database,
        store=ArtifactStore(settings.artifacts_dir),
        overlay_entities=settings.overlay_entities,
    )
    live.refresh()
    schema = load_schema(settings.schema_name)
    return Answerer(database, schema, settings.foldin_edges), live.trio()
