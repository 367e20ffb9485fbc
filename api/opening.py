"""Opening what a command needs, or saying in one sentence why it cannot be opened.

Takes settings, gives a database that answers and has a schema; never creates one.
"""

from api.errors import NothingHere
from api.settings import read_settings
from graphsvc import versions
from graphsvc.db import Database
from graphsvc.errors import GraphError


def open_database() -> Database:
    """The graph's database. Raises `NothingHere`, `DatabaseUnavailable` or `SchemaMissing`."""
    settings = read_settings()
    if not settings.database_url and not (settings.data_dir / "graph.sqlite").is_file():
        raise NothingHere(
            f"{settings.data_dir}/ holds no graph; `graphsvc init` makes one, "
            "or GRAPHSVC_DATA_DIR should name the folder that has it"
        )
    database = Database(settings.graph_url)
    try:
        with database.reading() as connection:
            there = versions.kept(connection)
            if there:
                versions.current(connection)
    except GraphError:
        database.dispose()
        raise
    if not there:
        database.dispose()
        raise NothingHere(
            "the database holds no graph, or one of before schemas were kept there; "
            "`graphsvc init` makes or upgrades it"
        )
    return database
