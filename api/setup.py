"""The first start: tables, folders, and a key that is shown once.

Takes settings, gives the new key or None; harmless to repeat.
"""

from time import time

from api.jobs.queue import migrate_jobs
from api.settings import Settings
from graphsvc import keys
from graphsvc.db import Database
from graphsvc.schema import load_schema
from migrations import upgrade


def prepare(settings: Settings) -> str | None:
    """Migrate both databases; make the first key if there is none, and give it in clear."""
    load_schema(settings.schema_name)  # refuse a bad schema before anything is written
    settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    settings.data_dir.chmod(0o700)
    upgrade(settings.graph_url)
    migrate_jobs(settings.jobs_url)
    database = Database(settings.graph_url)
    try:
        with database.transaction() as connection:
            if keys.any_key(connection):
                return None
            return keys.create(connection, name="first", now=int(time()))
    finally:
        database.dispose()
