"""API keys: `gs_<public id>_<secret>`, each with what it may do, and until when.

Takes a name and scopes, gives the key once; never stores the secret, only the SHA-256 of its 256
random bits (a slow hash is for secrets that people choose).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from graphsvc.db import wait_for_writers
from graphsvc.errors import KeyMissing, KeyRefused
from graphsvc.ids import is_storable
from graphsvc.tables import api_keys

#: What a key may be good for; `admin` is good for all of it. docs/security.md says what each opens.
SCOPES = ("ingest", "read", "score", "train", "admin")
ADMIN = "admin"
#: What a key is good for unless somebody says so: everything but others' keys and the schema.
DEFAULT_SCOPES = SCOPES[:-1]
_KEY = re.compile(r"gs_([0-9a-f]{16})_([0-9a-f]{64})")
_LONGEST_NAME = 200
#: Made once: every request asks this.
_VERIFIED = select(api_keys.c.hash, api_keys.c.scopes, api_keys.c.expires_at).where(
    api_keys.c.id == bindparam("id")
)
_KNOWN = select(
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.created_at,
    api_keys.c.scopes,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
)
_USED = (
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("key"),
        # Another process may have written down a later one.
        func.coalesce(api_keys.c.last_used_at, 0) < bindparam("time"),
    )
    .values(last_used_at=bindparam("time"))
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key was presented, and what it is good for."""

    id: str
    scopes: frozenset[str]
    #: From here on it is good for nothing; None: it does not end.
    expires_at: int | None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or ADMIN in self.scopes

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known of a key; the secret is not."""

    id: str
    name: str
    created_at: int
    scopes: tuple[str, ...]
    expires_at: int | None
    #: To the minute or so; None: never.
    last_used_at: int | None


def create(
    connection: Connection,
    *,
    name: str,
    now: int,
    scopes: Iterable[str] = (ADMIN,),
    expires_at: int | None = None,
) -> str:
    """Make a key and give its plaintext, which nobody can read again. Raises `KeyRefused`."""
    public_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    connection.execute(
        insert(api_keys).values(
            id=public_id,
            hash=_hash(secret),
            name=name[:_LONGEST_NAME],
            created_at=now,
            scopes=" ".join(checked_scopes(scopes)),
            expires_at=_checked_end(expires_at, now),
        )
    )
    return f"gs_{public_id}_{secret}"


def create_first(connection: Connection, *, name: str, now: int) -> str | None:
    """Make a key for everything if there is none; of several callers at once, one gets it.

    The others get None.
    """
    wait_for_writers(connection)
    return None if any_key(connection) else create(connection, name=name, now=now)


def rotate(connection: Connection, key_id: str, *, now: int, grace: int) -> str:
    """Another key of the same name, for the same, in the place of one that ends `grace` s from now.

    A key that was to end ends as long after its beginning as the former one would have. Raises
    `KeyMissing`, and `KeyRefused` for one that has expired.
    """
    wait_for_writers(connection)  # two at once would both make one
    former = _info(connection, key_id)
    if former.expires_at is not None and now >= former.expires_at:
        raise KeyRefused(f"the key {key_id} should not have expired; make a new one instead")
    if connection.scalar(select(api_keys.c.rotated).where(api_keys.c.id == key_id)):
        raise KeyRefused(f"the key {key_id} was rotated before; rotate the one in its place")
    lives = None if former.expires_at is None else former.expires_at - former.created_at
    key = create(
        connection,
        name=former.name,
        now=now,
        scopes=former.scopes,
        expires_at=None if lives is None else now + lives,
    )
    ends = now + grace if former.expires_at is None else min(now + grace, former.expires_at)
    connection.execute(
        update(api_keys).where(api_keys.c.id == key_id).values(expires_at=ends, rotated=True)
    )
    return key


def shaped(presented: str) -> bool:
    """Whether what was presented has the form of a key."""
    return _KEY.fullmatch(presented) is not None


def verify(connection: Connection, presented: str) -> Caller | None:
    """Whose key was presented, which may have expired; None of no key. Only reads."""
    parts = _KEY.fullmatch(presented)
    if parts is None:
        return None
    public_id, secret = parts.groups()
    row = connection.execute(_VERIFIED, {"id": public_id}).one_or_none()
    # An unknown id takes as long as a wrong secret.
    same = hmac.compare_digest(_hash(secret), row.hash if row else "0" * 64)
    if row is None or not same:
        return None
    return Caller(public_id, frozenset(row.scopes.split()), row.expires_at)


def known(connection: Connection, key_id: str) -> Caller | None:
    """What the key of an id is good for now, which may have expired; None: it was revoked."""
    row = connection.execute(_VERIFIED, {"id": key_id}).one_or_none()
    return None if row is None else Caller(key_id, frozenset(row.scopes.split()), row.expires_at)


def any_key(connection: Connection) -> bool:
    """Whether a key exists."""
    return connection.scalar(select(api_keys.c.id).limit(1)) is not None


def list_keys(connection: Connection) -> list[KeyInfo]:
    """All keys, oldest first."""
    rows = connection.execute(_KNOWN.order_by(api_keys.c.created_at, api_keys.c.id))
    return [_as_info(row) for row in rows]


def revoke(connection: Connection, key_id: str) -> None:
    """Delete a key; what presents it from now on is refused. Raises `KeyMissing`."""
    this_key = delete(api_keys).where(api_keys.c.id == key_id)
    if not (is_storable(key_id) and connection.execute(this_key).rowcount):
        raise KeyMissing(f"no API key has the id {key_id!r}")


def used(connection: Connection, times: Mapping[str, int]) -> None:
    """Write down when keys were last used; one that is gone by now is left out."""
    if times:
        rows = [{"key": key, "time": time} for key, time in sorted(times.items())]
        connection.execute(_USED, rows)


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes in their order, each once. Raises `KeyRefused`."""
    named = list(scopes)
    for scope in named:
        if scope not in SCOPES:
            raise KeyRefused(f"scope should be one of {', '.join(SCOPES)}, received {scope!r}")
    if not named:
        raise KeyRefused(f"scope should be one or several of {', '.join(SCOPES)}, received none")
    return tuple(scope for scope in SCOPES if scope in named)


def _checked_end(expires_at: int | None, now: int) -> int | None:
    if expires_at is not None and expires_at <= now:
        raise KeyRefused(f"expires_at should be after now, {now}, received {expires_at}")
    return expires_at


def _info(connection: Connection, key_id: str) -> KeyInfo:
    known = _KNOWN.where(api_keys.c.id == key_id)
    row = connection.execute(known).one_or_none() if is_storable(key_id) else None
    if row is None:
        raise KeyMissing(f"no API key has the id {key_id!r}")
    return _as_info(row)


def _as_info(row: Row[Any, Any, Any, Any, Any, Any]) -> KeyInfo:
    return KeyInfo(
        row.id,
        row.name,
        row.created_at,
        tuple(row.scopes.split()),
        row.expires_at,
        row.last_used_at,
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
