"""POST /v1/score: how likely one entity is to click each of some candidates."""

from time import time
from typing import Annotated, Any, Literal
from uuid import uuid4

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.answers import Answerer
from api.auth import KeyOf
from api.deps import Services, ServicesOf
from api.live import Trio
from api.reasons import MOST_EXPLAINED, Reason
from api.scoring import Scored, Scores
from graphsvc.answers import Answer, Item
from graphsvc.events import EntityRef
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, EntityId

router = APIRouter(prefix="/v1", tags=["scores"])

MOST_CANDIDATES = 1000
REQUEST_ID = r"^[A-Za-z0-9_-]{1,64}$"
CandidateId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)
]


class ScoreRequest(BaseModel):
    """Who is asked about, and the ids of 1 to 1000 candidates of the ranker's item type."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"head": {"type": "user", "id": "u1"}, "candidates": ["a1", "a2"]},
                {"head": {"type": "user", "id": "u1"}, "candidates": ["a1"], "explain": True},
            ]
        },
    )

    head: EntityRef
    candidates: list[CandidateId] = Field(min_length=1, max_length=MOST_CANDIDATES)
    order: Literal["ctr", "cvr", "ctcvr"] | None = Field(
        default=None,
        description="what candidates are ordered by: the chance of a click (ctr), of a conversion "
        "given a click (cvr), or of both (ctcvr, their product); by default the first that the "
        "live ranker has",
    )
    position: int | None = Field(
        default=None,
        ge=0,
        le=MOST_CANDIDATES - 1,
        description="the place in what is shown, from 0, that probabilities are for; by default "
        "that of the ranker",
    )
    request_id: str | None = Field(
        default=None,
        pattern=REQUEST_ID,
        description="your own name for this request, new each time; by default one is made",
    )
    explain: bool = Field(
        default=False,
        description="say why each candidate got its score; then at most "
        f"{MOST_EXPLAINED} candidates",
    )


class TokenOut(BaseModel):
    """A token of the embedding that ID rows attend to, and the share that it got of both."""

    token: str = Field(
        examples=["ad->product"],
        description="a type: that entity's vector; a relation: where the head looks for its tails; "
        "`a->b`: what the candidate leads to",
    )
    head: float = Field(examples=[0.31], description="of the attention of the head's row, 0 to 1")
    tail: float = Field(examples=[0.12], description="of the attention of the candidate's row")


class FieldOut(BaseModel):
    """What one field adds to a score."""

    field: str = Field(
        examples=["user.counters"],
        description="type and attribute; `id`: what was learned of this very id; `counters`: how "
        "often shown, how often with outcome; `vector`: the embedding; `a->b`: as in tokens",
    )
    change: float = Field(
        examples=[0.42],
        description="by how much the logit would be lower if the field were blank; below 0 it "
        "would be higher; for the order ctcvr the sum of both logits",
    )


class WhyOut(BaseModel):
    """Why a candidate got its score."""

    tokens: list[TokenOut] = Field(description="heaviest first; none without attention")
    fields: list[FieldOut] = Field(description="the strongest five")
    without_offsite: float = Field(
        examples=[0.37],
        description="the score if the head opted out: folded in from onsite outcomes, and nothing "
        "used that was learned about this very id",
    )
    without_kge: float = Field(
        examples=[0.21], description="the score if no vector of head and candidate were known"
    )


class ScoreOut(BaseModel):
    """A candidate and the calibrated probabilities that the ranker knows of."""

    id: str = Field(examples=["a1"])
    score: float = Field(examples=[0.42], description="what candidates are ordered by")
    probabilities: dict[str, float] = Field(
        examples=[{"ctr": 0.42, "cvr": 0.07}],
        description="of a click (ctr), and of a conversion given a click (cvr)",
    )
    known: bool = Field(description="whether training saw the candidate")
    cold: bool = Field(
        examples=[False], description="its vector is folded in from the edges it has now"
    )
    edges: int = Field(examples=[0], description="edges that a cold candidate was folded in from")
    why: WhyOut | None = Field(default=None, description="where `explain` asked for it")


class LeftOutOut(BaseModel):
    """A candidate that gets no score."""

    id: str = Field(examples=["a9"])
    reason: Literal["retired", "merged"]
    merged_into: str | None = Field(examples=[None], description="the id to ask for instead")


class ScoresOut(BaseModel):
    """Candidates, best first, and the versions that scored them."""

    request_id: str = Field(
        examples=["5f2c1d0e9a"], description="impressions may name it, so that outcomes are joined"
    )
    scores: list[ScoreOut]
    left_out: list[LeftOutOut]
    state: Literal["learned", "cold", "unknown"] = Field(
        description="the head's vector: learned in training, folded in from the edges it has now "
        "(cold), or the prior of its type (unknown)"
    )
    order: str = Field(examples=["ctr"], description="what `score` is: ctr, cvr, or ctcvr")
    position: int | None = Field(
        examples=[0],
        description="the place that probabilities are for; null where the ranker does not mind",
    )
    folded_edges: int = Field(examples=[0], description="edges that a cold head was folded in from")
    merged_into: str | None = Field(
        examples=[None], description="the id that holds now, where the head was merged"
    )
    bundle: str
    index: str
    ranker: str


@router.post("/score", summary="Score candidates for one entity", response_model=ScoresOut)
async def post_score(
    services: ServicesOf,
    key: KeyOf,
    body: ScoreRequest,
    x_request_id: Annotated[
        str | None, Header(pattern=REQUEST_ID, description="the same as `request_id`")
    ] = None,
    explain: Annotated[bool, Query(description="the same as `explain` in the body")] = False,
) -> Response:
    asked = body.model_copy(
        update={
            "request_id": body.request_id or x_request_id,
            "explain": explain or body.explain,
        }
    )
    return await services.turns.take(key, lambda: _answered(services, asked))


def _answered(services: Services, body: ScoreRequest) -> Response:
    """The answer, kept as well."""
    trio = services.live.trio()
    answerer = Answerer(services.database, services.schema, services.settings.foldin_edges)
    head = EntityId(body.head.type, body.head.id)
    found = answerer.score(
        trio,
        head,
        body.candidates,
        order=body.order,
        position=body.position,
        explain=body.explain,
    )
    request_id = body.request_id or uuid4().hex
    services.answers.put(kept_answer(request_id, trio, head, found))
    answer = {
        "request_id": request_id,
        "scores": [_score(one) for one in found.items],
        "left_out": found.left_out,
        "state": found.head.state,
        "order": found.order,
        "position": found.position,
        "folded_edges": found.head.edges,
        "merged_into": None if found.head.entity == head else found.head.entity.id,
        **trio.versions,
    }
    # As of neighbors: to have a model check a thousand candidates takes longer than to score some.
    return Response(orjson.dumps(answer), media_type="application/json")


def _score(one: Scored) -> dict[str, Any]:
    """As `ScoreOut` says."""
    told = one._asdict()
    if one.why is not None:
        told["why"] = _why(one.why).model_dump()
    return told


def _why(reason: Reason) -> WhyOut:
    return WhyOut(
        tokens=[TokenOut(**token._asdict()) for token in reason.tokens],
        fields=[FieldOut(**field._asdict()) for field in reason.fields],
        without_offsite=reason.without_offsite,
        without_kge=reason.without_kge,
    )


def kept_answer(request_id: str, trio: Trio, head: EntityId, found: Scores) -> Answer:
    """The answer as it is written down."""
    return Answer(
        request_id=request_id,
        asked_at=int(time()),
        head=head,
        tail_type=trio.ranker.tail_type,
        state=found.head.state,
        items=[Item(item.id, item.score) for item in found.items],
        order=found.order,
        position=found.position,
        **trio.versions,
    )
