"""POST /v1/score: how likely one entity is to click each of some candidates."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.answers import Answerer
from api.deps import ServicesOf
from graphsvc.events import EntityRef
from graphsvc.ids import ID_PATTERN, MAX_ID_LENGTH, EntityId

router = APIRouter(prefix="/v1", tags=["scores"])

MOST_CANDIDATES = 1000
CandidateId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)
]


class ScoreRequest(BaseModel):
    """Who is asked about, and the ids of 1 to 1000 candidates of the ranker's item type."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"head": {"type": "user", "id": "u1"}, "candidates": ["a1", "a2"]}
        },
    )

    head: EntityRef
    candidates: list[CandidateId] = Field(min_length=1, max_length=MOST_CANDIDATES)


class ScoreOut(BaseModel):
    """A candidate and the calibrated probability of the outcome."""

    id: str = Field(examples=["a1"])
    score: float = Field(examples=[0.42])
    known: bool = Field(description="whether training saw the candidate")


class ScoresOut(BaseModel):
    """Candidates, best first, and the versions that scored them."""

    scores: list[ScoreOut]
    state: Literal["learned", "cold", "unknown"] = Field(
        description="the head's vector: learned in training, folded in from the edges it has now "
        "(cold), or the prior of its type (unknown)"
    )
    folded_edges: int = Field(examples=[0], description="edges that a cold head was folded in from")
    bundle: str
    index: str
    ranker: str


@router.post("/score", summary="Score candidates for one entity")
def post_score(services: ServicesOf, body: ScoreRequest) -> ScoresOut:
    trio = services.live.trio()
    answerer = Answerer(services.database, services.schema, services.settings.foldin_edges)
    found = answerer.score(trio, EntityId(body.head.type, body.head.id), body.candidates)
    return ScoresOut(
        scores=[ScoreOut(id=s.id, score=s.score, known=s.known) for s in found.items],
        state=found.head.state,
        folded_edges=found.head.edges,
        **trio.versions,
    )
