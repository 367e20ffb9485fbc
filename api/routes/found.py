"""How neighbors look in an answer: items, why each is near, and how they were found.

Takes answers, gives JSON and its description; never searches.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.questions import Answered, Direction, Question
from api.routes.entities import Ref

_DISTANCE = (
    "1 - cosine: 0 is the same direction, 2 the opposite one; with a relation, how far it is from "
    "where the head looks"
)


class StepOut(BaseModel):
    """An edge of a path, as it is walked: out, from head to tail."""

    relation: str = Field(examples=["genre"])
    direction: Direction
    to: Ref


class LeaningOut(BaseModel):
    """An anchor that both vectors lean on; `share`: of the vector that leans on it less.

    Neither of the two themselves, and none with a share below 0.01.
    """

    anchor: Ref
    share: float = Field(examples=[0.2])


class ExplanationOut(BaseModel):
    """Why it is near: shared anchors of training, and paths of at most two edges of now."""

    anchors: list[LeaningOut]
    paths: list[list[StepOut]]


class NeighborOut(Ref):
    """A near entity."""

    distance: float = Field(examples=[0.31], description=_DISTANCE)
    score: float | None = Field(
        default=None,
        examples=[1.2],
        description="there with a relation: the model's, the best one first",
    )
    cold: bool = Field(
        examples=[False],
        description="it has no vector from training (new, or opted out since): folded in from the "
        "edges it has now",
    )
    edges: int = Field(
        examples=[0],
        description="edges that it was folded in from; above 0 though not cold: training knows it, "
        "and it is where its edges of now put it",
    )
    explanation: ExplanationOut | None = Field(
        default=None, examples=[None], description="there where it was asked for"
    )


class FoundOut(BaseModel):
    """The nearest entities, and how they were found."""

    items: list[NeighborOut]
    state: Literal["learned", "cold"] | None = Field(
        description="learned in training, or folded in from the edges it has now (cold); null for "
        "a vector"
    )
    folded_edges: int = Field(
        examples=[0],
        description="edges that it was folded in from; above 0 though learned: it has new edges "
        "since training, and is where its edges of now put it",
    )
    merged_into: str | None = Field(
        examples=[None], description="the id that holds now, where the entity was merged"
    )
    plan: Literal["exact", "approximate"] = Field(
        description="exact: all that may be found was compared"
    )
    recall_estimate: float = Field(
        examples=[1.0],
        description="share of the really nearest that such a search found when the index was built",
    )


def shown(question: Question, found: Answered) -> dict[str, Any]:
    """An answer as `FoundOut` describes it, written without it: there may be thousands of items."""
    items: list[dict[str, Any]] = [
        {
            "type": item.type,
            "id": item.id,
            "distance": item.distance,
            "cold": item.cold,
            "edges": item.edges,
            **({} if item.score is None else {"score": item.score}),
        }
        for item in found.items
    ]
    for item, why in zip(items, found.explanations, strict=False):
        item["explanation"] = {
            "anchors": [
                {"anchor": one.anchor._asdict(), "share": one.share} for one in why.anchors
            ],
            "paths": [_path(path) for path in why.paths],
        }
    of = found.of
    return {
        "items": items,
        "state": of.state if of else None,
        "folded_edges": of.edges if of else 0,
        "merged_into": of.entity.id if of and of.entity != question.entity else None,
        "plan": found.plan,
        "recall_estimate": found.recall,
    }


def _path(path: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"relation": step.relation, "direction": step.direction, "to": step.to._asdict()}
        for step in path
    ]
