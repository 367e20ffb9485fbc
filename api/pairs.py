"""Many pairs of heads and candidates, each answered as `POST /v1/score` would.

Takes columns of ids, gives columns of probabilities; looks an entity up once, however many pairs
name it, and never writes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.answers import Answerer
from api.live import Trio
from api.lying import lying_at
from api.onsite import onsite_states
from api.questions import Located
from api.scoring import sort_out
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.errors import EntityRetired
from graphsvc.graph import EntityRows
from graphsvc.ids import EntityId
from ranking.bundle import Around, EntityStates, alike

#: Entities that are looked up at once: as many candidates as a request may name, whose edges to
#: what they lead to are bounded together.
_PAGE = 1000
#: Entities of a side that are remembered; with more, all are looked up anew. Some 0.3 GiB.
_MOST_HELD = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PairScores:
    """What is said of n pairs, in their order."""

    #: ctr and cvr, as far as the ranker answers them: float64 [n], NaN where there is no answer.
    probabilities: Mapping[str, NDArray[np.float64]]
    #: Why there is none; None where there is one.
    reasons: list[str | None]


class LookedUp(NamedTuple):
    """Entities of one side, and why a pair with them has no score, if so."""

    states: EntityStates
    reasons: list[str | None]


class Lookup(Answerer):
    """Entities of either side as a score request finds them, however many at once."""

    def heads(self, trio: Trio, ids: Sequence[str]) -> LookedUp:
        """Those who are asked about."""
        ranker = trio.ranker
        kind, names = ranker.head_type, ranker.head_attributes
        with self.database.reading() as connection:
            rows = self._rows(connection, kind, ids, names)
            found = self._located(trio, connection, ids, rows)
            own = [
                id_ if one is None else one.entity.id for id_, one in zip(ids, found, strict=True)
            ]
            if own != list(ids):
                rows = self._rows(connection, kind, own, names)
        nowhere = np.zeros(trio.bundle.dim, dtype=np.float32)
        vectors = np.stack([nowhere if one is None else one.vector for one in found])
        states = self._states(own, rows, vectors=vectors, known=np.ones(len(own), dtype=bool))
        hidden = np.array([one is not None and one.nameless for one in found], dtype=bool)
        if hidden.any():
            onsite = onsite_states(self.schema, states)
            states = replace(
                states,
                nameless=hidden,
                exposures=np.where(hidden, onsite.exposures, states.exposures),
                outcomes=np.where(hidden, onsite.outcomes, states.outcomes),
            )
        return LookedUp(states, [None if one else "head retired" for one in found])

    def candidates(self, trio: Trio, ids: Sequence[str]) -> LookedUp:
        """Those that heads may act on; one that has no vector yet is solved for first."""
        found, missing = self._looked_up(trio, ids)
        if missing:
            trio.tail.step()
            while not trio.tail.calm:
                trio.tail.step()
            found, _ = self._looked_up(trio, ids)
        return found

    def _looked_up(self, trio: Trio, ids: Sequence[str]) -> tuple[LookedUp, bool]:
        """Candidates, and whether one that is there has no vector."""
        ranker = trio.ranker
        with self.database.reading() as connection:
            rows = self._rows(connection, ranker.tail_type, ids, ranker.tail_attributes)
            around = self._around(trio, connection, rows)
        places = trio.bundle.rows(ranker.tail_type, ids)
        lying = lying_at(trio, ids, places, rows.keys)
        states = self._states(ids, rows, vectors=lying.vectors, known=lying.known)
        reasons: list[str | None] = [None] * len(ids)
        kept, _ = sort_out(ids, rows)
        for n in set(range(len(ids))).difference(kept.tolist()):
            reasons[n] = "retired" if rows.merged_into[n] is None else "merged"
        missing = bool((rows.found[kept] & ~states.known[kept]).any())
        return LookedUp(replace(states, around=around), reasons), missing

    def _located(
        self, trio: Trio, connection: Connection, ids: Sequence[str], rows: EntityRows
    ) -> list[Located | None]:
        """Where a ranker finds heads, as `locate` says; None for those who are retired.

        Whom training knows and who has not opted out since is found without a query of their own.
        """
        type_ = trio.ranker.head_type
        places = trio.bundle.rows(type_, ids)
        since = min(trio.tail.watermark, trio.ranker_watermark)
        keys = rows.keys[rows.keys > 0].tolist()
        gone = tail.opted_out_since(connection, since, keys=keys)
        found: list[Located | None] = []
        for n, (id_, row) in enumerate(zip(ids, places.tolist(), strict=True)):
            entity, stays = (
                EntityId(type_, id_),
                rows.merged_into[n] is None and not rows.retired[n],
            )
            if row >= 0 and rows.found[n] and stays and int(rows.keys[n]) not in gone:
                found.append(Located(entity, trio.bundle.vectors[row], row, "learned", 0))
                continue
            try:
                found.append(self.locate(trio, connection, entity, scoring=True))
            except EntityRetired:
                found.append(None)
        return found


class _Entity(NamedTuple):
    """One that was looked up."""

    id: str
    vector: NDArray[np.float32]
    known: bool
    attributes: tuple[Any, ...]
    exposures: int
    outcomes: int
    nameless: bool
    #: Of each type that it leads to: where that lies, and whether it is known.
    around: tuple[tuple[NDArray[np.float32], bool], ...]
    reason: str | None


class _Side:
    """Heads, or candidates: what was looked up is remembered."""

    def __init__(self, look_up: Callable[[Sequence[str]], LookedUp]) -> None:
        self._look_up = look_up
        self._held: dict[str, _Entity] = {}
        #: Names of attributes, and types that entities lead to; the same for all of them.
        self._names: list[str] = []
        self._types: list[str] = []

    def of(self, ids: Sequence[str]) -> list[_Entity]:
        """Entities, each id once."""
        if len(self._held) > _MOST_HELD:
            self._held.clear()
        new = [id_ for id_ in ids if id_ not in self._held]
        for first in range(0, len(new), _PAGE):
            some = new[first : first + _PAGE]
            self._held.update(zip(some, self._entities(self._look_up(some)), strict=True))
        return [self._held[id_] for id_ in ids]

    def together(self, entities: Sequence[_Entity]) -> EntityStates:
        """The states of some of them, in that order."""
        around = {
            type_: Around(
                np.stack([one.around[n][0] for one in entities]),
                np.array([one.around[n][1] for one in entities], dtype=bool),
            )
            for n, type_ in enumerate(self._types)
        }
        return EntityStates(
            ids=np.array([one.id for one in entities], dtype=object),
            vectors=np.stack([one.vector for one in entities]),
            known=np.array([one.known for one in entities], dtype=bool),
            attributes={
                name: [one.attributes[n] for one in entities] for n, name in enumerate(self._names)
            },
            exposures=np.array([one.exposures for one in entities], dtype=np.int64),
            outcomes=np.array([one.outcomes for one in entities], dtype=np.int64),
            nameless=np.array([one.nameless for one in entities], dtype=bool),
            around=around,
        )

    def _entities(self, found: LookedUp) -> list[_Entity]:
        states, count = found.states, len(found.states)
        self._names, self._types = list(states.attributes), list(states.around)
        columns = [states.attributes[name] for name in self._names]
        around = [states.around[type_] for type_ in self._types]
        nameless = np.zeros(count, bool) if states.nameless is None else states.nameless
        return [
            _Entity(
                id=states.ids[n],
                vector=states.vectors[n],
                known=bool(states.known[n]),
                attributes=tuple(column[n] for column in columns),
                exposures=int(states.exposures[n]),
                outcomes=int(states.outcomes[n]),
                nameless=bool(nameless[n]),
                around=tuple((one.vectors[n], bool(one.known[n])) for one in around),
                reason=found.reasons[n],
            )
            for n in range(count)
        ]


class Pairs:
    """Scores of pairs by one trio; entities are as they were when they were first named."""

    def __init__(self, lookup: Lookup, trio: Trio, *, position: int | None = None) -> None:
        self._ranker = trio.ranker
        self._place = trio.ranker.served_position if position is None else position
        self._heads = _Side(lambda ids: lookup.heads(trio, ids))
        self._candidates = _Side(lambda ids: lookup.candidates(trio, ids))

    def score(self, heads: Sequence[str | None], candidates: Sequence[str | None]) -> PairScores:
        """Probabilities of pairs; of one without an id on either side there is none."""
        reasons: list[str | None] = ["id missing"] * len(heads)
        names = [n for n, pair in enumerate(zip(heads, candidates, strict=True)) if all(pair)]
        head, head_codes = _numbered([str(heads[n]) for n in names])
        tail_, tail_codes = _numbered([str(candidates[n]) for n in names])
        own, others = self._heads.of(head), self._candidates.of(tail_)
        scored = []
        for place, n in enumerate(names):
            reasons[n] = own[head_codes[place]].reason or others[tail_codes[place]].reason
            if reasons[n] is None:
                scored.append(place)
        told = {name: np.full(len(heads), np.nan) for name in self._ranker.head_names}
        if scored:
            rows, kept = np.array(names, dtype=np.int64)[scored], np.array(scored, dtype=np.int64)
            answer = self._ranker.scored(
                self._heads.together(own).take(head_codes[kept]),
                self._candidates.together(others).take(tail_codes[kept]),
                alike(len(kept), position=self._place, time=int(time())),
            )
            for name, probabilities in answer.probabilities.items():
                told[name][rows] = probabilities
        return PairScores(probabilities=told, reasons=reasons)


def _numbered(ids: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Each id once, in the order of their first rows, and the number of each row's."""
    number = {id_: n for n, id_ in enumerate(dict.fromkeys(ids))}
    return list(number), np.array([number[id_] for id_ in ids], dtype=np.int64)
