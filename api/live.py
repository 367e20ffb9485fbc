"""The trio that answers now: a bundle, its index and a ranker of the same frame.

Takes promotions from the ledger, gives one immutable `Trio`; never edits what is live. A server
loads the next trio beside the present one and swaps the reference: a request that has taken a
trio keeps it until its answer is sent, so no answer mixes versions.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from api.candidates import Candidates
from api.columns import Columns
from api.errors import NotLiveYet
from api.overlay import Overlay, Place, Remembered
from api.placing import tell
from api.solving import Solver
from api.tail import Tail
from graphsvc import erasures, ledger
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import ArtifactMissing
from graphsvc.schema import Schema
from graphsvc.snapshot import Snapshot
from kge.bundle import Bundle, open_bundle
from kge.completion import Completion
from kge.foldin import NO_EDGES, FoldIn
from kge.index import Index, open_index
from ranking.bundle import CPU_ALONE, Ranker, Tiers, open_ranker
from ranking.errors import ForwardUnusable

_log = logging.getLogger("graphsvc.live")

#: How long a trio that is ready waits at most for its overlay to catch up with the log.
_CATCH_UP_SECONDS = 0.5
#: Between two steps of a tail that has more to do, for those that have no vector meanwhile.
_BREATH_SECONDS = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Following:
    """How closely a server follows the log, what it holds of it, and where a ranker lies."""

    #: Most entities in the overlay.
    overlay_entities: int = 10_000
    #: Most recent edges of each relation and direction that a fold-in takes: as many as training.
    most_edges: int = 200
    #: What is kept of relations that were asked about.
    relation_bytes: int = 256 << 20
    #: Between two looks at the log.
    tail_seconds: float = 0.1
    #: Where the parts of a ranker may lie, and how large they may be.
    tiers: Tiers = CPU_ALONE
    #: Whether a ranker answers by its exported network, where it has one.
    exported: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Trio:
    """What answers now, and the overlay of what the log has said since."""

    generation: int
    bundle: Bundle
    index: Index
    ranker: Ranker
    completion: Completion
    foldin: FoldIn
    solver: Solver
    #: Attributes that filters asked for.
    columns: Columns
    overlay: Overlay
    tail: Tail
    #: Vectors of heads that were asked about.
    heads: Remembered
    #: Candidates as the ranker reads them.
    candidates: Candidates
    #: The last row of the log that the ranker's snapshot saw; 0, the safe side, if nobody can say.
    ranker_watermark: int = 0
    #: How many were erased when it began to remember what the log says.
    erased: int = 0

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
    """Holds the live trio of this process; follows the ledger's generation and the log."""

    database: Database
    store: ArtifactStore
    #: The schema that holds now.
    schema: Callable[[], Schema]
    following: Following = Following()
    #: Told of each new generation; e.g. a gauge.
    on_swap: Callable[[int], None] = lambda _generation: None
    _trio: Trio | None = field(default=None, repr=False)
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def trio(self) -> Trio:
        """The live trio; raises `NotLiveYet` before the first promotion."""
        if self._trio is None:
            raise NotLiveYet
        return self._trio

    @property
    def generation(self) -> int:
        return self._trio.generation if self._trio else 0

    @property
    def stamp(self) -> tuple[int, int]:
        """Which promotion answers, and how many were erased: what was read before is of before."""
        return (self._trio.generation, self._trio.erased) if self._trio else (0, 0)

    @property
    def folded(self) -> int:
        """How many entities the overlay holds."""
        return len(self._trio.overlay) if self._trio else 0

    @property
    def lag(self) -> int:
        """How many rows of the log the overlay is behind."""
        return self._trio.tail.lag if self._trio else 0

    def refresh(self) -> bool:
        """Swap in what the ledger says is live. True if something changed."""
        with self._refreshing:  # two loads side by side could end in the wrong order
            with self.database.reading() as connection:
                erased, live = erasures.taken_out(connection), None
                if ledger.generation(connection) != self.generation:
                    live = ledger.live(connection)
                forward = None if live is None else ledger.forward_of_live(connection, live)
            if live is not None:
                exported = forward if self.following.exported else None
                self._trio = replace(
                    self._load(live, exported, self.following.tiers), erased=erased
                )
                self.on_swap(live.generation)
                return True
            if self._trio is not None and self._trio.erased != erased:
                # Whatever was read of them, or solved from their edges, is read and solved anew.
                self._trio = replace(
                    self._trio, **self._memory(self._trio.bundle, self._trio.foldin), erased=erased
                )
                return True
            return False

    def follow(self, seconds: float) -> None:
        """Refresh now, and every `seconds` in a thread until `stop`; another follows the log.

        Where that fails, what is live here keeps answering, and `/health/ready` shows its older
        generation. The reason is logged once, and the next poll tries again.
        """
        refresh = _Repeated("cannot follow the ledger", self._poll_ledger(seconds))
        step = _Repeated("cannot follow the log", self._step)
        refresh.once()
        for name, repeated in (("follow-ledger", refresh), ("follow-log", step)):
            thread = threading.Thread(
                target=repeated.until, args=(self._stop,), name=name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads of `follow`."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _poll_ledger(self, seconds: float) -> Callable[[], float]:
        def poll() -> float:
            self.refresh()
            return seconds

        return poll

    def _step(self) -> float:
        trio = self._trio
        hurried = trio is not None and trio.tail.step() and not trio.tail.calm
        return _BREATH_SECONDS if hurried else self.following.tail_seconds

    def beside(self, other: ledger.Live, forward: str | None, told: Callable[[str], None]) -> Trio:
        """A trio that is not live, for whoever compares; on the CPU, where the live one may not be.

        `told` hears what is being opened. Raises what opening raises.
        """
        tiers = CPU_ALONE._replace(cpu_bytes=self.following.tiers.cpu_bytes)
        return self._load(other, forward if self.following.exported else None, tiers, told)

    def _load(
        self,
        live: ledger.Live,
        forward: str | None,
        tiers: Tiers,
        told: Callable[[str], None] = lambda _part: None,
    ) -> Trio:
        told("the bundle")
        bundle = open_bundle(self.store, live.bundle)
        told("the index")
        index = open_index(self.store, live.index, bundle)
        told("the ranker")
        ranker = self._ranker(live, bundle, forward, tiers)
        tell(ranker)
        told("what the log has said since")
        foldin = FoldIn(bundle, bundle.fold_in())
        # What is read or computed at first use is so before the swap, not in somebody's request.
        bundle.rows(ranker.head_type, [])
        foldin.solve(ranker.head_type, 1, NO_EDGES)
        for facet, type_ in index.recipes:
            start = bundle.types[type_].start
            index.search(type_, bundle.facet(facet).vectors[start : start + 1], 1, facet=facet)
        return Trio(
            generation=live.generation,
            bundle=bundle,
            index=index,
            completion=Completion(bundle, self.following.relation_bytes),
            ranker=ranker,
            foldin=foldin,
            **self._memory(bundle, foldin),
            ranker_watermark=self._seen(ranker.snapshot_digest)[0],
        )

    def _memory(self, bundle: Bundle, foldin: FoldIn) -> dict[str, Any]:
        """What a trio remembers of the log, as of now; it has caught up, or nearly."""
        most = self.following.overlay_entities
        solver, overlay = Solver(bundle, foldin), Overlay(most)
        for type_ in bundle.types:
            solver.solve(type_, [[]])
        _hide_erased(bundle, overlay)
        watermark, graph_end = self._seen(bundle.snapshot_digest)
        tail = Tail(
            database=self.database,
            schema=self.schema,
            solver=solver,
            overlay=overlay,
            watermark=watermark,
            graph_end=graph_end,
            most_edges=self.following.most_edges,
        )
        tail.start()
        until = monotonic() + _CATCH_UP_SECONDS
        while tail.step() and monotonic() < until:
            pass
        return {
            "solver": solver,
            "overlay": overlay,
            "tail": tail,
            "columns": Columns(bundle),
            "heads": Remembered(most),
            "candidates": Candidates(),
        }

    def _ranker(
        self, live: ledger.Live, bundle: Bundle, forward: str | None, tiers: Tiers
    ) -> Ranker:
        """The ranker, without its exported network where that cannot be read: it answers anyway."""
        try:
            return open_ranker(self.store, live.ranker, bundle, tiers=tiers, forward=forward)
        except ForwardUnusable as error:
            _log.warning("ranker %s answers as training has it: %s", live.ranker[:8], error)
            return open_ranker(self.store, live.ranker, bundle, tiers=tiers)

    def _seen(self, digest: str) -> tuple[int, int]:
        """The last row of the log that a snapshot saw, and when its graph's span ends.

        (0, 0), the safe side, if nobody can say.
        """
        try:
            sealed = self.store.open("snapshot", digest, verify=False)
        except ArtifactMissing:
            return 0, 0
        snapshot = Snapshot(sealed)
        return snapshot.watermark["seq"], snapshot.graph_end


def _hide_erased(bundle: Bundle, overlay: Overlay) -> None:
    """Let no search, no relation and no anchor name a row that is nobody's any more."""
    for kind in bundle.types.values():
        for row in bundle.erased[(bundle.erased >= kind.start) & (bundle.erased < kind.stop)]:
            place = Place(int(row) - kind.start, kind.stop - kind.start)
            overlay.hide(kind.name, place, hidden=True)


@dataclass(slots=True)
class _Repeated:
    """Work that is done again and again; what goes wrong is logged once, not each time."""

    what: str
    #: Does a piece of work, and says after how many seconds to go on.
    work: Callable[[], float]
    _told: set[str] = field(default_factory=set)

    def once(self) -> float:
        try:
            pause = self.work()
            self._told.clear()
        except Exception as error:  # noqa: BLE001  whatever it was, the next time tries again
            if str(error) not in self._told:
                self._told.add(str(error))
                _log.warning("%s: %s", self.what, error)
            return 0.25
        return pause

    def until(self, stop: threading.Event) -> None:
        pause = self.once()
        while not stop.wait(pause):
            pause = self.once()
