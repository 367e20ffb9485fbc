"""The verbs that make the graph and fill it.

Takes files and folders, prints what became of them; never answers a question about the graph.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.errors import Invalid
from api.opening import open_database
from api.printing import AsJson, Output, Ticker, out
from api.settings import read_settings

if TYPE_CHECKING:
    from api.loading import Loaded

data_app = typer.Typer()

_PREVIEWED = 5
SOME_REJECTED = 3


@data_app.command()
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


@data_app.command()
def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(help="Lines of JSON, or with --mapping CSV, TSV or Parquet.", exists=True),
    ],
    *,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML that says how rows become events.")
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="Take events of any age.")] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="Where rows that are not taken go, with the reason.", dir_okay=False, writable=True
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, show the first events, and write nothing but --rejects.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read events from files into the graph."""
    from api.gathering import Gathering
    from api.intake import Intake
    from api.loading import load
    from api.reading.files import EventFile
    from api.reading.mapping import load_mapping
    from api.rehearsal import empty_graph, schema_to_be
    from api.schemas import Schemas
    from api.targets import unfit
    from graphsvc.ingest import STATUSES, Rules

    if rejects and (why := unfit(rejects, [*files, *([mapping] if mapping else [])])):
        raise typer.BadParameter(why, param_hint="--rejects")
    read_by = load_mapping(mapping) if mapping else None
    opened = [EventFile(file, read_by) for file in files]
    rules = Rules(late_seconds=read_settings().late_seconds, backfill=backfill)
    with ExitStack() as stack:
        if dry_run:
            schema, which = schema_to_be(read_settings())
            database = stack.enter_context(empty_graph(schema))
        else:
            database, which = open_database(), ""
            stack.callback(database.dispose)
        ticker = stack.enter_context(Ticker("dry run" if dry_run else "ingest", quiet=as_json))
        intake = Intake(gathering=Gathering(database), schemas=Schemas(database), rules=rules)
        show = _PREVIEWED if dry_run else 0
        loaded = load(opened, intake, rejects=rejects, tick=ticker.tick, show=show)
    counts: dict[str, int] = {status: loaded.counts[status] for status in STATUSES}
    found = {**counts, "first_rejections": loaded.first}
    out(_dry(loaded, found, which, rejects) if dry_run else Output(found), as_json=as_json)
    if counts["rejected"] or counts["conflict"]:
        raise typer.Exit(SOME_REJECTED)


def _dry(loaded: "Loaded", found: dict[str, Any], schema: str, rejects: Path | None) -> Output:
    """What a dry run says: the first events, what would become of all, and what it cannot know."""
    but = f" but {rejects}" if rejects else ""
    return Output(
        {"events": loaded.shown, "checked": loaded.events, **found, "schema": schema},
        table=("events", ("file", "line", "event", "rejected")),
        note=f"showing {len(loaded.shown)} of {loaded.events} events; nothing was written{but}. "
        "All were checked as in an empty graph: what is stored already may make some a duplicate "
        "or a conflict, or refuse a merge.",
    )


@data_app.command()
def dataset(
    name: Annotated[str, typer.Argument(help="ml-100k, retailrocket or triples")],
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Its folder, zip or file; for triples, the file to train on."),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Other triples of the same graph, e.g. valid and test: only counted."),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What stands between type and id, e.g. user:42.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Write the events here, one per line.")] = None,
    ingest: Annotated[bool, typer.Option("--ingest", help="Put them into the graph.")] = False,
    as_json: AsJson = False,
) -> None:
    """A known data set, or any triples, as events with the schema that they need.

    The schema is written beside the events, as FILE.schema.toml.
    """
    from api.datasets import named, put, schema_beside, write
    from api.targets import unfit

    if (to is None) == (not ingest):
        raise Invalid("one of --to FILE and --ingest should be given")
    for target in (to, schema_beside(to)) if to else ():
        if why := unfit(target, [*([source] if source else []), *(held_out or [])]):
            raise typer.BadParameter(why, param_hint="--to")
    found = named(name, source, held_out or [], prefix=prefix)
    if to is not None:
        out(Output(write(found, to)), as_json=as_json)
        return
    with ExitStack() as stack:
        database = open_database()
        stack.callback(database.dispose)
        with Ticker(name, quiet=as_json) as ticker:
            counts = put(found, database, ticker.tick)
    out(Output({**found.about(), **counts}), as_json=as_json)
    if counts["rejected"] or counts["conflict"]:
        raise typer.Exit(SOME_REJECTED)


@data_app.command()
def simulate(
    to: Annotated[Path, typer.Option(help="Where the events go: .parquet, .ndjson or .jsonl.")],
    *,
    events: Annotated[int | None, typer.Option(min=1, help="How many.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Those of so many days.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one is another market.")] = 0,
    null: Annotated[
        list[str] | None, typer.Option(help="Switch off: offsite, interactions or kge.")
    ] = None,
    dial: Annotated[
        list[str] | None, typer.Option("--set", help="A dial of the world, e.g. people=5000.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A synthetic ads market with known truth, as events of the schema `ads`.

    The truth is written beside the events, as FILE.truth.parquet; and for a table how it is read.
    """
    from api.simulating import beside, world_of, write
    from api.targets import unfit

    if events is None and days is None:
        raise Invalid("one of --events and --days should be given, or both")
    if days == 0:
        raise Invalid("--days should be above 0, received 0")
    world = world_of(seed, null or [], dial or [])
    for target in (to, *beside(to).values()):
        if why := unfit(target, []):
            raise typer.BadParameter(why, param_hint="--to")
    with Ticker("simulate", quiet=as_json) as ticker:
        told = write(world, to, events=events, days=days, tick=ticker.tick)
    out(Output(told, table=("auc", ("of", "expected", "realised", "rows"))), as_json=as_json)


@data_app.command()
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
