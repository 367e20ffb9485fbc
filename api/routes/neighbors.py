"""Who is near: GET .../neighbors for one entity, POST /v1/neighbors for up to 100 at once."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Query, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api import problems
from api.answers import Answerer
from api.asking import ask, ask_one
from api.deps import Services, ServicesOf
from api.errors import Invalid
from api.explaining import MOST_EXPLAINED, check_explained
from api.filters import Filter, Name, Number, check_size, parse_filter
from api.live import Trio
from api.questions import Answered, Direction, Question
from api.routes.entities import ENTITY, IdOf, TypeOf, check_type
from api.routes.found import FoundOut, shown
from graphsvc.events import EntityRef
from graphsvc.ids import NAME, EntityId
from graphsvc.wording import causes, expected, sentence, what_came
from kge.bundle import ALL

router = APIRouter(prefix="/v1", tags=["neighbors"])

MOST_QUERIES = 100
MOST_NEIGHBORS = 1000
_MOST_TYPES = 32
#: In an address, of which a server takes 64 KiB, and a character may be 12 bytes of it.
_LONGEST_FILTER = 4_000
_FACET = r"^[A-Za-z0-9_-]{1,64}$"
#: Lengths of a vector beside 0: their squares, times what a relation's matrix adds, are float32.
_SHORTEST, _LONGEST = 1e-15, 1e15


class NeighborsOut(FoundOut):
    """The nearest entities, and the versions that answered."""

    bundle: str
    index: str
    ranker: str


class AnsweredOut(FoundOut):
    """The answer to one query of several."""

    verdict: Literal["answered"]


class RefusedOut(BaseModel):
    """Why one query of several has no answer: the problem that a request of its own would get."""

    verdict: Literal["refused"]
    problem: dict[str, Any] = Field(
        examples=[{"status": 422, "title": "Invalid request", "detail": "k: should be at least 1"}]
    )


class ManyNeighborsOut(BaseModel):
    """An answer per query, in their order, and the versions that answered all of them."""

    answers: list[AnsweredOut | RefusedOut] = Field(
        examples=[[{"verdict": "refused", "problem": {"status": 404, "title": "Not found"}}]]
    )
    bundle: str
    index: str
    ranker: str


class QueryIn(BaseModel):
    """Who is near an entity, or near a vector of the bundle's (or the facet's) space."""

    model_config = ConfigDict(extra="forbid")

    entity: EntityRef | None = None
    vector: list[Number] | None = Field(default=None, max_length=4096)
    vector_type: Name | None = Field(
        default=None, description="with a relation: the type that the vector stands for"
    )
    k: int = Field(default=10, ge=1, le=MOST_NEIGHBORS)
    type: Name | Annotated[list[Name], Field(min_length=1, max_length=_MOST_TYPES)] | None = None
    facet: str = Field(default=ALL, pattern=_FACET)
    relation: Name | None = None
    direction: Direction | None = None
    filter: Filter | None = None
    explain: bool = False

    @model_validator(mode="after")
    def _is_about_one(self) -> "QueryIn":
        if (self.entity is None) == (self.vector is None):
            raise ValueError("should have an entity or a vector, and not both")
        if self.vector_type is not None and self.vector is None:
            raise ValueError("should have vector_type beside a vector alone: an entity has a type")
        if self.explain and self.vector is not None:
            raise ValueError("should ask to explain an entity alone: a vector has no edges")
        return self


class QueriesIn(BaseModel):
    """Up to 100 queries; each gets an answer of its own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "queries": [
                    {"entity": {"type": "film", "id": "50"}, "k": 5},
                    {
                        "entity": {"type": "user", "id": "u1"},
                        "relation": "click",
                        "filter": {"must": [{"attribute": "year", "gte": 1990}]},
                    },
                ]
            }
        },
    )

    queries: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MOST_QUERIES,
        description="each with `entity` or `vector`, and `k`, `type`, `facet`, `relation`, "
        "`direction`, `filter`, `explain`",
    )


class Asked(NamedTuple):
    """What the query of a GET asks for."""

    k: int
    types: tuple[str, ...]
    facet: str
    relation: str | None
    direction: Direction | None
    filter_: str | None
    explain: bool


async def asked_of(
    k: Annotated[int, Query(ge=1, le=MOST_NEIGHBORS)] = 10,
    types: Annotated[
        list[Name] | None,
        Query(
            alias="type",
            max_length=_MOST_TYPES,
            description="of which type, or several, each as a parameter of its own; by default "
            "its own, or the relation's other end",
        ),
    ] = None,
    facet: Annotated[str, Query(pattern=_FACET, description="a group of relations")] = ALL,
    relation: Annotated[
        str | None,
        Query(pattern=NAME.pattern, description="who completes (entity, relation, ?), best first"),
    ] = None,
    direction: Annotated[
        Direction | None, Query(description="out: the entity is the relation's head")
    ] = None,
    filter_: Annotated[
        str | None,
        Query(
            alias="filter",
            max_length=_LONGEST_FILTER,
            description='JSON, e.g. {"must": [{"attribute": "year", "gte": 1990}]}',
        ),
    ] = None,
    explain: Annotated[
        bool, Query(description=f"say why each is near; k is {MOST_EXPLAINED} at most")
    ] = False,
) -> Asked:
    """Without anything to wait for, and so without a thread of its own."""
    return Asked(k, tuple(types or ()), facet, relation, direction, filter_, explain)


@router.get(
    "/entities/{type}" + ENTITY + "/neighbors",
    summary="The nearest entities by embedding",
    response_model=NeighborsOut,
)
def get_neighbors(
    services: ServicesOf, type_: TypeOf, id_: IdOf, asked: Annotated[Asked, Depends(asked_of)]
) -> Any:
    check_type(services, type_)
    question = Question(
        entity=EntityId(type_, id_),
        k=asked.k,
        types=asked.types,
        facet=asked.facet,
        relation=asked.relation,
        direction=asked.direction,
        filter=None if asked.filter_ is None else parse_filter(asked.filter_),
        explain=asked.explain,
    )
    check_explained(question)
    trio = services.live.trio()
    found = ask_one(_answerer(services), trio, question)
    return _json({**shown(question, found), **trio.versions})


@router.post(
    "/neighbors",
    summary="The nearest entities of up to 100 entities or vectors",
    response_model=ManyNeighborsOut,
)
def post_neighbors(services: ServicesOf, body: QueriesIn) -> Any:
    return many(services, services.live.trio(), body)


def many(services: Services, trio: Trio, body: QueriesIn) -> Response:
    """Queries that ask alike are one search; one that is refused leaves the others alone."""
    questions = [_question(query) for query in body.queries]
    sound = [question for question in questions if isinstance(question, Question)]
    answers = iter(ask(_answerer(services), trio, sound))
    told = []
    for question in questions:
        answer = next(answers) if isinstance(question, Question) else question
        if isinstance(question, Question) and isinstance(answer, Answered):
            told.append({"verdict": "answered", **shown(question, answer)})
        elif isinstance(answer, Exception):
            told.append({"verdict": "refused", "problem": _problem(answer)})
    return _json({"answers": told, **trio.versions})


def _answerer(services: Services) -> Answerer:
    return Answerer(services.database, services.schema, services.settings.foldin_edges)


def _question(query: Mapping[str, Any]) -> Question | Exception:
    try:
        asked = QueryIn.model_validate(query)
    except ValidationError as error:
        return _refused(error)
    try:
        if asked.filter is not None:
            check_size(asked.filter)
        question = Question(
            entity=EntityId(asked.entity.type, asked.entity.id) if asked.entity else None,
            vector=None if asked.vector is None else _vector(asked.vector),
            vector_type=asked.vector_type,
            k=asked.k,
            types=_types(asked.type),
            facet=asked.facet,
            relation=asked.relation,
            direction=asked.direction,
            filter=asked.filter,
            explain=asked.explain,
        )
        check_explained(question)
    except Invalid as error:
        return error
    return question


def _types(wanted: str | list[str] | None) -> tuple[str, ...]:
    return () if wanted is None else (wanted,) if isinstance(wanted, str) else tuple(wanted)


def _vector(numbers: Sequence[float]) -> NDArray[np.float32]:
    """A vector as the bundle has them. Raises `Invalid` where float32 cannot compare it."""
    large = next((n for n, number in enumerate(numbers) if abs(number) > _LONGEST), None)
    if large is not None:
        field, came = f"vector.{large}", numbers[large]
        wanted = f"a number from {-_LONGEST:g} to {_LONGEST:g}"
    else:
        field, came = "vector", float(np.linalg.norm(np.array(numbers, np.float64)))
        wanted = f"of length 0, or from {_SHORTEST:g} to {_LONGEST:g}"
        if came == 0.0 or _SHORTEST <= came <= _LONGEST:
            return np.array(numbers, np.float32)
    told = {"field": field, "value": f"{came:g}", "expected": wanted}
    raise Invalid(f"{field}: should be {wanted}, received {came:g}", errors=[told])


def _refused(error: ValidationError) -> Invalid:
    details = causes(error.errors())
    errors = [
        {
            "field": ".".join(str(part) for part in detail["loc"]) or "query",
            "value": what_came(detail),
            "expected": expected(detail, QueryIn),
        }
        for detail in details
    ]
    says = sentence(details[0], QueryIn)
    return Invalid(f"{errors[0]['field']}: {says}", errors=errors[:20])


def _problem(error: Exception) -> Any:
    return orjson.loads(problems.answer_to(error).body)


def _json(answer: Mapping[str, Any]) -> Response:
    """A thousand neighbors are written in the time in which a model checks ten."""
    return Response(orjson.dumps(answer), media_type="application/json")
