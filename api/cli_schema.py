"""The verbs of the schema: show it, change it.

Takes a file of TOML or JSON, gives the version that holds; never changes what is stored.
"""

import json
import tomllib
from pathlib import Path
from time import time
from typing import Annotated, Any

import typer

from api.errors import Invalid
from api.opening import open_database
from api.printing import AsJson, Output, out
from graphsvc import audit, evolution, versions
from graphsvc.schema import Schema, parse_schema, to_document

schema_app = typer.Typer(help="Show the schema, or change it.", invoke_without_command=True)

_LARGEST = 4 << 20


@schema_app.callback()
def show(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the schema that holds, as the document that `schema set` takes."""
    if context.invoked_subcommand is not None:
        return
    database = open_database()
    try:
        with database.reading() as connection:
            held = versions.current(connection)
    finally:
        database.dispose()
    document = to_document(held)
    rows = [
        {"name": event.name, "head": event.head, "tail": event.tail, "source": event.source}
        | {"edge": event.edge, "half_life_days": event.half_life_days}
        for event in held.events.values()
    ]
    columns = ("name", "head", "tail", "source", "edge", "half_life_days")
    shown: dict[str, Any] = {"version": held.version}
    shown |= {"document": document} if as_json else {"name": held.name, "events": rows}
    out(Output(shown, table=None if as_json else ("events", columns)), as_json=as_json)


@schema_app.command("set")
def set_schema(
    file: Annotated[Path, typer.Argument(help="A .toml or .json file.", exists=True)],
    *,
    replay: Annotated[
        bool, typer.Option(help="Go on even if more than 200,000 events are read again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a file the next version. What would orphan stored events is refused with counts."""
    wanted = _read(file)
    database = open_database()
    try:
        with database.transaction() as connection:
            changed = evolution.change(
                connection, wanted, reason="graphsvc schema set", now=int(time()), patient=replay
            )
            about = {"version": changed.schema.version}
            audit.done_by_command(connection, "schema set", about, now=int(time()))
    finally:
        database.dispose()
    out(
        Output({"version": changed.schema.version, "replayed_events": changed.replayed}),
        as_json=as_json,
    )


def _read(file: Path) -> Schema:
    if not file.is_file() or file.stat().st_size > _LARGEST:
        raise Invalid(f"{file} should be a file of at most {_LARGEST} bytes")
    try:
        text = file.read_text()
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # neither format, nor text
        raise Invalid(
            f"{file} should be TOML, or JSON if its name ends in .json: {error}"
        ) from error
    if not isinstance(document, dict):
        raise Invalid(f"{file} should hold an object")
    return parse_schema(document)
