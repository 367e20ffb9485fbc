"""How alembic runs here: one transaction, one migration at a time, never waiting for long.

Takes the URL from `migrations.upgrade` or from `alembic -x url=...`, gives migrated tables; never
reads the environment.
"""

from alembic import context
from alembic.util import CommandError
from sqlalchemy import text

from graphsvc.db import Database
from graphsvc.tables import metadata

#: PostgreSQL's advisory lock of migrations; any fixed number.
_LOCK = 0x6D696772
#: A migration that cannot get a table's lock gives up rather than queue everybody behind it.
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "10min"


def _url() -> str:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get(
        "url"
    )
    if not url:
        raise CommandError("say which database: alembic -x url=sqlite:////folder/graph.sqlite ...")
    return str(url)


def _run() -> None:
    database = Database(_url())
    try:
        with database.transaction() as connection:
            if database.is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
                connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
            context.configure(
                connection=connection,
                target_metadata=metadata,
                render_as_batch=not database.is_postgresql,
                compare_server_default=True,
            )
            context.run_migrations()
    finally:
        database.dispose()


_run()
