"""The command line: one verb per arrow of the picture.

Takes arguments, calls the functions that jobs and routes call, prints tables or JSON. Exit codes:
0 done, 1 could not be done (the reason is on stderr), 2 wrong usage, 3 some events were rejected.
"""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from api.cli_keys import key_app
from api.errors import ApiError, Invalid
from api.opening import open_database
from api.printing import AsJson, Output, Ticker, out
from api.settings import read_settings
from graphsvc import ledger
from graphsvc.artifact import KINDS
from graphsvc.errors import GraphError
from graphsvc.ids import EntityId
from kge.errors import KgeError
from ranking.errors import RankingError

if TYPE_CHECKING:
    from api.jobs.steps import Workshop

app = typer.Typer(
    help="graphsvc: events become a graph, embeddings, rankers and scores.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(key_app, name="key")

Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0)]
Digest = Annotated[str, typer.Argument(help="64 hexadecimal digits.")]

_BATCH = 1000
_SHOWN_REJECTIONS = 10
SOME_REJECTED = 3


@app.command()
def init(*, as_json: AsJson = False) -> None:
    """Create the databases, and a key that is shown once."""
    from api.setup import prepare

    settings = read_settings()
    key = prepare(settings)
    out(
        Output(
            {"data": str(settings.data_dir), "key": key},
            note=None if key else "there is a key already; `graphsvc key create` makes another",
        ),
        as_json=as_json,
    )


@app.command()
def up(*, as_json: AsJson = False) -> None:
    """Run server and worker until Ctrl-C; prepares everything at the first start."""
    from api.processes import run_pair
    from api.setup import prepare

    settings = read_settings()
    key = prepare(settings)
    where = f"http://{settings.host}:{settings.port}"
    out(Output({"url": where, "docs": f"{where}/docs", "key": key}), as_json=as_json)
    raise typer.Exit(run_pair(settings))


@app.command()
def serve() -> None:
    """Run the HTTP server alone."""
    import uvicorn

    from api.setup import prepare

    settings = read_settings()
    key = prepare(settings)
    if key:
        sys.stdout.write(f"API key, shown this once: {key}\n")
        sys.stdout.flush()
    uvicorn.run(
        "api.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.processes,
        log_level="warning",
        access_log=False,  # paths hold ids of people
    )


@app.command()
def worker() -> None:
    """Run the worker alone: it takes jobs from the queue, one at a time."""
    from api.setup import migrate
    from api.worker import run

    settings = read_settings()
    migrate(settings)  # the key is the server's to make and to show
    run(settings)


@app.command()
def ingest(
    file: Annotated[Path, typer.Argument(help="One JSON event per line.", exists=True)],
    *,
    as_json: AsJson = False,
) -> None:
    """Read events from a file of JSON lines into the graph."""
    from api.reading import read_events

    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    rejections: list[dict[str, Any]] = []
    with Ticker("ingest", quiet=as_json) as ticker:
        for batch in read_events(open_database(), read_settings(), file, batch=_BATCH):
            for line, verdict in batch.verdicts:
                counts[verdict.status] += 1
                if verdict.status == "rejected" and len(rejections) < _SHOWN_REJECTIONS:
                    rejections.append({"line": line, **verdict._asdict()})
            ticker.tick(batch.bytes_read, batch.bytes_total, "bytes")
    out(Output({**counts, "first_rejections": rejections}), as_json=as_json)
    if counts["rejected"]:
        raise typer.Exit(SOME_REJECTED)


@app.command()
def snapshot(
    *,
    split: Annotated[str, typer.Option(help="global_time or per_user_time")] = "global_time",
    as_json: AsJson = False,
) -> None:
    """Seal the graph as it is now."""
    from api.jobs import steps
    from api.jobs.requests import RetrainRequest

    request = RetrainRequest.model_validate({"split": split})
    with Ticker("snapshot", quiet=as_json) as ticker:
        digest = steps.snapshot(_workshop(), request, ticker.tick)
    out(Output({"snapshot": digest}), as_json=as_json)


@app.command()
def embed(snapshot: Digest, *, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Train TransRA on a snapshot."""
    from api.jobs import steps

    with Ticker("embed", quiet=as_json) as ticker:
        digest = steps.embed(_workshop(), snapshot, seed=seed, tick=ticker.tick)
    out(Output({"bundle": digest}), as_json=as_json)


@app.command()
def index(bundle: Digest, *, as_json: AsJson = False) -> None:
    """Build the FAISS index of a bundle."""
    from api.jobs import steps

    with Ticker("index", quiet=as_json) as ticker:
        digest = steps.index(_workshop(), bundle, ticker.tick)
    out(Output({"index": digest}), as_json=as_json)


@app.command()
def rank(
    snapshot: Digest,
    bundle: Digest,
    *,
    arm: Annotated[str, typer.Option(help="none, frozen or attention")] = "attention",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a ranker on a snapshot and a bundle."""
    from api.jobs import steps

    with Ticker(f"rank {arm}", quiet=as_json) as ticker:
        digest = steps.rank(
            _workshop(),
            (snapshot, bundle),
            arm=arm,
            seed=seed,
            tick=ticker.tick,
        )
    out(Output({"ranker": digest}), as_json=as_json)


@app.command()
def promote(
    ranker: Digest,
    *,
    reason: Annotated[str, typer.Option(help="Kept with the promotion.")] = "by hand",
    as_json: AsJson = False,
) -> None:
    """Make a ranker and its bundle and index live; an earlier one rolls back."""
    from api.jobs.promotion import promote as promote_trio

    live = promote_trio(open_database(), ranker, reason=reason)
    out(Output(asdict(live)), as_json=as_json)


@app.command()
def retrain(
    *,
    split: Annotated[str, typer.Option(help="global_time or per_user_time")] = "global_time",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Ask the worker for a whole retrain: snapshot to promotion."""
    from api.jobs.queue import JobQueue
    from api.jobs.requests import JobName, RetrainRequest

    database = open_database()
    queue = JobQueue(read_settings().jobs_url, database)
    request = RetrainRequest.model_validate({"split": split, "seed": seed})
    out(Output({"job": queue.enqueue(JobName.RETRAIN, request)}), as_json=as_json)
    queue.close()


@app.command()
def jobs(
    job: Annotated[str | None, typer.Argument(help="A job's id, for its details.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first; or show one."""
    from api.jobs.queue import JobQueue
    from api.routes.jobs import out_of

    database = open_database()
    queue = JobQueue(read_settings().jobs_url, database)
    if job:
        out(Output(out_of(queue.get(job)).model_dump()), as_json=as_json)
    else:
        found = [out_of(item).model_dump() for item in queue.page(limit=limit, offset=0)]
        columns = ("id", "name", "state", "step", "error", "updated_at")
        out(Output({"jobs": found}, table=("jobs", columns)), as_json=as_json)
    queue.close()


@app.command()
def neighbors(
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    k: Annotated[int, typer.Option("-k", min=1, max=1000)] = 10,
    wanted: Annotated[str | None, typer.Option("--type", help="by default TYPE")] = None,
    as_json: AsJson = False,
) -> None:
    """The nearest entities of an entity, by the live bundle."""
    from api.answers import open_answerer

    answerer, trio = open_answerer(read_settings())
    found = answerer.neighbors(trio, EntityId(type_, id_), k=k, type_=wanted)
    items = [{**n.entity._asdict(), "distance": round(n.distance, 4)} for n in found.items]
    table = ("neighbors", ("type", "id", "distance"))
    out(
        Output({"neighbors": items, "state": found.of.state, **trio.versions}, table=table),
        as_json=as_json,
    )


@app.command()
def score(
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    candidates: Annotated[list[str], typer.Argument(help="Ids of candidates.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Score candidates for an entity, by the live ranker."""
    from api.answers import open_answerer

    answerer, trio = open_answerer(read_settings())
    found = answerer.score(trio, EntityId(type_, id_), candidates)
    items = [asdict(item) for item in found.items]
    table = ("scores", ("id", "score", "known"))
    out(
        Output({"scores": items, "state": found.head.state, **trio.versions}, table=table),
        as_json=as_json,
    )


@app.command()
def artifacts(
    *,
    kind: Annotated[
        str | None, typer.Option(help="snapshot, bundle, index, ranker, report")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was sealed, newest first, and what is live."""
    if kind not in (None, *KINDS):
        raise Invalid(f"kind should be one of {', '.join(KINDS)}, received {kind!r}")
    with open_database().reading() as connection:
        page = ledger.artifacts(connection, kind=kind, limit=limit, after=None)
    columns = ("digest", "kind", "state", "about", "created_at")
    rows = [{**asdict(row), "about": _about(row)} for row in page.items]
    out(Output({"artifacts": rows}, table=("artifacts", columns)), as_json=as_json)


@app.command()
def demo(
    *,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the ml-100k files; else they are fetched.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.json"),
    as_json: AsJson = False,
) -> None:
    """Real events to a graph, embeddings, rankers and scores, measured, in minutes."""
    from api.demo.run import run

    run(data, report, as_json=as_json)


def _workshop() -> "Workshop":
    from api.jobs.steps import open_workshop  # torch takes a second to import

    open_database().dispose()  # refuses in one sentence what cannot be opened
    return open_workshop(read_settings())


def _about(row: ledger.ArtifactRow) -> str:
    """What tells an artifact from its siblings: its arm, and how good it is."""
    arm = row.summary.get("arm")
    figures = [f"{name} {value:.4g}" for name, value in row.metrics.items()]
    return ", ".join([f"arm {arm}", *figures] if arm else figures)


def main() -> None:
    """Run the command line; a failure is one sentence on stderr, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        app()
    except (ApiError, GraphError, KgeError, RankingError) as error:
        _fail(str(error))
    except ValidationError as error:  # a dial or a request
        _fail(_one_line(error))


def _fail(sentence: str) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}, "
        f"received {orjson.dumps(item.get('input'), default=str).decode()[:100]}"
        for item in error.errors()
    )
