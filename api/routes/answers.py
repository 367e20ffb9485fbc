"""GET /v1/answers: what was answered to score requests, and what became of it.

Takes which answers and how far an outcome may follow, gives them joined; never says what an outcome
is (see `graphsvc/attribution.py`).
"""

from collections.abc import Collection, Sequence
from time import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.errors import Invalid
from api.routes import cursors
from graphsvc import answers
from graphsvc.answers import Answer, Wanted
from graphsvc.attribution import CENSORED, NEGATIVE, NOT_SHOWN, POSITIVE, Joined, Windows, join
from graphsvc.db import Connection
from graphsvc.events import LATEST_TIME
from graphsvc.hints import meant
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, NAME, EntityId
from graphsvc.schema import Schema

router = APIRouter(prefix="/v1/answers", tags=["scores"])

_MINUTE_SECONDS, _DAY_SECONDS = 60, 86_400
State = Literal["positive", "negative", "censored", "not_shown"]
_STATES: dict[int, State] = {
    POSITIVE: "positive",
    NEGATIVE: "negative",
    CENSORED: "censored",
    NOT_SHOWN: "not_shown",
}
_Time = Annotated[int, Field(ge=0, le=LATEST_TIME)]
RequestId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["5f2c1d0e9a"])]


class HeadOut(BaseModel):
    """Who was asked about."""

    type: str = Field(examples=["user"])
    id: str = Field(examples=["u1"])


class OutcomeOut(BaseModel):
    """A candidate of the answer and what became of it. Times are seconds since 1970."""

    id: str = Field(examples=["a1"])
    position: int = Field(examples=[0], description="place in the answer, from 0")
    score: float = Field(examples=[0.42])
    impression_time: int | None = Field(examples=[1767225601])
    shown_position: int | None = Field(examples=[0], description="as the impression says it")
    sampling_rate: float = Field(
        examples=[1.0], description="as the impression says it: a row stands for 1 / sampling_rate"
    )
    click: State = Field(
        examples=["positive"],
        description="whether the outcome followed within the click window; negative if the label's "
        "negative did; else censored while it may still follow",
    )
    click_time: int | None = Field(examples=[1767225660])
    conversion: State = Field(
        examples=["censored"],
        description="whether one followed within its window, of what the item leads to, and this "
        "was the last impression before it",
    )
    conversion_time: int | None = Field(examples=[None], description="of the first conversion")
    conversion_event: str | None = Field(examples=[None])
    conversion_value: float = Field(examples=[0.0], description="sum over the conversions")


class AnswerOut(BaseModel):
    """An answer with its items, in their order."""

    request_id: str = Field(examples=["5f2c1d0e9a"])
    asked_at: int = Field(examples=[1767225600], description="seconds since 1970")
    head: HeadOut
    tail_type: str = Field(examples=["ad"])
    state: str = Field(examples=["learned"], description="learned, cold or unknown")
    items: list[OutcomeOut]
    order: str | None = Field(
        examples=["ctr"],
        description="what scores are: ctr, cvr or ctcvr; null where that was not kept yet",
    )
    position: int | None = Field(
        examples=[0],
        description="the place that scores are for; null where the ranker did not mind",
    )
    bundle: str
    index: str
    ranker: str


class AnswerPage(BaseModel):
    """A page of answers; `next` is the cursor of the next one, null at the end."""

    items: list[AnswerOut]
    next: str | None = Field(examples=[None])


def windows_of(
    services: ServicesOf,
    click_minutes: Annotated[
        float | None,
        Query(gt=0, le=10_080, description="by default the window of the schema's label"),
    ] = None,
    conversion_days: Annotated[float, Query(gt=0, le=30)] = 7,
    settle_seconds: Annotated[
        int,
        Query(
            ge=0,
            le=30 * _DAY_SECONDS,
            description="so long behind its end a window stays censored, for events that come late",
        ),
    ] = 0,
    conversions: Annotated[
        list[Annotated[str, Field(pattern=NAME.pattern)]] | None,
        Query(max_length=100, description="relations; by default as the schema says"),
    ] = None,
) -> Windows:
    """How far an outcome may follow. Raises `Invalid` for a conversion that is no relation."""
    _check_conversions(services.schema, conversions or [])
    return Windows(
        click_seconds=round(
            (click_minutes or services.schema.label.window_minutes) * _MINUTE_SECONDS
        ),
        conversion_seconds=round(conversion_days * _DAY_SECONDS),
        settle_seconds=settle_seconds,
        conversions=None if conversions is None else tuple(conversions),
    )


def wanted_of(
    services: ServicesOf,
    since: Annotated[_Time, Query(description="asked at that second since 1970, or later")] = 0,
    until: Annotated[_Time | None, Query(description="asked before that second")] = None,
    head_type: Annotated[str | None, Query(pattern=NAME.pattern)] = None,
    head_id: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_ID_LENGTH,
            pattern=ID_PATTERN,
            description="with head_type: of this one alone, under the id that was asked for",
        ),
    ] = None,
    order: Annotated[Literal["newest", "oldest"], Query(description="which come first")] = "newest",
) -> Wanted:
    """Which answers are asked for. Raises `Invalid` for half a head, or one of no known type."""
    head = None
    if head_type is not None and head_id is not None:
        _check_names("head_type", [head_type], services.schema.entities)
        head = EntityId(head_type, head_id)
    elif head_type is not None or head_id is not None:
        raise Invalid("head_type and head_id should be there both, or neither")
    return Wanted(since=since, until=until, head=head, oldest_first=order == "oldest")


@router.get("", summary="Answers in pages, joined with what was shown and what followed")
def get_answers(
    services: ServicesOf,
    wanted: Annotated[Wanted, Depends(wanted_of)],
    windows: Annotated[Windows, Depends(windows_of)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> AnswerPage:
    """A cursor goes on in the order, and within the times and the head, that it was given for.

    A page ends before its limit where its answers have more than 10,000 items.
    """
    with services.database.reading() as connection:
        page = answers.page(connection, wanted, limit=limit, after=cursors.decode(cursor))
        items = _joined(connection, services.schema, page.items, windows)
    return AnswerPage(items=items, next=cursors.encode(page.next))


@router.get("/{request_id}", summary="One answer, joined with what was shown and what followed")
def get_answer(
    services: ServicesOf,
    request_id: RequestId,
    windows: Annotated[Windows, Depends(windows_of)],
) -> AnswerOut:
    with services.database.reading() as connection:
        answer = answers.answer(connection, request_id)
        return _joined(connection, services.schema, [answer], windows)[0]


def _check_conversions(schema: Schema, names: Sequence[str]) -> None:
    known = [relation.name for relation in schema.relations if relation.source != "structure"]
    _check_names("conversions", names, known)


def _check_names(field: str, names: Sequence[str], known: Collection[str]) -> None:
    """Raise `Invalid` for the first name that is not among those known."""
    for name in names:
        if name not in known:
            says = f"one of {', '.join(known)}{meant(name, known)}"
            told = {"field": f"query.{field}", "value": name[:80], "expected": says}
            raise Invalid(f"{field} should be {says}, received {name[:80]!r}", errors=[told])


def _joined(
    connection: Connection, schema: Schema, some: Sequence[Answer], windows: Windows
) -> list[AnswerOut]:
    """Answers as they are shown, with what is known of them now."""
    joined, start, found = join(connection, schema, some, windows=windows, now=int(time())), 0, []
    for answer in some:
        end = start + len(answer.items)
        found.append(
            AnswerOut(
                request_id=answer.request_id,
                asked_at=answer.asked_at,
                head=HeadOut(type=answer.head.type, id=answer.head.id),
                tail_type=answer.tail_type,
                state=answer.state,
                items=[_outcome(joined, n) for n in range(start, end)],
                order=answer.order,
                position=answer.position,
                bundle=answer.bundle,
                index=answer.index,
                ranker=answer.ranker,
            )
        )
        start = end
    return found


def _outcome(joined: Joined, n: int) -> OutcomeOut:
    return OutcomeOut(
        id=joined.item[n],
        position=int(joined.position[n]),
        score=float(joined.score[n]),
        impression_time=_or_none(joined.impression_time[n]),
        shown_position=_or_none(joined.shown_position[n]),
        sampling_rate=float(joined.sampling_rate[n]),
        click=_STATES[int(joined.click[n])],
        click_time=_or_none(joined.click_time[n]),
        conversion=_STATES[int(joined.conversion[n])],
        conversion_time=_or_none(joined.conversion_time[n]),
        conversion_event=joined.conversion_event[n] or None,
        conversion_value=float(joined.conversion_value[n]),
    )


def _or_none(number: int) -> int | None:
    return None if number < 0 else int(number)
