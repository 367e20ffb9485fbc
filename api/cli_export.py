"""The command line's export: a sealed snapshot in the formats of other programs.

Takes arguments, calls `api.exporting`; prints what was written.
"""

from pathlib import Path
from typing import Annotated

import typer

from api.opening import open_database, open_store
from api.printing import AsJson, Output, out
from api.settings import read_settings
from graphsvc.snapshot import open_snapshot

export_app = typer.Typer()


@export_app.command()
def export(
    snapshot: Annotated[str, typer.Argument(help="A snapshot's digest, 64 hexadecimal digits.")],
    *,
    to: Annotated[Path, typer.Option(help="A folder that is empty or not there yet.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet (tables, and edges by id), hetero (PyTorch Geometric), dgl (CSVDataset)",
        ),
    ] = "parquet",
    as_json: AsJson = False,
) -> None:
    """Write a snapshot as Parquet, for PyTorch Geometric or for DGL."""
    from api.exporting import export as write

    opened = open_snapshot(open_store(read_settings(), open_database()), snapshot)
    files = write(opened, format_, to)
    out(Output({"folder": str(to), "format": format_, "files": files}), as_json=as_json)
