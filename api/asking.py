"""Questions about neighbors, answered together: those that ask alike are one search.

Takes questions and a trio, gives for each an answer or the error that says why there is none; never
lets one question spoil another. Who is retired, merged or opted out is in no answer from the next
one on, even where the overlay has not heard of it yet.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from api import threads
from api.answers import Answerer
from api.errors import ApiError, Invalid
from api.explaining import Explaining
from api.live import Trio
from api.nearest import Near, Wanted, nearest
from api.passing import Passing
from api.questions import Answered, Item, Located, Question
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.errors import EntityMissing, EntityRetired
from graphsvc.ids import EntityId
from kge.bundle import ALL
from kge.completion import Side
from kge.errors import UnknownFacet, UnknownRelation, UnknownType

#: What is wrong with a question alone; anything else is wrong with all of them.
REFUSALS = (
    ApiError,
    EntityMissing,
    EntityRetired,
    UnknownFacet,
    UnknownRelation,
    UnknownType,
)
#: So many more are looked at than asked for, where some may have gone since the tail's last step.
_SPARE = 16

Refused = Exception


def ask(answerer: Answerer, trio: Trio, questions: Sequence[Question]) -> list[Answered | Refused]:
    """An answer to each question, in their order; or what is wrong with it."""
    threads.one_here()
    done = trio.tail.done  # before all else, so that what came since is looked up
    with answerer.database.reading() as connection:
        calm = not tail.unrest(connection, after=done)
        asking = _Asking(answerer, trio, connection, done, calm)
        return asking.answers(questions)


def ask_one(answerer: Answerer, trio: Trio, question: Question) -> Answered:
    """The answer to one question; raises what is wrong with it."""
    [answer] = ask(answerer, trio, [question])
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass(slots=True)
class _Asked:
    """A question that makes sense, and what was found so far."""

    question: Question
    of: Located | None
    vector: NDArray[np.float32]
    types: Sequence[str]
    side: Side | None
    items: list[Item] = field(default_factory=list)
    exact: bool = True
    recall: float = 1.0


@dataclass(slots=True)
class _Asking:
    answerer: Answerer
    trio: Trio
    connection: Connection
    done: int
    #: Nothing behind `done` takes anybody out of answers, so the overlay knows of all who are.
    calm: bool
    passing: Passing = field(init=False)
    explaining: Explaining = field(init=False)

    def __post_init__(self) -> None:
        self.passing = Passing(
            self.connection, self.answerer.schema, self.trio.bundle, self.trio.columns
        )
        self.explaining = Explaining(self.connection, self.answerer.schema, self.trio, self.calm)

    def answers(self, questions: Sequence[Question]) -> list[Answered | Refused]:
        told: list[_Asked | Refused] = [self._understood(question) for question in questions]
        self._search(told)
        if not self.calm:
            self._leave_out([one for one in told if isinstance(one, _Asked)])
        return [one if isinstance(one, Exception) else self._answer(one) for one in told]

    def _understood(self, question: Question) -> _Asked | Refused:
        try:
            side = self._side(question)
            types = self._types(question, side)
            if question.filter is not None:
                self.passing.check(question.filter, types)
            of = self._located(question)
            vector = self._given(question) if of is None else of.vector
            self.explaining.admit(question)
            return _Asked(question, of, vector, types, side)
        except REFUSALS as error:
            return error

    def _given(self, question: Question) -> NDArray[np.float32]:
        """The vector that a question holds itself."""
        if question.vector is None:
            raise Invalid("entity should be there, or vector, received neither")
        dim = self.trio.bundle.facet(question.facet).vectors.shape[1]
        if len(question.vector) != dim:
            raise Invalid(
                f"vector should have {dim} numbers, as facet {question.facet} has, "
                f"received {len(question.vector)}"
            )
        return question.vector

    def _located(self, question: Question) -> Located | None:
        entity = question.entity
        if entity is None:
            return None
        located = self._known(entity, question.facet) if self.calm else None
        located = located or self.answerer.locate(
            self.trio, self.connection, entity, facet=question.facet
        )
        if located.state == "unknown":
            if tail.named(self.connection, entity) is None:
                raise EntityMissing(f"no event has named {entity.type} {entity.id!r} yet")
            where = "" if question.facet == ALL else f" by a relation of facet {question.facet}"
            raise EntityMissing(
                f"{entity.type} {entity.id!r} has no edge to anything that training knows{where}, "
                "so nothing is near it"
            )
        return located

    def _known(self, entity: EntityId, facet: str) -> Located | None:
        """A trained entity without asking the database; None where that has to be asked."""
        bundle, overlay = self.trio.bundle, self.trio.overlay
        row = int(bundle.rows(entity.type, [entity.id])[0])
        if row < 0:
            return None
        hidden = overlay.hidden(entity.type)
        if hidden is not None and hidden[row - bundle.types[entity.type].start]:
            return None
        return self.answerer.learned(self.trio, entity, row, facet)

    def _side(self, question: Question) -> Side | None:
        if question.relation is None:
            if question.direction is not None:
                raise Invalid("relation should be there, since direction is about one")
            return None
        asks = question.entity.type if question.entity else question.vector_type
        if asks is None:
            raise Invalid(
                "vector_type should say of which type the vector is, since relation is asked about"
            )
        made = self.trio.completion.side
        if question.direction is not None:
            inverse = question.direction == "in"
            return made(question.relation, asks, facet=question.facet, inverse=inverse)
        try:
            return made(question.relation, asks, facet=question.facet, inverse=False)
        except UnknownRelation:
            return made(question.relation, asks, facet=question.facet, inverse=True)

    def _types(self, question: Question, side: Side | None) -> Sequence[str]:
        known = self.trio.bundle.types
        if question.entity and question.entity.type not in self.answerer.schema.entities:
            raise Invalid(
                f"type should be one of {', '.join(self.answerer.schema.entities)}, "
                f"received {question.entity.type!r}"
            )
        if side is not None:
            others = [name for name in question.types if name != side.tail]
            if others:
                raise Invalid(
                    f"type should be {side.tail}, to which {question.relation} leads from "
                    f"{side.head}, received {others[0]!r}"
                )
            return [side.tail]
        own = (question.entity.type,) if question.entity else ()
        wanted = list(dict.fromkeys(question.types or own))
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            came = repr(unknown[0]) if unknown else "nothing"
            raise Invalid(f"type should be one of {', '.join(sorted(known))}, received {came}")
        return wanted

    def _search(self, told: list[_Asked | Refused]) -> None:
        """One search for all that ask alike; who cannot be answered becomes a refusal."""
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for n, one in enumerate(told):
            if isinstance(one, _Asked):
                question = one.question
                words = question.filter.key if question.filter else None
                for type_ in one.types:
                    alike[type_, question.k, question.facet, one.side, words].append(n)
        for key, places in alike.items():
            some = [(n, one) for n in places if isinstance(one := told[n], _Asked)]
            if not some:
                continue
            try:
                found = self._near(str(key[0]), some[0][1], [one for _, one in some])
            except REFUSALS as error:
                for n, _ in some:
                    told[n] = error
                continue
            each = zip(found.items, found.exact, found.recall, strict=True)
            for (_, one), (items, exact, recall) in zip(some, each, strict=True):
                one.items.extend(items)
                one.exact &= exact
                one.recall = min(one.recall, recall)

    def _near(self, type_: str, like: _Asked, asked: Sequence[_Asked]) -> Near:
        question = like.question
        wanted = Wanted(
            type=type_,
            k=question.k,
            spare=1 + (0 if self.calm else _SPARE),  # who asks is not in the answer
            facet=question.facet,
            side=like.side,
            filter=question.filter,
        )
        vectors = np.stack([one.vector for one in asked])
        return nearest(self.trio, wanted, vectors, self.passing)

    def _leave_out(self, asked: Sequence[_Asked]) -> None:
        """Take out whom the log has taken out since the overlay's last step."""
        named: dict[str, set[str]] = defaultdict(set)
        for one in asked:
            for item in one.items:
                named[item.type].add(item.id)
        unfit = {
            type_: tail.unfit(self.connection, type_, sorted(ids), since=self.trio.tail.watermark)
            for type_, ids in named.items()
        }
        for one in asked:
            one.items = [item for item in one.items if self._stays(item, unfit[item.type])]

    def _stays(self, item: Item, unfit: dict[str, int | None]) -> bool:
        if item.id not in unfit:
            return True
        opted_out = unfit[item.id]
        # A cold vector that the tail has solved behind the opt-out may stay.
        return opted_out is not None and item.cold and opted_out <= self.done

    def _answer(self, one: _Asked) -> Answered:
        question = one.question
        own = one.of.entity if one.of else None
        items = one.items
        if len(one.types) > 1:
            items = sorted(items, key=lambda item: (item.distance, item.cold))
        if own is not None:
            items = [item for item in items if item.id != own.id or item.type != own.type]
        items = items[: question.k]
        explanations = (
            self.explaining.explain(one.of, items, question.facet) if question.explain else ()
        )
        return Answered(
            of=one.of,
            items=items,
            plan="exact" if one.exact else "approximate",
            recall=one.recall,
            explanations=explanations,
        )
