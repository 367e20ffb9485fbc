"""The one place where ids and digests are minted.

Takes names and bytes, gives ids; never stores anything.
"""

import hashlib
import json
import re
from pathlib import Path
from secrets import randbits
from typing import Any, NamedTuple
from uuid import UUID

#: A sealed artifact's name: 64 lower-case hexadecimal digits of SHA-256.
DIGEST = re.compile(r"^[0-9a-f]{64}$")

#: Names of entity types, relations, events and attributes.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")

#: Application ids: anything but control characters.
ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"

#: Longest application id of an entity or event, in characters.
MAX_ID_LENGTH = 256

_BLOCK = 1 << 20
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class EntityId(NamedTuple):
    """An entity as applications know it: its type and its own id within that type."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


def is_storable(text: str) -> bool:
    """Whether both databases can hold a text: it has no null byte and no half surrogate pair.

    What cannot be stored was never stored, so whoever looks it up need not ask.
    """
    return _UNSTORABLE.search(text) is None


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of_json(value: Any) -> str:
    """SHA-256 of the canonical form of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def id_by_time(now_ns: int) -> str:
    """A UUID of version 7 for a moment: the later one is the greater text, to a 4096th of a ms."""
    milliseconds, rest = divmod(now_ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    head = (milliseconds & (2**48 - 1)) << 16 | 7 << 12 | fraction
    return str(UUID(int=head << 64 | 2 << 62 | randbits(62)))


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks of 1 MiB."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
    return state.hexdigest()
