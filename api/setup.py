"""The first start: tables, folders, and a key that is shown once.

Takes settings, gives the new key or None; harmless to repeat. `GRAPHSVC_SCHEMA` is the schema's
first version; from then on the database has it.
"""

import logging
from time import time

from api.jobs.queue import migrate_jobs
from api.settings import Settings
from graphsvc import audit, keys, versions
from graphsvc.db import Database
from graphsvc.errors import SchemaError
from graphsvc.schema import load_schema
from migrations import upgrade

_log = logging.getLogger("graphsvc.schema")


def migrate(settings: Settings) -> None:
    """Create or upgrade the folders and both databases; harmless to repeat."""
    new = not settings.database_url and not (settings.data_dir / "graph.sqlite").is_file()
    if new:
        load_schema(settings.schema_name)  # refuse a bad schema before anything is written
    settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    settings.data_dir.chmod(0o700)
    upgrade(settings.graph_url)
    migrate_jobs(settings.jobs_url)
    database = Database(settings.graph_url)
    try:
        _seed(database, settings)
    finally:
        database.dispose()


def prepare(settings: Settings) -> str | None:
    """Migrate, and make the first key if there is none: its clear text, which the caller shows."""
    migrate(settings)
    database = Database(settings.graph_url)
    try:
        with database.transaction() as connection:
            now = int(time())
            key = keys.create_first(connection, name="first", now=now)
            if key:
                audit.done_by_command(connection, "init", {"key": key.split("_")[1]}, now=now)
            return key
    finally:
        database.dispose()


def _seed(database: Database, settings: Settings) -> None:
    """Put the first schema there, or say that the one which is there counts."""
    with database.reading() as connection:
        stored = versions.current(connection) if versions.version(connection) else None
    if stored is None:
        first = load_schema(settings.schema_name)
        with database.transaction() as connection:
            versions.seed(connection, first, now=int(time()))
        return
    try:
        named = load_schema(settings.schema_name)
    except SchemaError:  # a file that was there once; what it said is stored
        return
    if named.name != stored.name:
        _log.warning(
            "GRAPHSVC_SCHEMA names the schema %r; the database has %r, version %d, which counts; "
            "`graphsvc schema set` changes it",
            named.name,
            stored.name,
            stored.version,
        )
