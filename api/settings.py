"""The only reader of the environment.

Takes `GRAPHSVC_*` variables (and `.env`), gives checked settings that nest the rooms' dials; never
decides anything itself. Nested dials use two underscores: `GRAPHSVC_TRANSRA__DIM=32`.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kge.config import TransRAConfig
from ranking.config import ExamplesConfig, RankerConfig

#: As in graphsvc/db.py.
_BUSY_SECONDS = 30.0


class Settings(BaseSettings):
    """Where things lie, what listens where, and the rooms' dials."""

    model_config = SettingsConfigDict(
        env_prefix="GRAPHSVC_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
    )

    #: Everything that is stored lies here, unless `database_url` points elsewhere.
    data_dir: Path = Path("data")
    #: Where the demo keeps the data it fetched.
    cache_dir: Path = Path("~/.cache/graphsvc").expanduser()
    #: Empty: an SQLite file under `data_dir`. Else e.g. postgresql://user@host/name.
    database_url: str = ""
    #: How long a request waits for another writer of the database before it is answered 503.
    busy_seconds: Annotated[float, Field(ge=0.1, le=600)] = _BUSY_SECONDS
    #: The graph's schema: `ads`, `film`, or a TOML file.
    schema_name: str = Field(default="ads", validation_alias="GRAPHSVC_SCHEMA")
    #: Loopback by default: nothing outside this machine can connect.
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: Server processes; each holds its own copy of the live trio.
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    #: Threads that training uses in the worker. Servers use one per request.
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    #: How often a server asks the ledger whether something was promoted, in seconds.
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.25
    #: How many days after it happened an event may arrive, unless it is a backfill.
    late_days: Annotated[float, Field(gt=0, le=365)] = 7.0
    #: Largest request body, in bytes.
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    #: Largest body of one bulk request, in bytes, unpacked.
    max_bulk_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024 * 1024
    #: How long the answer to a request with an Idempotency-Key is kept, in hours.
    idempotency_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 24.0
    #: Most of these answers that are kept; the oldest go first.
    idempotency_answers: Annotated[int, Field(ge=1)] = 100_000
    #: MiB that these answers take at most, packed.
    idempotency_mib: Annotated[int, Field(ge=1)] = 1024
    #: Most entities kept folded in between two promotions.
    overlay_entities: Annotated[int, Field(ge=1)] = 10_000
    #: Most recent edges that a fold-in looks at.
    foldin_edges: Annotated[int, Field(ge=1, le=10_000)] = 200
    #: How often a server asks the log what is new, in seconds.
    tail_seconds: Annotated[float, Field(gt=0, le=60)] = 0.1
    #: How long answers to score requests are kept, and how many at most.
    answers_days: Annotated[float, Field(gt=0, le=3650)] = 14.0
    answers_rows: Annotated[int, Field(ge=1)] = 1_000_000
    #: Dials of the embedding.
    transra: TransRAConfig = TransRAConfig()
    #: Dials of the labelled rows: how people whom training never saw get a vector.
    examples: ExamplesConfig = ExamplesConfig()
    #: Dials of the rankers; the arm is chosen by the retrain request.
    ranker: RankerConfig = RankerConfig()

    @property
    def late_seconds(self) -> int:
        return round(self.late_days * 86_400)

    @property
    def graph_url(self) -> str:
        """The database of the graph; its `timeout` is how long a writer waits for another one."""
        url = self.database_url or f"sqlite:///{(self.data_dir / 'graph.sqlite').absolute()}"
        if self.busy_seconds == _BUSY_SECONDS or re.search("[?&]timeout=", url):
            return url
        return f"{url}{'&' if '?' in url else '?'}timeout={self.busy_seconds:g}"

    @property
    def jobs_url(self) -> str:
        """The database of the jobs: the same PostgreSQL, or a file beside the graph's.

        SQLite has one writer at a time, so jobs must not wait for events there.
        """
        return self.database_url or f"sqlite:///{(self.data_dir / 'jobs.sqlite').absolute()}"

    @property
    def artifacts_dir(self) -> Path:
        return self.data_dir / "artifacts"


@lru_cache(maxsize=1)
def read_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
