"""The HTTP application: opens what lives long, mounts the routes, closes it all again.

Takes settings, gives a FastAPI app; holds no route of its own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from api import garbage, heap, logs, openapi, placing, problems, threads
from api.admitting import AdmittedRequests
from api.answer_log import AnswerLog
from api.auditing import AuditedRequests
from api.bounds import BoundedRequests
from api.deps import Services
from api.further import Further
from api.gathering import Gathering
from api.housekeeping import Housekeeping
from api.idempotency import Idempotent
from api.jobs.queue import JobQueue
from api.known_keys import KnownKeys
from api.live import Following, Live
from api.opening import open_store
from api.queries import KnownQuery
from api.rates import Rates
from api.routes import KEYED, OPEN, KeyNeeded, bulk
from api.schemas import Schemas
from api.settings import Settings, read_settings
from api.telemetry import Telemetry, TimedRequests
from api.tracing import TracedRequests
from api.turns import Turns
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database

_DESCRIPTION = (
    "Post events, ask for a retrain, get neighbors and scores. Errors are RFC 9457 problem "
    "documents. Every path under /v1 needs the API key as a bearer token."
)

#: Scores that a process computes at once. PostgreSQL answers from another process: meanwhile there
#: is somebody to compute.
_TURNS_SQLITE, _TURNS_POSTGRESQL = 1, 2


def _turns(database: Database) -> int:
    return _TURNS_POSTGRESQL if database.is_postgresql else _TURNS_SQLITE


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; nothing is opened before it starts."""
    telemetry = Telemetry()
    # The documentation page's scripts come from this server, not from a stranger's.
    app = FastAPIOffline(
        redoc_url=None,
        title="graphsvc",
        version=version("graphsvc"),
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, telemetry),
    )
    streams = frozenset({bulk.PATH})
    app.add_middleware(AuditedRequests)
    app.add_middleware(Idempotent, streams=streams)
    app.add_middleware(BoundedRequests, most_bytes=settings.max_body_bytes, streams=streams)
    app.add_middleware(
        AdmittedRequests,
        most=settings.requests_at_once,
        most_mib=settings.bodies_mib,
        streams=streams,
    )
    app.add_middleware(TimedRequests, telemetry=telemetry)
    app.add_middleware(TracedRequests, told=settings.log_requests)
    problems.install(app)
    for router in OPEN:
        app.include_router(router)
    for router in KEYED:
        needed = [KeyNeeded, KnownQuery]
        app.include_router(router, dependencies=needed, responses=problems.DOCUMENTED)
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    openapi.complete(app)
    return app


def from_environment() -> FastAPI:
    """The application for the environment's settings; what uvicorn's processes call."""
    heap.share()
    settings = read_settings()
    app = create_app(settings)
    if settings.page_here:
        from api.ui.mount import mount  # it takes a fifth of a second

        mount(app, settings.page_origin)
    elif settings.page:
        from api.ui import elsewhere

        app.include_router(elsewhere.router(settings.page_port))
    logs.begin(settings.logs, told=logs.SERVED)
    garbage.settle()
    return app


def _lifespan(
    settings: Settings, telemetry: Telemetry
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threads.cap(1)  # requests run side by side already
        database = Database(settings.graph_url)
        store = open_store(settings, database)
        schemas = Schemas(database)
        live = _live(settings, database, store, schemas, telemetry)
        answers = AnswerLog(
            database=database,
            on_written=telemetry.answers.labels("written").inc,
            on_dropped=telemetry.answers.labels("dropped").inc,
        )
        telemetry.watch_overlay(folded=lambda: live.folded, lag=lambda: live.lag)
        jobs, known = JobQueue(settings.jobs_url, database), KnownKeys(database)
        further = Further(live)
        app.state.services = Services(
            settings=settings,
            database=database,
            known_keys=known,
            rates=Rates(settings.rates, settings.processes),
            gathering=Gathering(database),
            schemas=schemas,
            store=store,
            live=live,
            further=further,
            answers=answers,
            turns=Turns(settings.scores_at_once or _turns(database)),
            jobs=jobs,
            telemetry=telemetry,
        )
        schemas.follow(settings.poll_seconds)
        live.follow(settings.poll_seconds)
        answers.start()
        housekeeping = _housekeeping(settings, database, known)
        housekeeping.start()
        try:
            yield
        finally:
            housekeeping.stop()
            further.stop()
            live.stop()
            answers.stop()
            schemas.stop()
            jobs.close()
            database.dispose()

    return lifespan


def _live(
    settings: Settings,
    database: Database,
    store: ArtifactStore,
    schemas: Schemas,
    telemetry: Telemetry,
) -> Live:
    return Live(
        database=database,
        store=store,
        schema=lambda: schemas.present,
        following=Following(
            overlay_entities=settings.overlay_entities,
            most_edges=settings.foldin_edges,
            relation_bytes=settings.index.relation_mib << 20,
            tail_seconds=settings.tail_seconds,
            tiers=placing.tiers_of(settings.tiers),
            exported=settings.forward == "onnx",
        ),
        on_swap=telemetry.generation.set,
    )


def _housekeeping(settings: Settings, database: Database, known: KnownKeys) -> Housekeeping:
    return Housekeeping(
        database,
        answers_days=settings.answers_days,
        answers_rows=settings.answers_rows,
        keyed_hours=settings.idempotency_hours,
        keyed_rows=settings.idempotency_answers,
        keyed_mib=settings.idempotency_mib,
        write_used=known.write_used,
    )
