"""The first start: tables, folders, and a key that is shown once.

Takes settings, gives the new key or None; harmless to repeat.
"""

from time import time

from api.jobs.queue import migrate_jobs
from api.settings import Settings
from graphsvc import graph, keys
from graphsvc.db import Database
from graphsvc.schema import load_schema
from migrations import upgrade


def migrate(settings: Settings) -> None:
    """Create or upgrade the folders and both databases; harmless to repeat."""
    schema = load_schema(settings.schema_name)  # refuse a bad schema before anything is written
    settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    settings.data_dir.chmod(0o700)
    upgrade(settings.graph_url)
    migrate_jobs(settings.jobs_url)
    database = Database(settings.graph_url)
    try:
        with database.reading() as connection:
            graph.check_schema(connection, schema)
    finally:
        database.dispose()


def prepare(settings: Settings) -> str | None:
    """Migrate, and make the first key if there is none: its clear text, which the caller shows."""
    migrate(settings)
    database = Database(settings.graph_url)
    try:
        with database.transaction() as connection:
            return keys.create_first(connection, name="first", now=int(time()))
    finally:
        database.dispose()
