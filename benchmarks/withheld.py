"""A graph from which entities are withheld wholly, and what each of them is given back.

Takes triples of any data set, gives graphs and edges; never trains and never ranks.

Rows are the entities that stay, in order of their names, then the withheld ones. An edge between
two withheld entities is in no graph, is not given and is not asked for: it only filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.foldin import FoldInEdges
from kge.triples import Graph

#: The one type of entities of a data set that names none.
TYPE = "entity"


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """N entities of which the last C are withheld; E triples of rows (head, relation, tail)."""

    ids: NDArray[np.object_]
    relations: Sequence[str]
    #: how many stay: rows 0 .. stay-1
    stay: int
    #: [E, 3] every triple there is, to filter by
    known: NDArray[np.int64]
    #: [_, 3] those of entities that stay
    kept: NDArray[np.int64]
    #: [_, 3] those of one withheld entity, in an order of chance
    cold: NDArray[np.int64]
    #: [_] which withheld entity, 0 .. C-1, and its place among those of the entity
    owner: NDArray[np.int64]
    place: NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.ids) - self.stay

    def given(self, edges: int) -> NDArray[np.int64]:
        """The first `edges` triples of each withheld entity."""
        return self.cold[self.place < edges]

    def asked(self, from_place: int, per_entity: int, owners: slice) -> NDArray[np.int64]:
        """Further triples to rank of some of the withheld: `per_entity` each, at most."""
        inside = (self.place >= from_place) & (self.place < from_place + per_entity)
        chosen = np.arange(self.count)[owners]
        return self.cold[inside & np.isin(self.owner, chosen)]

    def graph(self, edges: int | None) -> Graph:
        """To train on: without the withheld (None), or with so many edges of each."""
        if edges is None:
            return graph_of(self.kept, self.ids[: self.stay], self.relations)
        return graph_of(self.told(edges), self.ids, self.relations)

    def told(self, edges: int) -> NDArray[np.int64]:
        """All triples that somebody knows who was given so many edges of each."""
        return np.concatenate([self.kept, self.given(edges)])

    def columns(self, edges: int) -> FoldInEdges:
        """The given edges as fold-in takes them."""
        given, owner = self.given(edges), self.owner[self.place < edges]
        inverse = given[:, 2] >= self.stay
        return FoldInEdges(
            owner=owner.astype(np.int32),
            relation=given[:, 1].astype(np.int16),
            other=np.where(inverse, given[:, 0], given[:, 2]).astype(np.int32),
            inverse=inverse,
            weight=np.ones(len(given), np.float32),
        )


def numbered(names: NDArray[np.object_], ids: NDArray[np.object_]) -> NDArray[np.int64]:
    """Position of each name in `ids`."""
    place = {name: n for n, name in enumerate(ids)}
    return np.fromiter((place[name] for name in names), np.int64, len(names))


def withhold(triples: NDArray[np.object_], *, share: float, enough: int, seed: int) -> Withheld:
    """Withhold a share of the entities by chance among those with `enough` edges or more."""
    draw = np.random.default_rng(seed)
    names = np.array(sorted({*triples[:, 0], *triples[:, 2]}), dtype=object)
    relations = sorted(set(triples[:, 1]))
    rows = np.stack(
        [
            numbered(triples[:, 0], names),
            numbered(triples[:, 1], np.array(relations, dtype=object)),
            numbered(triples[:, 2], names),
        ],
        axis=1,
    )
    # A loop is no edge to somebody else.
    others = rows[rows[:, 0] != rows[:, 2]]
    degree = np.bincount(others[:, [0, 2]].reshape(-1), minlength=len(names))
    rich = np.flatnonzero(degree >= enough)
    chosen = draw.permutation(rich)[: round(share * len(names))]
    cold = np.zeros(len(names), dtype=bool)
    cold[chosen] = True
    order = np.concatenate([np.flatnonzero(~cold), chosen])
    to = np.empty(len(names), np.int64)
    to[order] = np.arange(len(names))
    rows[:, 0], rows[:, 2] = to[rows[:, 0]], to[rows[:, 2]]
    stay = len(names) - len(chosen)
    ends = (rows[:, [0, 2]] >= stay).sum(axis=1)
    single = draw.permutation(rows[ends == 1])
    owner = np.where(single[:, 0] >= stay, single[:, 0], single[:, 2]) - stay
    first = np.argsort(owner, kind="stable")
    single, owner = single[first], owner[first]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return Withheld(
        ids=names[order],
        relations=relations,
        stay=stay,
        known=rows,
        kept=rows[ends == 0],
        cold=single,
        owner=owner,
        place=place,
    )


def graph_of(
    triples: NDArray[np.int64], ids: NDArray[np.object_], relations: Sequence[str]
) -> Graph:
    """A training graph of one type, every edge of weight 1."""
    return Graph(
        head=triples[:, 0],
        relation=triples[:, 1],
        tail=triples[:, 2],
        weight=np.ones(len(triples), dtype=np.float32),
        types=[TypeRange(TYPE, 0, len(ids))],
        relations=[
            RelationInfo(name=name, head=TYPE, tail=TYPE, source="structure") for name in relations
        ],
        ids=ids,
        snapshot_rows=np.arange(len(ids), dtype=np.int32),
    )
