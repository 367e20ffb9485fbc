"""API keys: `gs_<public id>_<secret>`.

Takes a name, gives the key once; never stores the secret, only the SHA-256 of its 256 random bits
(a slow hash is for secrets that people choose).
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select

from graphsvc.db import wait_for_writers
from graphsvc.errors import KeyMissing
from graphsvc.ids import is_storable
from graphsvc.tables import api_keys

_KEY = re.compile(r"gs_([0-9a-f]{16})_([0-9a-f]{64})")
#: Made once: every request asks this.
_HASH = select(api_keys.c.hash).where(api_keys.c.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known of a key; the secret is not."""

    id: str
    name: str
    created_at: int


def create(connection: Connection, *, name: str, now: int) -> str:
    """Make a key and give its plaintext, which nobody can read again."""
    public_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    connection.execute(
        insert(api_keys).values(id=public_id, hash=_hash(secret), name=name[:200], created_at=now)
    )
    return f"gs_{public_id}_{secret}"


def create_first(connection: Connection, *, name: str, now: int) -> str | None:
    """Make a key if there is none; of several callers at once, one gets it and the others None."""
    wait_for_writers(connection)
    return None if any_key(connection) else create(connection, name=name, now=now)


def verify(connection: Connection, presented: str) -> str | None:
    """The id of the key that was presented, or None. Only reads."""
    parts = _KEY.fullmatch(presented)
    if parts is None:
        return None
    public_id, secret = parts.groups()
    stored = connection.scalar(_HASH, {"id": public_id})
    # An unknown id takes as long as a wrong secret.
    same = hmac.compare_digest(_hash(secret), stored or "0" * 64)
    return public_id if same and stored else None


def any_key(connection: Connection) -> bool:
    """Whether a key exists."""
    return connection.scalar(select(api_keys.c.id).limit(1)) is not None


def list_keys(connection: Connection) -> list[KeyInfo]:
    """All keys, oldest first."""
    rows = connection.execute(
        select(api_keys.c.id, api_keys.c.name, api_keys.c.created_at).order_by(
            api_keys.c.created_at, api_keys.c.id
        )
    )
    return [KeyInfo(*row) for row in rows]


def revoke(connection: Connection, key_id: str) -> None:
    """Delete a key; what presents it from now on is refused. Raises `KeyMissing`."""
    this_key = delete(api_keys).where(api_keys.c.id == key_id)
    if not (is_storable(key_id) and connection.execute(this_key).rowcount):
        raise KeyMissing(f"no API key has the id {key_id!r}")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
