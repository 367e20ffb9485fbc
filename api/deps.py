"""What a route needs, opened once per server process.

Takes settings, gives `Services`; never creates anything per request.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.answer_log import AnswerLog
from api.further import Further
from api.gathering import Gathering
from api.jobs.queue import JobQueue
from api.known_keys import KnownKeys
from api.live import Live
from api.rates import Rates
from api.schemas import Schemas
from api.settings import Settings
from api.telemetry import Telemetry
from api.turns import Turns
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.schema import Schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that lives as long as the server."""

    settings: Settings
    database: Database
    known_keys: KnownKeys
    rates: Rates
    gathering: Gathering
    schemas: Schemas
    store: ArtifactStore
    live: Live
    #: A version that somebody looks at beside what is live.
    further: Further
    answers: AnswerLog
    #: Who computes scores has a turn: Python computes one thing at a time, and threads that take it
    #: from each other in the middle of an answer cost half of all answers (decision 72). Others
    #: wait in the event loop, so that no thread waits that somebody else could use.
    turns: Turns
    jobs: JobQueue
    telemetry: Telemetry

    @property
    def schema(self) -> Schema:
        """The present schema; it may be another one at the next request."""
        return self.schemas.present


async def services_of(request: Request) -> Services:
    """The services of the app that a request came to.

    Asynchronous, like all that waits for nothing: what is not gets a thread for each request.
    """
    services: Services = request.app.state.services
    return services


async def body_of(request: Request) -> bytes:
    """The raw body; the app bounds its size."""
    return await request.body()


ServicesOf = Annotated[Services, Depends(services_of)]
BodyOf = Annotated[bytes, Depends(body_of)]
