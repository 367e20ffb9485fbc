"""API keys that were verified a moment ago, so that not every request asks the database.

Takes what a caller presents, gives the id of its key; holds digests, never a key, and forgets each
within a second: for so long a key may still open after it was revoked.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from graphsvc import keys
from graphsvc.db import Database

#: For how long what was verified is believed.
SECONDS = 1.0
#: With more than so many, all are verified anew.
_MOST = 1_000


@dataclass(slots=True)
class KnownKeys:
    """The keys of one server process. Any thread may ask."""

    database: Database
    clock: Callable[[], float] = monotonic
    #: Digest of what was presented -> id of its key, and until when that is believed.
    _verified: dict[bytes, tuple[str, float]] = field(default_factory=dict, repr=False)

    def recall(self, presented: str) -> str | None:
        """The id of a key that was verified within the last second; asks nobody."""
        found = self._verified.get(_digest(presented))
        return found[0] if found and self.clock() < found[1] else None

    def verify(self, presented: str) -> str | None:
        """The id of a key as the database has it, or None."""
        until = self.clock() + SECONDS
        with self.database.reading() as connection:
            key_id = keys.verify(connection, presented)
        if key_id is not None:
            now = self.clock()
            held = {one: kept for one, kept in self._verified.items() if kept[1] > now}
            held = held if len(held) < _MOST else {}
            # Another one's may be lost, who is then verified again.
            self._verified = held | {_digest(presented): (key_id, until)}
        return key_id


def _digest(presented: str) -> bytes:
    return hashlib.sha256(presented.encode(errors="replace")).digest()
