"""What may be asked of neighbors, and what is answered: nouns without any work.

Takes nothing from outside; never looks anything up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.filters import Filter
from graphsvc.ids import EntityId
from kge.bundle import ALL

#: How a vector came about: learned in training, folded in from edges, or the prior of its type.
State = Literal["learned", "cold", "unknown"]

Direction = Literal["out", "in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Who is near an entity or a vector; with a relation, who completes (entity, relation, ?)."""

    entity: EntityId | None = None
    #: In the facet's space; instead of an entity.
    vector: NDArray[np.float32] | None = None
    #: With a relation, the type that a vector stands for.
    vector_type: str | None = None
    k: int = 10
    #: Of which types; by default the entity's own, or the relation's other end.
    types: tuple[str, ...] = ()
    facet: str = ALL
    relation: str | None = None
    #: Out: the entity is the head of the relation. By default as its type allows, rather out.
    direction: Direction | None = None
    filter: Filter | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Located:
    """Where an entity lies in the bundle's space, or in a facet's."""

    #: As it is called now: what was merged into another one has that one's id.
    entity: EntityId
    vector: NDArray[np.float32]
    #: Row in the bundle, -1 if training never saw it.
    row: int
    state: State
    #: Edges that it was folded in from: a cold one, or a learned one that changed since training.
    edges: int
    #: For scoring: nothing may be used that a ranker learned about this very id.
    nameless: bool = False


class Item(NamedTuple):
    """One that was found, and how far it is.

    distance: 1 - cosine, from 0 to 2; with a relation, how far from where the head looks. score:
    with a relation, the model's. cold: it has no learned vector. edges: that it was folded in from;
    of one that is not cold, it has changed since training.
    """

    type: str
    id: str
    distance: float
    score: float | None = None
    cold: bool = False
    edges: int = 0
    #: Its row in the bundle, -1 if it has none.
    row: int = -1


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a path, as it is walked: out, from head to tail."""

    relation: str
    direction: Direction
    to: EntityId


@dataclass(frozen=True, slots=True)
class Leaning:
    """An anchor that two vectors lean on, and by how much at least (share of the vector)."""

    anchor: EntityId
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one is near: what both vectors lean on, and how the present graph joins the two."""

    anchors: Sequence[Leaning]
    paths: Sequence[Sequence[Step]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What was found, nearest first (with a relation, best first)."""

    #: Where the entity is that was asked about; None for a vector.
    of: Located | None
    items: Sequence[Item]
    #: exact: all that may be found was compared; approximate: the index was asked.
    plan: Literal["exact", "approximate"]
    #: Share of the nearest that such a search finds, as it was measured when the index was built.
    recall: float
    #: One per item, where they were asked for.
    explanations: Sequence[Explanation] = field(default=())
