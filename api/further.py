"""A version that is not live, for whoever wants to see it beside the live one.

Takes the digests of a ranker and its bundle, gives a trio of them that has caught up with the log;
never holds more than one, nor for long, and answers no request: what is live does.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from api import memory
from api.errors import NoRoom, WrongState
from api.live import Live, Trio
from graphsvc import decisions, ledger
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Connection, Database
from graphsvc.errors import GraphError

#: It is let go of when nobody has asked for it for so long.
IDLE_SECONDS = 300.0
_LOOK_SECONDS = 1.0
#: For how long somebody waits while another one loads or asks.
_PATIENCE_SECONDS = 1.0
#: How long the log is read at most before an answer.
_CATCH_UP_SECONDS = 0.5
#: What is held of files that were opened is some twice their bytes; what is not of files, in bytes.
_TIMES, _BESIDES = 2, 64 << 20
_MIB = 1 << 20


class Version(NamedTuple):
    """A ranker, and the bundle that it answers with."""

    ranker: str
    bundle: str


class Choice(NamedTuple):
    """A version that could be looked at, and what is known of it."""

    version: Version
    #: When it was sealed, or the gate was asked about it.
    at: int
    #: What the gate said of it the last time; "" where it was not asked.
    decision: str
    #: Whether a job has put it before the gate.
    by_job: bool


@dataclass(slots=True)
class _Held:
    version: Version
    trio: Trio
    #: What was live when it was loaded, and how many were erased: it goes with the next of either.
    stamp: tuple[int, int]
    used: float


@dataclass(slots=True)
class Further:
    """The further version of a server process, if somebody looks at one."""

    live: Live
    #: Bytes that could be taken now.
    free: Callable[[], int] = memory.free
    clock: Callable[[], float] = monotonic
    #: What is being opened at this moment; "" where nothing is.
    doing: str = ""
    _held: _Held | None = field(default=None, repr=False)
    _watching: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def version(self) -> Version | None:
        """What is held now."""
        return self._held.version if self._held else None

    def trio(self, version: Version) -> Trio:
        """The trio of a version; another one that was held is let go of. It may take seconds.

        Raises `NoRoom`, `WrongState` while somebody else's is being loaded, `ArtifactMissing`,
        `PromotionRefused` where it has no index, and what opening raises.
        """
        with self._alone():
            held = self._held
            if held is None or held.version != version or held.stamp != self.live.stamp:
                self._held = held = None
                self._held = held = self._loaded(version)
            tail, until = held.trio.tail, monotonic() + _CATCH_UP_SECONDS
            while tail.step() and monotonic() < until:
                pass
            held.used = self.clock()
            return held.trio

    def look(self) -> bool:
        """Let go of what nobody asks for, or of before a promotion or erasure; whether it stays."""
        with self._lock:
            held = self._held
            idle = held is not None and self.clock() - held.used > IDLE_SECONDS
            if held is None or idle or held.stamp != self.live.stamp:
                self._held, self._watching = None, False
            return self._watching

    def stop(self) -> None:
        """Hold nothing any more."""
        self._stop.set()
        with self._lock:
            self._held = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # A thread that waits here is one that no request can have meanwhile.
        if not self._lock.acquire(timeout=_PATIENCE_SECONDS):
            raise WrongState(
                "another version is being loaded for somebody else; ask again in a moment"
            )
        try:
            yield
        finally:
            self.doing = ""
            self._lock.release()

    def _loaded(self, version: Version) -> _Held:
        self.doing = "the ledger"
        stamp = self.live.stamp
        with self.live.database.reading() as connection:
            bundle, index, ranker = ledger.trio_of(connection, version.ranker, version.bundle)
            forward = ledger.forward_of(connection, ranker)
        parts = {"bundle": bundle, "index": index, "ranker": ranker}
        self._check_room(parts)
        other = ledger.Live(generation=0, **parts)
        trio = self.live.beside(other, forward, self._tell)
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="further-version", daemon=True).start()
        return _Held(version, trio, stamp, self.clock())

    def _tell(self, part: str) -> None:
        self.doing = part

    def _check_room(self, parts: dict[str, str]) -> None:
        """Raise `NoRoom` where less is free than twice what it is thought to take.

        The other half is for what is live, and for a worker that trains meanwhile.
        """
        folders = [self.live.store.path(kind, digest) for kind, digest in parts.items()]
        files = sum(one.stat().st_size for folder in folders for one in folder.glob("*"))
        needed, there = _TIMES * files + _BESIDES, self.free()
        if 2 * needed > there:
            raise NoRoom(
                f"ranker {parts['ranker'][:8]} and its bundle take some {needed // _MIB:,} MiB, "
                f"and {there // _MIB:,} MiB are free, of which half are left alone; look at it "
                "in a server with more memory"
            )

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS) and self.look():
            pass


def choices(database: Database, store: ArtifactStore, *, most: int) -> list[Choice]:
    """Versions that are not live and that can be opened, newest first; those of the gate as well.

    A refresh puts a former ranker before the gate with a bundle that it was not trained on.
    """
    with database.reading() as connection:
        live = ledger.live(connection)
        rankers = ledger.artifacts(connection, kind="ranker", limit=most).items
        # What was asked of the gate is told with what that said; the last word counts.
        found = [
            Choice(
                Version(said.ranker, said.bundle),
                said.created_at,
                said.decision,
                said.job_id is not None,
            )
            for said in decisions.page(connection, limit=most).items
        ]
        found += [
            Choice(Version(row.digest, row.parents.get("bundle", "")), row.created_at, "", False)
            for row in rankers
        ]
        first: dict[Version, Choice] = {}
        for choice in found:
            first.setdefault(choice.version, choice)
        if live is not None:
            first.pop(Version(live.ranker, live.bundle), None)
        newest = sorted(first.values(), key=lambda choice: -choice.at)
        return [one for one in newest if _opens(connection, store, one.version)][:most]


def _opens(connection: Connection, store: ArtifactStore, version: Version) -> bool:
    """Whether all of it is there, by its manifests: bytes are compared when it is opened."""
    try:
        parts: Sequence[str] = ledger.trio_of(connection, version.ranker, version.bundle or None)
        for kind, digest in zip(("bundle", "index", "ranker"), parts, strict=True):
            store.open(kind, digest, verify=False)
    except GraphError:
        return False
    return True
