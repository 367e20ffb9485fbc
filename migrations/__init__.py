"""The tables' history: brings a database of any earlier version to the present one.

Takes a database URL, gives migrated tables; never touches artifacts. `upgrade` is what the service
calls; `alembic -x url=... <command>` is for people.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import make_url


def configuration(url: str) -> Config:
    """Alembic's configuration for one database, wherever the working directory is."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url  # not an option: a % in a password would be interpolated
    return config


def upgrade(url: str) -> None:
    """Bring a database to the present version; harmless to repeat, by several processes at once.

    Makes the folder of an SQLite file that does not exist yet.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    command.upgrade(configuration(url), "head")


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier revision, or to `base`: an empty database."""
    command.downgrade(configuration(url), revision)
