"""The list of erasures as a file beside the database, for backups, and what a restore does with it.

Takes a database, keeps `erasures.jsonl` as the database has the list; takes such a file, puts who
is missing on the list. Never holds an id: people stand there by keyed digests, under the key that
their database has.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.errors import Invalid
from api.settings import Settings
from graphsvc import erasures
from graphsvc.db import Database
from graphsvc.ids import DIGEST, NAME

_FILE = "erasures.jsonl"


def path_of(settings: Settings) -> Path:
    """Where the list lies."""
    return settings.data_dir / _FILE


def write(database: Database, file: Path) -> None:
    """Write the list as it is; a file that is there is replaced once the new one is whole."""
    with database.reading() as connection:
        listed = [erasures.as_listed(one) for one in erasures.every(connection)]
    half = file.with_suffix(".half")
    with half.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(one) + "\n" for one in listed)
        opened.flush()
        os.fsync(opened.fileno())
    half.replace(file)


def replay(database: Database, file: Path) -> int:
    """Put who is missing on the list, to be erased: how many. Raises `Invalid` for another file."""
    with file.open(encoding="utf-8") as opened:
        listed = [_read(file, n, line) for n, line in enumerate(opened, start=1) if line.strip()]
    with database.transaction() as connection:
        return sum(erasures.replay(connection, one) is not None for one in listed)


def _read(file: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        told = json.loads(line)
        times = [told["asked_at"], told["returned_at"]]
        well = (
            DIGEST.fullmatch(told["subject"])
            and NAME.fullmatch(told["type"])
            and isinstance(times[0], int)
            and isinstance(times[1], int | None)
        )
    except (ValueError, TypeError, KeyError):
        well = False
    if not well:
        raise Invalid(
            f"{file}, line {number} should be one of a list of erasures: an object with type, "
            "subject, asked_at and returned_at"
        )
    return dict(told)
