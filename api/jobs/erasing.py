"""Artifacts without those who were erased: each kind's room says how, and successors are sealed.

Takes what the ledger has, gives what it became; never says who it is. Whoever records a new
artifact comes through here as well: a training that was under way may have read somebody who is
gone by now.
"""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from time import time
from typing import Any, NamedTuple

from graphsvc import erasures, ledger, snapshot_erasing, succession
from graphsvc.artifact import Artifact, ArtifactStore
from graphsvc.db import Connection, Database, wait_for_writers
from graphsvc.errors import ArtifactMissing
from graphsvc.gone import Gone
from graphsvc.ledger import ArtifactRow
from graphsvc.renewal import UNTOUCHED, Rewriting, renewed
from graphsvc.snapshot import Snapshot
from graphsvc.succession import Pair


class Succession(NamedTuple):
    """An artifact that has become another one, and how."""

    pair: Pair
    rewriting: Rewriting


def successors(
    store: ArtifactStore, rows: Iterable[ArtifactRow], gone: Gone, present: Mapping[str, str]
) -> Iterator[tuple[str, Succession | None]]:
    """Each artifact's digest, and what it becomes; None where nobody is in it or its ancestors.

    Parents come first. `present`: what artifacts of before are called now. What has no bytes any
    more has nobody in it. Raises `ArtifactDamaged`.
    """
    known = {row.digest: row for row in rows}
    after = dict(present)
    graph = {one.digest: set(one.parents.values()) & known.keys() for one in known.values()}
    for digest in TopologicalSorter(graph).static_order():
        try:
            artifact = store.open(known[digest].kind, digest, verify=False)
        except ArtifactMissing:
            yield digest, None
            continue
        parents = {kind: after.get(one, one) for kind, one in artifact.parents.items()}
        made = _succession(store, artifact, gone, parents)
        if made is not None:
            after[digest] = made.pair.after.digest
        yield digest, made


def pair_of(store: ArtifactStore, told: Mapping[str, Any]) -> Pair:
    """An artifact and its successor, as a step tells of them."""
    return Pair(told["before"], store.open(told["kind"], told["after"], verify=False))


def recorded(
    database: Database, store: ArtifactStore, artifact: Artifact, job_id: str | None
) -> str:
    """Write the row of an artifact that was just sealed, without those who are gone by now.

    Its digest, or that of its successor, in whose stead it is deleted. Whoever is erased at this
    very moment finds the row, or is found here.
    """
    whole, through, sealed = artifact, 0, list[Artifact]()
    while True:
        with database.transaction() as connection:
            wait_for_writers(connection)
            last = erasures.last(connection)
            if through == last and _present(connection, artifact) == artifact.parents:
                settled = erasures.settled(connection)
                now = int(time())
                ledger.record(connection, artifact, job_id=job_id, now=now, erased_to=settled)
                if artifact is not whole:
                    succession.succeeded(connection, Pair(whole.digest, artifact), last)
                break
            gone = erasures.gone(connection, watermark=watermark_of(connection, store, whole))
            parents = _present(connection, whole)
        made = _succession(store, whole, gone, parents)
        artifact, through = whole if made is None else made.pair.after, last
        sealed.append(artifact)
    for one in (whole, *sealed):
        if one.digest != artifact.digest:
            store.remove(one.kind, one.digest)
    return artifact.digest


def _present(connection: Connection, artifact: Artifact) -> Mapping[str, str]:
    """Its parents, as they are called now."""
    parents: Mapping[str, str] = succession.renewed(connection, dict(artifact.parents))
    return parents


def _succession(
    store: ArtifactStore, artifact: Artifact, gone: Gone, parents: Mapping[str, str]
) -> Succession | None:
    rewriting = _without(store, artifact, gone, parents)
    if not rewriting.changes and parents == artifact.parents:
        return None
    made = renewed(store, artifact, rewriting.changes, parents)
    return Succession(Pair(artifact.digest, made), rewriting)


def _without(
    store: ArtifactStore, artifact: Artifact, gone: Gone, parents: Mapping[str, str]
) -> Rewriting:
    """How an artifact loses those who are gone, as its room says."""
    if artifact.kind == "snapshot":
        return snapshot_erasing.without(artifact, gone)
    # Only who has such artifacts imports their rooms.
    if artifact.kind in ("bundle", "index", "map"):
        from kge import erasing
        from kge.bundle import Bundle

        if artifact.kind == "bundle":
            return erasing.bundle_without(artifact, gone)
        if parents == artifact.parents:
            return UNTOUCHED
        of = {"index": erasing.index_without, "map": erasing.map_without}
        after = Bundle(store.open("bundle", parents["bundle"], verify=False))
        return of[artifact.kind](artifact, after)
    if artifact.kind in ("ranker", "table"):
        from ranking import erasing as ranking_erasing

        by_kind = {"ranker": ranking_erasing.ranker_without, "table": ranking_erasing.table_without}
        return by_kind[artifact.kind](artifact, gone)
    return UNTOUCHED


def watermark_of(connection: Connection, store: ArtifactStore, artifact: Artifact) -> int:
    """The row of the log up to which an artifact's snapshot looks; 0, the safe side, of no other.

    Who came back later than that is not in it by their own will.
    """
    while artifact.kind != "snapshot":
        kinds = [kind for kind in ("snapshot", "bundle", "ranker") if kind in artifact.parents]
        if not kinds:
            return 0
        digest = ledger.present(connection, artifact.parents[kinds[0]])
        try:
            artifact = store.open(kinds[0], digest, verify=False)
        except ArtifactMissing:
            return 0
    return int(Snapshot(artifact).watermark["seq"])
