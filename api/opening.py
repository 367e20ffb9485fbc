"""Opening what a process needs, or saying in one sentence why it cannot be opened.

Takes settings, gives a database that answers and has a schema, and the artifacts; never creates
one.
"""

from api.errors import NothingHere
from api.settings import Settings, read_settings
from graphsvc import ledger, versions
from graphsvc.artifact import ArtifactStore
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


def open_store(settings: Settings, database: Database) -> ArtifactStore:
    """The artifacts; one from which somebody was erased opens as what it became."""

    def successor(digest: str) -> str | None:
        with database.reading() as connection:
            found = ledger.present(connection, digest)
        return None if found == digest else found

    return ArtifactStore(settings.artifacts_dir, successor)
