"""API keys that were verified a moment ago, so that not every request asks the database.

Takes what a caller presents, gives whose key it is; holds digests, never a key, and forgets each
within a second: for so long a key may still open after it was revoked. When each was last used is
kept here until somebody writes it down.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time

from graphsvc import keys
from graphsvc.db import Database
from graphsvc.keys import Caller

#: For how long what was verified is believed.
SECONDS = 1.0
#: For how long it is remembered that something was a key.
_WHILE = 3600.0
#: With more than so many, all are verified anew.
_MOST = 1_000


@dataclass(slots=True)
class KnownKeys:
    """The keys of one server process. Any thread may ask."""

    database: Database
    clock: Callable[[], float] = monotonic
    #: Digest of what was presented -> whose key it is, and until when that is believed.
    _verified: dict[bytes, tuple[Caller, float]] = field(default_factory=dict, repr=False)
    #: Digest of what was a key -> until when that is remembered.
    _good: dict[bytes, float] = field(default_factory=dict, repr=False)
    #: Id of a key -> when it was last used, of those that nobody has written down.
    _used: dict[str, int] = field(default_factory=dict, repr=False)

    def recall(self, presented: str) -> Caller | None:
        """Whose key it is, if it was verified within the last second; asks nobody."""
        found = self._verified.get(_digest(presented))
        return found[0] if found and self.clock() < found[1] else None

    def verify(self, presented: str) -> Caller | None:
        """Whose key it is by the database, or None."""
        until = self.clock() + SECONDS
        with self.database.reading() as connection:
            caller = keys.verify(connection, presented)
        if caller is not None:
            now = self.clock()
            held = {one: kept for one, kept in self._verified.items() if kept[1] > now}
            held = held if len(held) < _MOST else {}
            # Another one's may be lost, who is then verified again.
            self._verified = held | {_digest(presented): (caller, until)}
            good = self._good if len(self._good) < _MOST else {}
            self._good = good | {_digest(presented): now + _WHILE}
        return caller

    def was_good(self, presented: str) -> bool:
        """Whether this was a key within the last hour; it may have been revoked since."""
        return self.clock() < self._good.get(_digest(presented), 0.0)

    def used(self, key_id: str) -> None:
        """Note that a key has opened something."""
        self._used[key_id] = int(time())

    def write_used(self) -> None:
        """Write down when keys were last used since the last time; what fails is tried again."""
        # What is noted meanwhile goes into the new one.
        noted, self._used = self._used, {}
        if not noted:
            return
        try:
            with self.database.transaction() as connection:
                keys.used(connection, noted)
        except BaseException:
            self._used = noted | self._used
            raise


def _digest(presented: str) -> bytes:
    return hashlib.sha256(presented.encode(errors="replace")).digest()
