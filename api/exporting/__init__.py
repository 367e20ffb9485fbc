"""A snapshot for other programs: in their formats, in a folder of its own.

Takes an opened snapshot, gives a folder; never changes a snapshot, never writes a pickle. A format
is a function that fills an empty folder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from api.errors import Invalid
from api.exporting.dgl import write_dgl
from api.exporting.folder import fresh
from api.exporting.hetero import load_heterodata, write_hetero
from api.exporting.tables import write_parquet
from graphsvc.snapshot import Snapshot

__all__ = ["FORMATS", "export", "load_heterodata"]

FORMATS: Final[Mapping[str, Callable[[Snapshot, Path], None]]] = {
    "parquet": write_parquet,
    "hetero": write_hetero,
    "dgl": write_dgl,
}


def export(snapshot: Snapshot, format_: str, to: Path) -> list[str]:
    """Write a snapshot to a folder that is empty or not there; gives the names of its files.

    The folder appears when it is complete. Raises `Invalid`.
    """
    if format_ not in FORMATS:
        raise Invalid(f"format should be one of {', '.join(FORMATS)}, received {format_!r}")
    with fresh(to) as folder:
        FORMATS[format_](snapshot, folder)
    return sorted(path.name for path in to.iterdir())
