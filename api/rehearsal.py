"""A dry run: the same way as the real one, into an empty graph that is thrown away.

Takes settings, gives the schema that a real run would have and a graph that knows nothing else; so
a dry run can answer what the real one does, except where stored events have a say. The graph lies
in a temporary folder (`TMPDIR`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from api.errors import NothingHere
from api.opening import open_database
from api.settings import Settings
from graphsvc import versions
from graphsvc.db import Database
from graphsvc.errors import SchemaMissing
from graphsvc.schema import Schema, load_schema
from migrations import upgrade


def schema_to_be(settings: Settings) -> tuple[Schema, str]:
    """The schema that holds, or where there is no graph yet the first one; and which it is."""
    try:
        database = open_database()
    except (NothingHere, SchemaMissing):
        first = load_schema(settings.schema_name)
        return first, f"{first.name}, which GRAPHSVC_SCHEMA names; there is no graph yet"
    try:
        with database.reading() as connection:
            held = versions.current(connection)
    finally:
        database.dispose()
    return held, f"{held.name}, version {held.version}"


@contextmanager
def empty_graph(schema: Schema) -> Iterator[Database]:
    """A graph without events under a schema, for as long as the block lasts."""
    with TemporaryDirectory(prefix="graphsvc-dry-run-") as folder:
        url = f"sqlite:///{Path(folder) / 'graph.sqlite'}"
        upgrade(url)
        database = Database(url)
        try:
            with database.transaction() as connection:
                versions.seed(connection, schema, now=int(time()))
            yield database
        finally:
            database.dispose()
