"""Many pairs of heads and candidates, each answered as `POST /v1/score` would.

Takes columns of ids, gives columns of probabilities; looks an entity up and encodes it once,
however many pairs name it, and never writes. Pairs are computed by threads beside whoever asks, who
may read on, and look up the next ones, meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from api.answers import Answerer
from api.live import Trio
from api.lying import lying_at
from api.onsite import onsite_states
from api.questions import Located, State
from api.scoring import sort_out
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.errors import EntityRetired
from graphsvc.folding import NO_OUTCOMES
from graphsvc.graph import EntityRows
from graphsvc.ids import EntityId
from ranking.bundle import EntityStates, Side, alike

#: Entities that are looked up at once: as many candidates as a request may name, whose edges to
#: what they lead to are bounded together.
_PAGE = 1000
#: Entities of a side that are remembered; with more, all are looked up anew. Some 0.3 GiB.
_MOST_HELD = 200_000
#: Why a pair has no score, by number; None: it has one.
REASONS = (None, "id missing", "head retired", "retired", "merged")
_ID_MISSING = REASONS.index("id missing")
#: Where an entity's vector is from, by number: -1 of one that is not looked for.
STATES: tuple[State, ...] = get_args(State)


class Ids(NamedTuple):
    """A column of n ids: each once, and which of them a row has, -1 where it has none."""

    names: Sequence[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, column: Sequence[str | None]) -> "Ids":
        """A plain column; an empty id is none."""
        number = {id_: n for n, id_ in enumerate(dict.fromkeys(filter(None, column)))}
        codes = [number[id_] if id_ else -1 for id_ in column]
        return cls(list(number), np.array(codes, dtype=np.int64))


@dataclass(frozen=True, kw_only=True, slots=True)
class PairScores:
    """What is said of n pairs, in their order."""

    #: ctr and cvr, as far as the ranker answers them: float64 [n], NaN where there is no answer.
    probabilities: Mapping[str, NDArray[np.float64]]
    #: int8 [n], the number among `REASONS` of why there is none.
    why: NDArray[np.int8]
    #: int8 [n], numbers among `STATES` of the heads and of the candidates; -1 where there is none.
    heads: NDArray[np.int8]
    candidates: NDArray[np.int8]

    @property
    def reasons(self) -> list[str | None]:
        """Why there is none; None where there is one."""
        return [REASONS[number] for number in self.why.tolist()]


#: Waits for an answer that is under way.
Answering = Callable[[], PairScores]


class LookedUp(NamedTuple):
    """Entities of one side, why a pair with them has no score, if so, and where they were found."""

    states: EntityStates
    reasons: list[str | None]
    found: list[int]


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
        return LookedUp(
            states,
            reasons=[None if one else "head retired" for one in found],
            found=[STATES.index(one.state) if one else -1 for one in found],
        )

    def candidates(self, trio: Trio, ids: Sequence[str]) -> LookedUp:
        """Those that heads may act on; one that has no vector yet is solved for first.

        Nobody else is waited for: a server solves for all that training has not seen, in time.
        """
        ranker = trio.ranker
        with self.database.reading() as connection:
            rows = self._rows(connection, ranker.tail_type, ids, ranker.tail_attributes)
            around = self._around(trio, connection, rows)
        places = trio.bundle.rows(ranker.tail_type, ids)
        kept, _ = sort_out(ids, rows)
        lying = lying_at(trio, ids, places, rows.keys)
        if (rows.found[kept] & ~lying.known[kept]).any():
            while trio.tail.wanting:
                trio.tail.step()
            lying = lying_at(trio, ids, places, rows.keys)
        states = self._states(ids, rows, vectors=lying.vectors, known=lying.known)
        reasons: list[str | None] = [None] * len(ids)
        learned, cold, unknown = map(STATES.index, ("learned", "cold", "unknown"))
        found = np.where(lying.learned, learned, np.where(lying.known, cold, unknown)).tolist()
        for n in set(range(len(ids))).difference(kept.tolist()):
            reasons[n], found[n] = "retired" if rows.merged_into[n] is None else "merged", -1
        return LookedUp(replace(states, around=around), reasons, found)

    def _located(
        self, trio: Trio, connection: Connection, ids: Sequence[str], rows: EntityRows
    ) -> list[Located | None]:
        """Where a ranker finds heads, as `locate` says; None for those who are retired.

        Whom training knows and who has not opted out since is found without a query of their own;
        vectors of those whom it does not know are solved for together.
        """
        type_ = trio.ranker.head_type
        places = trio.bundle.rows(type_, ids)
        since = min(trio.tail.watermark, trio.ranker_watermark)
        keys = rows.keys[rows.keys > 0].tolist()
        gone = tail.opted_out_since(connection, since, keys=keys)
        found: list[Located | None] = []
        cold: list[int] = []
        for n, (id_, row) in enumerate(zip(ids, places.tolist(), strict=True)):
            entity = EntityId(type_, id_)
            stays = rows.merged_into[n] is None and not rows.retired[n]
            same = stays and int(rows.keys[n]) not in gone
            if same and row >= 0 and rows.found[n]:
                found.append(Located(entity, trio.bundle.vectors[row], row, "learned", 0))
            elif same and row < 0 and type_ in trio.bundle.types:
                cold.append(n)
                found.append(None)
            else:
                try:
                    found.append(self.locate(trio, connection, entity, scoring=True))
                except EntityRetired:
                    found.append(None)
        names = [EntityId(type_, ids[n]) for n in cold]
        solved = self._solved(trio, connection, names, rows.keys[cold].tolist())
        for n, one in zip(cold, solved, strict=True):
            found[n] = one
        return found

    def _solved(
        self, trio: Trio, connection: Connection, names: Sequence[EntityId], keys: Sequence[int]
    ) -> list[Located]:
        """Heads that training does not know, from their present outcomes; key 0: without any."""
        if not names:
            return []
        found = [
            self._outcomes(connection, name.type, key) if key else NO_OUTCOMES
            for name, key in zip(names, keys, strict=True)
        ]
        outcome = self.schema.label.outcome
        folded = trio.solver.solve_outcomes(trio.ranker.head_type, outcome, found)
        return [
            Located(name, one.vector, -1, "cold" if one.edges else "unknown", one.edges)
            for name, one in zip(names, folded, strict=True)
        ]


class _Side:
    """Heads, or candidates: what was looked up is remembered, as features."""

    def __init__(
        self,
        look_up: Callable[[Sequence[str]], LookedUp],
        encode: Callable[[EntityStates], Side],
    ) -> None:
        self._look_up, self._encode = look_up, encode
        self._forget()

    def _forget(self) -> None:
        self._row_of: dict[str, int] = {}
        self._encoded: Side | None = None
        self._why = np.zeros(0, dtype=np.int8)
        self._found = np.zeros(0, dtype=np.int8)

    def of(self, ids: Sequence[str]) -> "_Found":
        """Entities, each id once."""
        if len(self._row_of) > _MOST_HELD:
            self._forget()
        new = [id_ for id_ in ids if id_ not in self._row_of]
        pages = [self._look_up(new[first : first + _PAGE]) for first in range(0, len(new), _PAGE)]
        if pages:
            parts = [self._encode(page.states) for page in pages]
            first, *more = parts if self._encoded is None else [self._encoded, *parts]
            self._encoded = first.joined(*more)
            reasons = [REASONS.index(reason) for page in pages for reason in page.reasons]
            self._why = np.concatenate([self._why, np.array(reasons, dtype=np.int8)])
            found = [number for page in pages for number in page.found]
            self._found = np.concatenate([self._found, np.array(found, dtype=np.int8)])
            self._row_of.update(zip(new, range(len(self._row_of), len(self._why)), strict=True))
        rows = np.fromiter(map(self._row_of.__getitem__, ids), np.int64, count=len(ids))
        return _Found(self._encoded, rows, self._why[rows], self._found[rows])


class _Found(NamedTuple):
    """Entities of one side: all that are remembered, and what is known of some, by their rows."""

    encoded: Side | None
    rows: NDArray[np.int64]
    why: NDArray[np.int8]
    states: NDArray[np.int8]


class Pairs:
    """Scores of pairs by one trio; entities are as they were when they were first named.

    `workers` compute; torch should use one thread in each of them.
    """

    def __init__(
        self, lookup: Lookup, trio: Trio, workers: Executor, *, position: int | None = None
    ) -> None:
        self._ranker = trio.ranker
        self._place = trio.ranker.served_position if position is None else position
        self._workers = workers
        side = trio.ranker.encoder.side
        self._heads = _Side(lambda ids: lookup.heads(trio, ids), partial(side, 0))
        self._candidates = _Side(lambda ids: lookup.candidates(trio, ids), partial(side, 1))

    def score(self, heads: Ids, candidates: Ids) -> Answering:
        """Look entities up and begin: what gives probabilities of pairs once they are there.

        Of a pair without an id on either side there is none.
        """
        own, others = self._heads.of(heads.names), self._candidates.of(candidates.names)
        named = np.flatnonzero((heads.codes >= 0) & (candidates.codes >= 0))
        head, tail_ = heads.codes[named], candidates.codes[named]
        why = np.full(len(heads.codes), _ID_MISSING, dtype=np.int8)
        why[named] = np.where(own.why[head], own.why[head], others.why[tail_])
        states = (_by_code(own.states, heads.codes), _by_code(others.states, candidates.codes))
        scored = why[named] == 0
        rows = named[scored]
        pairs = (own.rows[head[scored]], others.rows[tail_[scored]])
        found = self._begun(own.encoded, others.encoded, pairs)

        def answer() -> PairScores:
            told = {name: np.full(len(why), np.nan) for name in self._ranker.head_names}
            for (start, stop), probabilities in found():
                for name, column in probabilities.items():
                    told[name][rows[start:stop]] = column
            return PairScores(probabilities=told, why=why, heads=states[0], candidates=states[1])

        return answer

    def _begun(
        self,
        heads: Side | None,
        tails: Side | None,
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> Callable[[], list[tuple[tuple[int, int], Mapping[str, NDArray[np.float64]]]]]:
        """Let the workers compute; what waits for them and gives probabilities by place."""
        count = len(pairs[0])
        if heads is None or tails is None or not count:
            return list
        shown, (first, second) = alike(1, position=self._place, time=int(time())), pairs

        def work(start: int, stop: int) -> Mapping[str, NDArray[np.float64]]:
            own, others = heads.take(first[start:stop]), tails.take(second[start:stop])
            return self._ranker.scored_sides(own, others, shown).probabilities

        size = self._ranker.at_once or count
        places = [(start, min(start + size, count)) for start in range(0, count, size)]
        futures = [self._workers.submit(work, *place) for place in places]
        return lambda: [
            (place, future.result()) for place, future in zip(places, futures, strict=True)
        ]


def _by_code(values: NDArray[np.int8], codes: NDArray[np.int64]) -> NDArray[np.int8]:
    """Values of rows; -1 of a row that names none."""
    return np.append(values, np.int8(-1))[codes]
