"""Is the server alive, and can it serve?"""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import ServicesOf

router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str = Field(examples=["alive"])


class Ready(BaseModel):
    """The database answers; `generation` is 0 until something was promoted."""

    status: str = Field(examples=["ready"])
    generation: int = Field(examples=[1])


@router.get("/live", summary="Whether the process answers")
async def live() -> Alive:  # async: it must answer while all threads wait for the database
    return Alive(status="alive")


@router.get("/ready", summary="Whether the database answers, and which generation is live")
def ready(services: ServicesOf) -> Ready:
    services.database.ping()
    return Ready(status="ready", generation=services.live.generation)
