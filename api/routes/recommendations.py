"""POST /v1/recommend: what to show one entity, found by the index and ordered by the ranker."""

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.answers import Answerer
from api.auth import KeyOf
from api.deps import Services, ServicesOf
from api.filters import Filter, Name, check_size
from api.recommending import Cap, Wish, recommend
from api.routes.scores import MOST_CANDIDATES, REQUEST_ID, kept_answer
from graphsvc.events import EntityRef
from graphsvc.ids import EntityId

router = APIRouter(prefix="/v1", tags=["recommendations"])


class CapIn(BaseModel):
    """At most so many that lead to the same entity, e.g. to one advertiser."""

    model_config = ConfigDict(extra="forbid")

    relation: Name = Field(description="a relation of structure from candidates to what is capped")
    most: int = Field(ge=1, le=MOST_CANDIDATES)


class RecommendRequest(BaseModel):
    """For whom, how many, and who may be among them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "head": {"type": "user", "id": "u1"},
                "k": 10,
                "filter": {"must": [{"attribute": "format", "in": ["video", "image"]}]},
                "cap": {"relation": "ad_of_advertiser", "most": 2},
            }
        },
    )

    head: EntityRef
    k: int = Field(default=10, ge=1, le=MOST_CANDIDATES)
    retrieve: int = Field(
        default=200,
        ge=1,
        le=MOST_CANDIDATES,
        description="candidates that the index finds for the ranker; more find what the ranker "
        "would put first more surely, and take longer",
    )
    filter: Filter | None = Field(default=None, description="as of neighbors; of candidates")
    seen: Literal["out", "in"] = Field(
        default="out",
        description="out: none that the head has acted on, by any relation from its type to that "
        "of candidates; what was shown alone leaves no edge, name it under `must_not`",
    )
    relation: Name | None = Field(
        default=None,
        description="find those who complete (head, relation, ?), instead of the nearest",
    )
    order: Literal["ctr", "cvr", "ctcvr"] | None = Field(default=None, description="as of scores")
    position: int | None = Field(default=None, ge=0, le=MOST_CANDIDATES - 1)
    cap: CapIn | None = None
    request_id: str | None = Field(
        default=None,
        pattern=REQUEST_ID,
        description="your own name for this request, new each time; by default one is made",
    )

    @model_validator(mode="after")
    def _finds_enough(self) -> "RecommendRequest":
        if self.retrieve < self.k:
            raise ValueError(f"should retrieve at least k, {self.k}, received {self.retrieve}")
        return self


class RecommendedOut(BaseModel):
    """A candidate, and why it stands where it does."""

    id: str = Field(examples=["a1"])
    score: float = Field(examples=[0.42], description="what candidates are ordered by")
    probabilities: dict[str, float] = Field(examples=[{"ctr": 0.42}])
    distance: float = Field(
        examples=[0.31], description="how far the index found it: 1 - cosine, as of neighbors"
    )
    known: bool = Field(description="whether training saw the candidate")
    cold: bool = Field(
        examples=[False], description="its vector is folded in from the edges it has now"
    )


class RecommendationsOut(BaseModel):
    """Candidates, best first, how they were found, and the versions that answered."""

    request_id: str = Field(
        examples=["5f2c1d0e9a"], description="impressions may name it, so that outcomes are joined"
    )
    items: list[RecommendedOut]
    state: Literal["learned", "cold", "unknown"] = Field(description="as of scores")
    order: str = Field(examples=["ctr"])
    position: int | None = Field(examples=[None])
    retrieved: int = Field(examples=[200], description="candidates that passed and were ranked")
    capped: int = Field(
        examples=[3], description="that stood before the last one shown and were left out by `cap`"
    )
    plan: Literal["exact", "approximate"]
    recall: float = Field(
        examples=[0.98],
        description="share of the nearest that such a search finds, as measured when the index "
        "was built",
    )
    bundle: str
    index: str
    ranker: str


@router.post("/recommend", summary="What to show one entity")
async def post_recommend(
    services: ServicesOf,
    key: KeyOf,
    body: RecommendRequest,
    x_request_id: Annotated[
        str | None, Header(pattern=REQUEST_ID, description="the same as `request_id`")
    ] = None,
) -> RecommendationsOut:
    if body.filter is not None:
        check_size(body.filter)
    request_id = body.request_id or x_request_id or uuid4().hex
    return await services.turns.take(key, lambda: _answered(services, body, request_id))


def _answered(services: Services, body: RecommendRequest, request_id: str) -> RecommendationsOut:
    """The answer, kept as well."""
    trio = services.live.trio()
    answerer = Answerer(services.database, services.schema, services.settings.foldin_edges)
    head = EntityId(body.head.type, body.head.id)
    wish = Wish(
        head=head,
        k=body.k,
        retrieve=body.retrieve,
        filter=body.filter,
        seen=body.seen == "in",
        relation=body.relation,
        order=body.order,
        position=body.position,
        cap=None if body.cap is None else Cap(relation=body.cap.relation, most=body.cap.most),
    )
    found = recommend(answerer, trio, wish)
    scores, distances = found.scores, found.distances
    services.answers.put(kept_answer(request_id, trio, head, scores))
    return RecommendationsOut(
        request_id=request_id,
        items=[
            RecommendedOut(
                id=one.id,
                score=one.score,
                probabilities=dict(one.probabilities),
                distance=distances[one.id],
                known=one.known,
                cold=one.cold,
            )
            for one in scores.items
        ],
        state=scores.head.state,
        order=scores.order,
        position=scores.position,
        retrieved=len(found.found.items),
        capped=found.capped,
        plan=found.found.plan,
        recall=found.found.recall,
        **trio.versions,
    )
