"""Who has signed in: tokens in this process's memory, that end by themselves.

Takes ids of keys, gives tokens that browsers keep; holds digests of them, and no key. Whatever a
page does goes by the digest of its session, so that none goes on behind its end.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from graphsvc.ids import EntityId

#: A session ends when nobody has used it for so long, in seconds, and after a day in any case.
IDLE_SECONDS, LONGEST_SECONDS = 3600.0, 86_400.0
#: With more, those that were used least lately end; of one key as well.
_MOST, _MOST_OF_ONE = 1000, 20


@dataclass(slots=True)
class _Session:
    key: str
    begun: float
    used: float
    #: The entity that the next view is to begin with: its type and id.
    handed: EntityId | None = None


@dataclass(slots=True)
class Sessions:
    """The sessions of one server process; used in its event loop, so by one at a time."""

    clock: Callable[[], float] = monotonic
    _held: dict[str, _Session] = field(default_factory=dict, repr=False)

    def begin(self, key: str) -> str:
        """A token for whoever holds the key of this id."""
        now = self.clock()
        self._held = {one: held for one, held in self._held.items() if self._alive(held, now)}
        self._make_room([one for one, held in self._held.items() if held.key == key], _MOST_OF_ONE)
        self._make_room(list(self._held), _MOST)
        token = secrets.token_urlsafe(32)
        self._held[_digest(token)] = _Session(key, now, now)
        return token

    def find(self, token: str) -> str | None:
        """The session that a token was given for, by its digest, or None."""
        return _digest(token) if self.key(_digest(token)) else None

    def key(self, session: str, *, used: bool = True) -> str | None:
        """The id of the key of a session, which is used by that; None: it has ended.

        `used` is False where nobody did anything: a view that is left open asks by itself.
        """
        held, now = self._held.get(session), self.clock()
        if held is None or not self._alive(held, now):
            return None
        if used:
            held.used = now
        return held.key

    def hand(self, session: str, entity: EntityId) -> None:
        """What the next view is to begin with, so that it need not be in an address."""
        if held := self._held.get(session):
            held.handed = entity

    def handed(self, session: str) -> EntityId | None:
        """What a view handed over to this one; None from the second time on."""
        held = self._held.get(session)
        if held is None:
            return None
        entity, held.handed = held.handed, None
        return entity

    def end(self, token: str) -> None:
        """Whoever holds this token has signed out."""
        self._held.pop(_digest(token), None)

    def _make_room(self, among: list[str], most: int) -> None:
        oldest = sorted(among, key=lambda one: self._held[one].used)
        for one in oldest[: max(0, len(among) - most + 1)]:
            del self._held[one]

    @staticmethod
    def _alive(held: _Session, now: float) -> bool:
        return now - held.used < IDLE_SECONDS and now - held.begun < LONGEST_SECONDS


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
