"""The list of erasures as a file beside the database, for backups, and what a restore does with it.

Takes a database, keeps `erasures.jsonl` as the database has the list; takes such a file, puts who
is missing on the list. Never holds an id: people stand there by keyed digests, under the key that
their database has.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from api.errors import Invalid
from api.settings import Settings
from graphsvc import erasures
from graphsvc.db import Database
from graphsvc.ids import DIGEST, NAME

_FILE = "erasures.jsonl"
#: What the first line says: under which key the digests of all others are.
_KEY = "key"


def path_of(settings: Settings) -> Path:
    """Where the list lies."""
    return settings.data_dir / _FILE


def write(database: Database, file: Path) -> None:
    """Write the list as it is; a file that is there is replaced once the new one is whole."""
    with database.reading() as connection:
        listed = [erasures.as_listed(one) for one in erasures.every(connection)]
        key = erasures.key_name(connection)
    half = file.with_name(f"{file.name}.{uuid4().hex[:8]}")  # another process may write as well
    with half.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(one) + "\n" for one in [{_KEY: key}, *listed])
        opened.flush()
        os.fsync(opened.fileno())
    half.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replay(database: Database, file: Path) -> int:
    """Put who is missing on the list, to be erased: how many.

    Raises `Invalid` for a file that is no list, and for one under the key of another database.
    """
    with file.open(encoding="utf-8") as opened:
        lines = [(n, line) for n, line in enumerate(opened, start=1) if line.strip()]
    with database.transaction() as connection:
        _check_key(file, lines[:1], erasures.key_name(connection))
        listed = [_read(file, n, line) for n, line in lines[1:]]
        return sum(erasures.replay(connection, one) is not None for one in listed)


def _check_key(file: Path, first: Sequence[tuple[int, str]], key: str) -> None:
    try:
        found = json.loads(first[0][1])[_KEY]
    except (ValueError, TypeError, KeyError, IndexError):
        found = None
    if not isinstance(found, str):
        raise Invalid(f'{file}, line 1 should be that of a list of erasures: {{"{_KEY}": ...}}')
    if found != key:
        raise Invalid(
            f"{file} should be the list of a database of which this one is an earlier state, and "
            "is under the key of another one: nobody of it could be found here. A backup of before "
            "there was such a key has to be erased from by ids"
        )


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
