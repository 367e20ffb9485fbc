"""The steps of an erasure as plain functions; each may be run twice.

Takes numbers of the list, gives what the certificate tells; never gives an id to whoever keeps
results of steps.
"""

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from api import erasure_list
from api.jobs import erasing
from api.jobs.certifying import seal_certificate
from api.jobs.embedding import forget_checkpoints
from api.jobs.steps import Tick, Workshop
from api.kept import mentioned
from graphsvc import erase, erasures, idempotency, ledger, succession, versions
from graphsvc.db import wait_for_writers
from graphsvc.gone import Gone
from graphsvc.ids import EntityId
from graphsvc.ledger import ArtifactRow


def tables(shop: Workshop, tick: Tick) -> list[int]:
    """Take those who are on the list and not done out of the tables: their numbers."""
    with shop.database.transaction() as connection:
        wait_for_writers(connection)
        erasures.find_ids(connection)
        asked = erasures.under_way(connection)
    # Before anything else: a backup of before is held to it from now on.
    erasure_list.write(shop.database, erasure_list.path_of(shop.settings))
    people = [(number, entity) for number, entity in asked if entity is not None]
    kept = _mentioning(shop, [entity.id for _, entity in people])
    for done, (number, entity) in enumerate(people):
        tick(done, len(people), "rows of the log, the graph and the answers")
        _take_out(shop, number, entity, kept)
    return [number for number, _ in asked]


def artifacts(shop: Workshop, numbers: Sequence[int], tick: Tick) -> dict[str, Any]:
    """Seal the successors of all artifacts that somebody is in; nothing names them yet."""
    if not numbers:
        return {"checked": [], "pairs": [], "unreadable": []}
    with shop.database.reading() as connection:
        rows = succession.behind(connection, max(numbers))
        gone = erasures.of(connection, numbers)
    return _sealed(shop, rows, gone, tick)


def switch(
    shop: Workshop, numbers: Sequence[int], made: Mapping[str, Any], *, tick: Tick, job_id: str
) -> dict[str, Any]:
    """Let the ledger name the successors, in one transaction; what answers is promoted anew.

    A retrain that runs may have recorded more meanwhile: then all is looked through once more.
    """
    if not numbers:
        return {"generation": None, "unreadable": []}
    number = max(numbers)
    reason = f"erasure {number}"
    while True:
        with shop.database.transaction() as connection:
            wait_for_writers(connection)
            rows = succession.behind(connection, number)
            if {row.digest for row in rows} <= set(made["checked"]):
                if rows:
                    pairs = [erasing.pair_of(shop.store, told) for told in made["pairs"]]
                    signed = ledger.Signed(f"job {job_id}")
                    succession.switch(
                        connection, pairs, number, reason=reason, signed=signed, now=int(time())
                    )
                live = ledger.promoted_for(connection, reason)
                generation = None if live is None else live.generation
                return {"generation": generation, "unreadable": made["unreadable"]}
            gone = erasures.of(connection, numbers)
        made = _sealed(shop, rows, gone, tick)


def remove(
    shop: Workshop, numbers: Sequence[int], switched: Mapping[str, Any], tick: Tick
) -> dict[str, Any]:
    """Delete the bytes of before, and let go of the ids themselves.

    Of all that was succeeded at any time, of what nobody can read, and of what is in no ledger and
    has somebody in it.
    """
    with shop.database.reading() as connection:
        former = [(one.kind, one.before) for one in succession.everything(connection)]
        known = ledger.digests(connection)
        gone = erasures.of(connection, numbers)
    former += [(one["kind"], one["digest"]) for one in switched["unreadable"]]
    for done, (kind, digest) in enumerate(former):
        tick(done, len(former), f"{kind} {digest[:8]}")
        shop.store.remove(kind, digest)
    strays = list(erasing.strays(shop.store, known, gone))
    for kind, digest in strays:
        shop.store.remove(kind, digest)
    shop.store.sweep()
    forget_checkpoints(shop)
    shop.forget_examples()
    with shop.database.transaction() as connection:
        erasures.forget_ids(connection, numbers)
    tick(len(former), len(former), "the database's unused room")
    most = shop.settings.erase_rewrite_mib << 20
    deleted = [*switched["unreadable"], *({"kind": k, "digest": d} for k, d in strays)]
    return {"rewritten": shop.database.rewrite(most_bytes=most), "deleted": deleted}


def certify(
    shop: Workshop,
    numbers: Sequence[int],
    cleaned: Mapping[str, Any],
    *,
    tick: Tick,
    job_id: str,
) -> str | None:
    """Look whether anything is left, and seal what was done as a certificate.

    Raises `ErasureIncomplete` where something is.
    """
    if not numbers:
        return None
    sealed = seal_certificate(shop, numbers, cleaned, tick)
    with shop.database.transaction() as connection:
        last = erasures.last(connection)
        ledger.record(connection, sealed, job_id=job_id, now=int(time()), erased_to=last)
        erasures.certify(connection, numbers, sealed.digest)
    erasure_list.write(shop.database, erasure_list.path_of(shop.settings))
    return sealed.digest


def _mentioning(shop: Workshop, ids: Sequence[str]) -> list[tuple[str, str]]:
    """The kept answers that mention somebody: read once for all, and in nobody's way."""
    if not ids:
        return []
    with shop.database.reading() as connection:
        return idempotency.mentioning(connection, lambda packed: mentioned(packed, ids))


def _take_out(
    shop: Workshop, number: int, entity: EntityId, kept: Sequence[tuple[str, str]]
) -> None:
    with shop.database.transaction() as connection:
        wait_for_writers(connection)
        if erasures.erasure(connection, number).removed is not None:
            return  # killed behind this transaction
        schema = versions.current(connection)
        removed = erase.erase(connection, schema, entity.type, [entity.id])
        forgotten = idempotency.forget(connection, kept)
        removed |= {"idempotency": forgotten} if forgotten else {}
        erasures.took_out(connection, number, removed)


def _sealed(shop: Workshop, rows: Sequence[ArtifactRow], gone: Gone, tick: Tick) -> dict[str, Any]:
    """Which artifacts were looked through, and what those became that somebody was in."""
    found: dict[str, list[Any]] = {"checked": [], "pairs": [], "unreadable": []}
    with shop.database.reading() as connection:
        present = succession.every(connection)
    for row, made in erasing.successors(shop.store, rows, gone, present):
        tick(len(found["checked"]), len(rows), f"{len(found['pairs'])} have a successor")
        found["checked"].append(row.digest)
        if isinstance(made, erasing.Unreadable):
            told = {"kind": row.kind, "digest": row.digest, "why": made.why}
            found["unreadable"].append(told)
        elif made is not None:
            pair = made.pair
            told = {"kind": row.kind, "before": pair.before, "after": pair.after.digest}
            found["pairs"].append({**told, "told": dict(pair.told)})
    return found
