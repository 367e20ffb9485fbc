"""What to show somebody: found by the index, ordered by the ranker, spread by a cap.

Takes a wish and a trio, gives candidates that pass, best first; all of an answer is of one trio.
How many the index finds is a dial: what it does not find, no ranker can put first.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from api.answers import Answerer
from api.asking import ask_one
from api.errors import Invalid
from api.filters import Condition, Filter
from api.live import Trio
from api.questions import Answered, Question
from api.scoring import Scored, Scores
from graphsvc import filtering
from graphsvc.db import Connection
from graphsvc.events import EntityRef
from graphsvc.ids import EntityId
from graphsvc.schema import Schema

#: Edges to groups that are read at once.
_MOST_EDGES = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cap:
    """At most so many candidates that lead to the same entity by a relation of structure."""

    relation: str
    most: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """For whom, how many, and who may be among them."""

    head: EntityId
    k: int = 10
    #: Candidates that the index finds for the ranker.
    retrieve: int = 200
    filter: Filter | None = None
    #: Whether those may be among them that the head has acted on.
    seen: bool = False
    #: Find those who complete this relation, instead of the nearest.
    relation: str | None = None
    order: str | None = None
    position: int | None = None
    cap: Cap | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommended:
    """An answer, and what was found for it."""

    #: With the items that are shown.
    scores: Scores
    found: Answered
    #: Ranked candidates in front of the last one shown that the cap left out.
    capped: int

    @property
    def distances(self) -> dict[str, float]:
        """How far candidates are, by their ids."""
        return {item.id: item.distance for item in self.found.items}


def recommend(answerer: Answerer, trio: Trio, wish: Wish) -> Recommended:
    """Candidates for a head, best first; fewer than `k` where no more pass.

    Raises `Invalid`, `HeadMissing`, what a search for neighbors raises (`EntityMissing` for who has
    no edge to anything that training knows), and `EntityRetired`.
    """
    ranker, schema = trio.ranker, answerer.schema
    ranker.check_order(wish.order)
    if wish.head.type != ranker.head_type:
        raise Invalid(f"head.type should be {ranker.head_type!r}, received {wish.head.type!r}")
    if wish.cap is not None:
        check_cap(schema, wish.cap, ranker.tail_type)
    question = Question(
        entity=wish.head,
        k=wish.retrieve,
        types=(ranker.tail_type,),
        relation=wish.relation,
        filter=_passing(schema, wish, ranker.tail_type),
    )
    found = ask_one(answerer, trio, question)
    ids = [item.id for item in found.items]
    scores = answerer.score(trio, wish.head, ids, order=wish.order, position=wish.position)
    groups: Mapping[str, Collection[EntityId]] = {}
    if wish.cap is not None:
        groups = _groups(answerer, ranker.tail_type, ids, wish.cap.relation)
    most = wish.k if wish.cap is None else wish.cap.most
    shown, capped = spread(scores.items, groups, most=most, k=wish.k)
    return Recommended(scores=replace(scores, items=shown), found=found, capped=capped)


def spread(
    ranked: Sequence[Scored], groups: Mapping[str, Collection[EntityId]], *, most: int, k: int
) -> tuple[list[Scored], int]:
    """The first `k` of which at most `most` are in each group, and how many were passed over.

    A candidate in no group is never passed over, one in several counts in each of them.
    """
    taken: Counter[EntityId] = Counter()
    shown: list[Scored] = []
    passed_over = 0
    for one in ranked:
        if len(shown) == k:
            break
        own = groups.get(one.id, ())
        if any(taken[group] >= most for group in own):
            passed_over += 1
            continue
        taken.update(own)
        shown.append(one)
    return shown, passed_over


def check_cap(schema: Schema, cap: Cap, tail_type: str) -> None:
    """Raise `Invalid` unless a cap goes by what candidates lead to."""
    known = [
        relation.name
        for relation in schema.relations
        if relation.head == tail_type and relation.source == "structure"
    ]
    if cap.relation not in known:
        told = ", ".join(known) or f"none, since no structure leads from {tail_type}"
        raise Invalid(f"cap.relation should be one of {told}, received {cap.relation!r}")


def _passing(schema: Schema, wish: Wish, tail_type: str) -> Filter | None:
    """The wish's own filter, and that a candidate was not acted on."""
    own = wish.filter
    if wish.seen:
        return own
    of = EntityRef(type=wish.head.type, id=wish.head.id)
    acted_on = [
        Condition(relation=relation.name, of=of, direction="out")
        for relation in schema.relations
        if (relation.head, relation.tail) == (wish.head.type, tail_type)
    ]
    if own is None or not (own.must or own.should or own.must_not):
        return Filter(must_not=acted_on) if acted_on else None
    nested = Condition(must=own.must, should=own.should, must_not=own.must_not)
    return Filter(must=[nested], must_not=acted_on)


def _all_leads(
    connection: Connection, relation: str, *, type_: str, ids: Sequence[str]
) -> list[tuple[str, EntityId]]:
    """Where all candidates lead, however many edges that are; of one alone as many as are read."""
    most = _MOST_EDGES + 1
    edges = filtering.leads(connection, relation, type_=type_, ids=ids, most=most)
    if len(edges) < most or len(ids) == 1:
        return edges
    middle = len(ids) // 2
    return [
        edge
        for half in (ids[:middle], ids[middle:])
        for edge in _all_leads(connection, relation, type_=type_, ids=half)
    ]


def _groups(
    answerer: Answerer, type_: str, ids: Sequence[str], relation: str
) -> dict[str, frozenset[EntityId]]:
    """Candidate -> what it leads to now by a relation, if anything."""
    with answerer.database.reading() as connection:
        edges = _all_leads(connection, relation, type_=type_, ids=ids)
    groups: dict[str, set[EntityId]] = {}
    for id_, other in edges:
        groups.setdefault(id_, set()).add(other)
    return {id_: frozenset(own) for id_, own in groups.items()}
