"""Artifacts without those who were erased: each kind's room says how, and successors are sealed.

Takes what the ledger has, gives what it became; never says who it is. Whoever records a new
artifact comes through here as well: a training that was under way may have read somebody who is
gone by now.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from time import time
from typing import Any, NamedTuple

from graphsvc import erasures, ledger, snapshot_erasing, succession
from graphsvc.artifact import Artifact, ArtifactStore
from graphsvc.db import Connection, Database, wait_for_writers
from graphsvc.errors import ArtifactDamaged, ArtifactFormat, ArtifactMissing
from graphsvc.gone import Gone
from graphsvc.ledger import ArtifactRow
from graphsvc.renewal import UNTOUCHED, Rewriting, renewed
from graphsvc.succession import Pair
from kge.errors import KgeError
from ranking.errors import RankingError


class Succession(NamedTuple):
    """An artifact that has become another one, and how."""

    pair: Pair


class Unreadable(NamedTuple):
    """An artifact that nobody can open any more, and why: nothing is lost with its bytes."""

    why: str


#: What is wrong with an artifact of another version, or one whose parent is gone.
_UNREADABLE = (ArtifactFormat, ArtifactMissing, KgeError, RankingError, KeyError)


def successors(
    store: ArtifactStore, rows: Iterable[ArtifactRow], gone: Gone, present: Mapping[str, str]
) -> Iterator[tuple[ArtifactRow, Succession | Unreadable | None]]:
    """Each artifact, and what it becomes; None where nobody is in it or its ancestors.

    Parents come first. `present`: what artifacts of before are called now. What has no bytes any
    more has nobody in it. Raises `ArtifactDamaged`.
    """
    known = {row.digest: row for row in rows}
    after = dict(present)
    graph = {one.digest: set(one.parents.values()) & known.keys() for one in known.values()}
    for digest in TopologicalSorter(graph).static_order():
        row = known[digest]
        try:
            artifact = store.open(row.kind, digest, verify=False)
        except ArtifactMissing:
            yield row, None
            continue
        parents = {kind: after.get(one, one) for kind, one in artifact.parents.items()}
        try:
            made = _succession(store, artifact, gone, parents)
        except _UNREADABLE as error:
            yield row, Unreadable(str(error))
            continue
        if made is not None:
            after[digest] = made.pair.after.digest
        yield row, made


def pair_of(store: ArtifactStore, made: Mapping[str, Any]) -> Pair:
    """An artifact and its successor, as a step tells of them."""
    after = store.open(made["kind"], made["after"], verify=False)
    return Pair(made["before"], after, made["told"])


def strays(store: ArtifactStore, known: Collection[str], gone: Gone) -> Iterator[tuple[str, str]]:
    """(kind, digest) of what lies there, is in no ledger, and has somebody in it who is gone.

    A worker that was killed behind sealing, or an earlier database, leaves such. Whoever is about
    to record one that is taken away begins its step anew.
    """
    for kind, digest in store.every():
        if digest in known:
            continue
        try:
            artifact = store.open(kind, digest, verify=False)
            held = artifact.digest != digest or _holds(store, artifact, gone)
        except (*_UNREADABLE, ArtifactDamaged, OSError, ValueError):
            held = True  # nobody can read it, so nobody can say who is in it
        if held:
            yield kind, digest


def _holds(store: ArtifactStore, artifact: Artifact, gone: Gone) -> bool:
    """Whether somebody is in an artifact; one without ids is as its bundle is."""
    if artifact.kind in ("index", "map"):
        bundle = artifact.parents["bundle"]
        return store.open("bundle", bundle, verify=False).digest != bundle
    return bool(_without(store, artifact, gone, artifact.parents).changes)


def recorded(
    database: Database, store: ArtifactStore, artifact: Artifact, job_id: str | None
) -> str:
    """Write the row of an artifact that was just sealed, without those who are gone by now.

    Its digest, or that of its successor, in whose stead it is deleted. Whoever is erased at this
    very moment finds the row, or is found here.
    """
    whole, through, sealed = artifact, 0, list[Artifact]()
    told: Mapping[str, Any] = {}
    while True:
        with database.transaction() as connection:
            wait_for_writers(connection)
            last = erasures.last(connection)
            if through == last and _present(connection, artifact) == artifact.parents:
                settled = erasures.settled(connection)
                now = int(time())
                ledger.record(connection, artifact, job_id=job_id, now=now, erased_to=settled)
                if artifact is not whole:
                    succession.succeeded(connection, Pair(whole.digest, artifact, told), last)
                break
            seen = ledger.watermark_of(connection, whole) or 0
            gone = erasures.gone(connection, watermark=seen)
            parents = _present(connection, whole)
        made = _succession(store, whole, gone, parents)
        through = last
        artifact, told = (whole, told) if made is None else (made.pair.after, made.pair.told)
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
    try:
        rewriting = _without(store, artifact, gone, parents)
    except (OSError, ValueError) as error:  # a file is cut, changed or missing
        raise ArtifactDamaged(
            f"{artifact.kind} {artifact.digest} cannot be read ({type(error).__name__}), so nobody "
            "can be erased from it: restore it from a backup, or delete its folder, and resume"
        ) from error
    if not rewriting.changes and parents == artifact.parents:
        return None
    made = renewed(store, artifact, rewriting.changes, parents)
    told = {"zeroed": dict(rewriting.zeroed), "dropped": dict(rewriting.dropped)}
    return Succession(Pair(artifact.digest, made, told))


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
        of = {"index": erasing.index_without, "map": erasing.map_without}
        # Without it nobody can open them, either.
        after = Bundle(store.open("bundle", parents["bundle"], verify=False))
        if parents == artifact.parents:
            return UNTOUCHED
        return of[artifact.kind](artifact, after)
    if artifact.kind in ("ranker", "table"):
        from ranking import erasing as ranking_erasing

        by_kind = {"ranker": ranking_erasing.ranker_without, "table": ranking_erasing.table_without}
        return by_kind[artifact.kind](artifact, gone)
    return UNTOUCHED
