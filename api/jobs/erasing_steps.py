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
from api.kept import mentions
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
    for done, (number, entity) in enumerate(asked):
        tick(done, len(asked), "rows of the log, the graph and the answers")
        if entity is not None:
            _take_out(shop, number, entity)
    erasure_list.write(shop.database, erasure_list.path_of(shop.settings))
    return [number for number, _ in asked]


def artifacts(shop: Workshop, numbers: Sequence[int], tick: Tick) -> dict[str, Any]:
    """Seal the successors of all artifacts that somebody is in; nothing names them yet."""
    if not numbers:
        return {"checked": [], "pairs": []}
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
        return {"generation": None, "pairs": []}
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
                return {"generation": generation, "pairs": made["pairs"]}
            gone = erasures.of(connection, numbers)
        made = _sealed(shop, rows, gone, tick)


def remove(shop: Workshop, numbers: Sequence[int], tick: Tick) -> dict[str, Any]:
    """Delete the bytes of before, and let go of the ids themselves."""
    with shop.database.reading() as connection:
        former = succession.made_for(connection, numbers)
    for done, one in enumerate(former):
        tick(done, len(former), f"{one.kind} {one.before[:8]}")
        shop.store.remove(one.kind, one.before)
    shop.store.sweep()
    forget_checkpoints(shop)
    shop.forget_examples()
    with shop.database.transaction() as connection:
        erasures.forget_ids(connection, numbers)
    tick(len(former), len(former), "the database's unused room")
    most = shop.settings.erase_rewrite_mib << 20
    return {"rewritten": shop.database.rewrite(most_bytes=most)}


def certify(
    shop: Workshop,
    numbers: Sequence[int],
    told: tuple[Mapping[str, Any], Mapping[str, Any]],
    *,
    tick: Tick,
    job_id: str,
) -> str | None:
    """Look whether anything is left, and seal what was done as a certificate."""
    if not numbers:
        return None
    switched, cleaned = told
    sealed = seal_certificate(
        shop, numbers, pairs=switched["pairs"], rewritten=cleaned["rewritten"], tick=tick
    )
    with shop.database.transaction() as connection:
        last = erasures.last(connection)
        ledger.record(connection, sealed, job_id=job_id, now=int(time()), erased_to=last)
        erasures.certify(connection, numbers, sealed.digest)
    return sealed.digest


def _take_out(shop: Workshop, number: int, entity: EntityId) -> None:
    with shop.database.transaction() as connection:
        wait_for_writers(connection)
        if erasures.erasure(connection, number).removed is not None:
            return  # killed behind this transaction
        schema = versions.current(connection)
        removed = erase.erase(connection, schema, entity.type, [entity.id])
        kept = idempotency.forget(connection, lambda packed: mentions(packed, entity.id))
        erasures.took_out(connection, number, removed | ({"idempotency": kept} if kept else {}))


def _sealed(shop: Workshop, rows: Sequence[ArtifactRow], gone: Gone, tick: Tick) -> dict[str, Any]:
    """Which artifacts were looked through, and what those became that somebody was in."""
    checked: list[str] = []
    pairs: list[dict[str, Any]] = []
    with shop.database.reading() as connection:
        present = succession.every(connection)
    for digest, made in erasing.successors(shop.store, rows, gone, present):
        tick(len(checked), len(rows), f"{len(pairs)} have a successor")
        checked.append(digest)
        if made is not None:
            after = made.pair.after
            told = {"kind": after.kind, "before": digest, "after": after.digest}
            _, zeroed, dropped = made.rewriting
            pairs.append({**told, "zeroed": dict(zeroed), "dropped": dict(dropped)})
    return {"checked": checked, "pairs": pairs}
