"""GET /v1/answers: what was answered to score requests, and what became of it."""

from time import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from api.routes import cursors
from graphsvc import answers
from graphsvc.attribution import CENSORED, NEGATIVE, NOT_SHOWN, POSITIVE, Joined, Windows, join

router = APIRouter(prefix="/v1/answers", tags=["scores"])

_MINUTE_SECONDS, _DAY_SECONDS = 60, 86_400
State = Literal["positive", "negative", "censored", "not_shown"]
_STATES: dict[int, State] = {
    POSITIVE: "positive",
    NEGATIVE: "negative",
    CENSORED: "censored",
    NOT_SHOWN: "not_shown",
}
RequestId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["5f2c1d0e9a"])]


class HeadOut(BaseModel):
    """Who was asked about."""

    type: str = Field(examples=["user"])
    id: str = Field(examples=["u1"])


class AnswerOut(BaseModel):
    """An answer without its items."""

    request_id: str = Field(examples=["5f2c1d0e9a"])
    asked_at: int = Field(examples=[1767225600], description="seconds since 1970")
    head: HeadOut
    tail_type: str = Field(examples=["ad"])
    state: str = Field(examples=["learned"], description="learned, cold or unknown")
    items: int = Field(examples=[20], description="how many candidates were scored")
    bundle: str
    index: str
    ranker: str


class AnswerPage(BaseModel):
    """A page of answers, newest first; `next` is the cursor of the next one, null at the end."""

    items: list[AnswerOut]
    next: str | None = Field(examples=[None])


class OutcomeOut(BaseModel):
    """A candidate of the answer and what became of it. Times are seconds since 1970."""

    id: str = Field(examples=["a1"])
    position: int = Field(examples=[0], description="place in the answer, from 0")
    score: float = Field(examples=[0.42])
    impression_time: int | None = Field(examples=[1767225601])
    click: State = Field(
        examples=["positive"],
        description="whether the outcome followed within the click window; negative if the label's "
        "negative did; else censored while it may still follow",
    )
    click_time: int | None = Field(examples=[1767225660])
    conversion: State = Field(examples=["censored"])
    conversion_time: int | None = Field(examples=[None], description="of the first conversion")
    conversion_event: str | None = Field(examples=[None])
    conversion_value: float = Field(examples=[0.0], description="sum over the conversions")


class JoinedOut(BaseModel):
    """An answer with its items."""

    request_id: str = Field(examples=["5f2c1d0e9a"])
    asked_at: int = Field(examples=[1767225600], description="seconds since 1970")
    head: HeadOut
    tail_type: str = Field(examples=["ad"])
    state: str = Field(examples=["learned"], description="learned, cold or unknown")
    items: list[OutcomeOut]
    bundle: str
    index: str
    ranker: str


@router.get("", summary="Answers to score requests, newest first, in pages")
def get_answers(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> AnswerPage:
    with services.database.reading() as connection:
        page = answers.page(connection, limit=limit, after=cursors.decode(cursor))
    items = [
        AnswerOut(
            request_id=answer.request_id,
            asked_at=answer.asked_at,
            head=HeadOut(type=answer.head.type, id=answer.head.id),
            tail_type=answer.tail_type,
            state=answer.state,
            items=len(answer.items),
            bundle=answer.bundle,
            index=answer.index,
            ranker=answer.ranker,
        )
        for answer in page.items
    ]
    return AnswerPage(items=items, next=cursors.encode(page.next))


@router.get("/{request_id}", summary="One answer, joined with what was shown and what followed")
def get_answer(
    services: ServicesOf,
    request_id: RequestId,
    click_minutes: Annotated[
        float | None,
        Query(gt=0, le=10_080, description="by default the window of the schema's label"),
    ] = None,
    conversion_days: Annotated[float, Query(gt=0, le=30)] = 7,
) -> JoinedOut:
    schema = services.schema
    windows = Windows(
        click_seconds=round((click_minutes or schema.label.window_minutes) * _MINUTE_SECONDS),
        conversion_seconds=round(conversion_days * _DAY_SECONDS),
    )
    with services.database.reading() as connection:
        answer = answers.answer(connection, request_id)
        joined = join(connection, schema, [answer], windows=windows, now=int(time()))
    return JoinedOut(
        request_id=answer.request_id,
        asked_at=answer.asked_at,
        head=HeadOut(type=answer.head.type, id=answer.head.id),
        tail_type=answer.tail_type,
        state=answer.state,
        items=[_outcome(joined, n) for n in range(len(joined.item))],
        bundle=answer.bundle,
        index=answer.index,
        ranker=answer.ranker,
    )


def _outcome(joined: Joined, n: int) -> OutcomeOut:
    return OutcomeOut(
        id=joined.item[n],
        position=int(joined.position[n]),
        score=float(joined.score[n]),
        impression_time=_time(joined.impression_time[n]),
        click=_STATES[int(joined.click[n])],
        click_time=_time(joined.click_time[n]),
        conversion=_STATES[int(joined.conversion[n])],
        conversion_time=_time(joined.conversion_time[n]),
        conversion_event=joined.conversion_event[n] or None,
        conversion_value=float(joined.conversion_value[n]),
    )


def _time(seconds: int) -> int | None:
    return None if seconds < 0 else int(seconds)
