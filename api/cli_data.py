"""The verbs that make the graph and fill it.

Takes files and folders, prints what became of them; never answers a question about the graph.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.opening import open_database
from api.printing import AsJson, Output, Ticker, out
from api.settings import read_settings

data_app = typer.Typer()

_BATCH = 1000
_SHOWN_REJECTIONS = 10
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
    file: Annotated[Path, typer.Argument(help="One JSON event per line.", exists=True)],
    *,
    as_json: AsJson = False,
) -> None:
    """Read events from a file of JSON lines into the graph."""
    from api.reading import read_events

    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    rejections: list[dict[str, Any]] = []
    with Ticker("ingest", quiet=as_json) as ticker:
        for batch in read_events(open_database(), file, batch=_BATCH):
            for line, verdict in batch.verdicts:
                counts[verdict.status] += 1
                if verdict.status == "rejected" and len(rejections) < _SHOWN_REJECTIONS:
                    rejections.append({"line": line, **verdict._asdict()})
            ticker.tick(batch.bytes_read, batch.bytes_total, "bytes")
    out(Output({**counts, "first_rejections": rejections}), as_json=as_json)
    if counts["rejected"]:
        raise typer.Exit(SOME_REJECTED)


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
