"""The trio that answers now: a bundle, its index and a ranker of the same frame.

Takes promotions from the ledger, gives one immutable `Trio`; never edits what is live. A server
loads the next trio beside the present one and swaps the reference: a request that has taken a
trio keeps it until its answer is sent, so no answer mixes versions.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from api.errors import NotLiveYet
from api.overlay import Overlay
from graphsvc import ledger
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from kge.bundle import Bundle, open_bundle
from kge.foldin import NO_EDGES, FoldIn
from kge.index import Index, open_index
from ranking.bundle import Ranker, open_ranker

_log = logging.getLogger("graphsvc.live")


@dataclass(frozen=True, slots=True)
class Trio:
    """What answers now, and the overlay of what the log has said since."""

    generation: int
    bundle: Bundle
    index: Index
    ranker: Ranker
    foldin: FoldIn
    overlay: Overlay

    @property
    def versions(self) -> dict[str, str]:
        """The digests that every answer carries."""
        return {
            "bundle": self.bundle.digest,
            "index": self.index.digest,
            "ranker": self.ranker.digest,
        }


@dataclass(slots=True)
class Live:
    """Holds the live trio of this process and follows the ledger's generation."""

    database: Database
    store: ArtifactStore
    overlay_entities: int
    #: Told of each new generation; e.g. a gauge.
    on_swap: Callable[[int], None] = lambda _generation: None
    _trio: Trio | None = None
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def trio(self) -> Trio:
        """The live trio; raises `NotLiveYet` before the first promotion."""
        if self._trio is None:
            raise NotLiveYet
        return self._trio

    @property
    def generation(self) -> int:
        return self._trio.generation if self._trio else 0

    @property
    def folded(self) -> int:
        """How many entities the overlay holds."""
        return len(self._trio.overlay) if self._trio else 0

    def refresh(self) -> bool:
        """Swap in what the ledger says is live. True if something changed."""
        with self._refreshing:  # two loads side by side could end in the wrong order
            with self.database.reading() as connection:
                if ledger.generation(connection) == self.generation:
                    return False
                live = ledger.live(connection)
            if live is None:
                return False
            self._trio = self._load(live)
            self.on_swap(live.generation)
            return True

    def follow(self, seconds: float) -> None:
        """Refresh now, and every `seconds` in a thread until `stop`.

        Where that fails, what is live here keeps answering, and `/health/ready` shows its older
        generation. The reason is logged once, and the next poll tries again.
        """
        told: set[str] = set()

        def poll() -> None:
            try:
                if self.refresh():
                    told.clear()
            except Exception as error:  # noqa: BLE001  whatever it was, the next poll tries again
                if str(error) not in told:
                    told.add(str(error))
                    _log.warning("cannot follow the ledger: %s", error)

        def keep_polling() -> None:
            while not self._stop.wait(seconds):
                poll()

        poll()
        self._thread = threading.Thread(target=keep_polling, name="follow-ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread of `follow`."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)

    def _load(self, live: ledger.Live) -> Trio:
        bundle = open_bundle(self.store, live.bundle)
        index = open_index(self.store, live.index)
        ranker = open_ranker(self.store, live.ranker, bundle)
        foldin = FoldIn(bundle, ranker.fold_in)
        # What is read or computed at first use is so before the swap, not in somebody's request.
        bundle.rows(ranker.head_type, [])
        foldin.solve(ranker.head_type, 1, NO_EDGES)
        for kind in bundle.types.values():
            index.search(kind.name, bundle.vectors[kind.start : kind.stop][:1], 1)
        return Trio(live.generation, bundle, index, ranker, foldin, Overlay(self.overlay_entities))
