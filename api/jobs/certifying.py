"""The certificate of an erasure: what was removed where, what is left until when; and a look again.

Takes numbers of the list, looks through all that is kept, and seals what it found; later takes a
certificate and looks again. Knows people by digests alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api import erasure_list
from api.jobs import erasing
from api.jobs.steps import Tick, Workshop
from api.kept import texts
from graphsvc import dedupe, erase, erasures, idempotency, ledger, succession, versions
from graphsvc.artifact import Artifact, Recipe
from graphsvc.db import Connection
from graphsvc.erasures import Erasure
from graphsvc.errors import (
    ArtifactDamaged,
    ArtifactFormat,
    ArtifactMissing,
    ErasureIncomplete,
)
from graphsvc.ledger import ArtifactRow
from graphsvc.renewal import all_zero
from graphsvc.snapshot import Snapshot, TypeRange
from graphsvc.snapshot_erasing import names_nobody
from graphsvc.succession import Succeeded

FORMAT = 1
#: Questions of the k-NN probe, and neighbors that each wants.
_QUERIES, _NEIGHBORS, _SEED = 100, 10, 7
_PAGE = 1000
#: So many seconds clocks of servers may differ: what was kept so shortly before may be of after.
_CLOCKS = 60
#: Ids of events are remembered so much longer than events may be late.
_SLACK_DAYS = dedupe.SLACK_SECONDS / 86_400


@dataclass(frozen=True, slots=True)
class Check:
    """One look at what is kept: whether nobody is there, and what was looked at."""

    check: str
    ok: bool
    looked_at: str


def seal_certificate(
    shop: Workshop, numbers: Sequence[int], cleaned: Mapping[str, Any], tick: Tick
) -> Artifact:
    """Look whether anything is left, and seal what was done; the same again gives another time.

    `cleaned`: what the step `bytes` tells. Raises `ErasureIncomplete` where something is left.
    """
    with shop.database.reading() as connection:
        people = [erasures.erasure(connection, number) for number in numbers]
        pairs = [_as_told(one) for one in succession.made_for(connection, numbers)]
    checks = list(_checks(shop, people, pairs, tick))
    failed = [one for one in checks if not one.ok]
    if failed:
        left = "; ".join(f"{one.check}: {one.looked_at}" for one in failed)
        raise ErasureIncomplete(f"something is left of who was erased ({left})")
    told = {
        "certificate_format": FORMAT,
        "people": [
            {
                "erasure": one.number,
                "type": one.type,
                "subject": one.subject,
                "asked_at": one.asked_at,
                "removed": dict(one.removed or {}),
            }
            for one in people
        ],
        "certified_at": int(time()),
        "artifacts": [dict(one) for one in pairs],
        "deleted": list(cleaned["deleted"]),
        "checks": [asdict(one) for one in checks],
        "remains": _remains(shop, rewritten=cleaned["rewritten"]),
    }
    with shop.store.draft() as folder:
        return shop.store.seal(folder, Recipe(kind="erasure", payload=told))


def verify(shop: Workshop, digest: str, tick: Tick) -> list[Check]:
    """Look again: the certificate's own bytes, and all that is kept now.

    Raises `ArtifactMissing` where there is no such certificate.
    """
    try:
        certificate = shop.store.open("erasure", digest)
    except (ArtifactDamaged, ArtifactFormat) as error:
        return [Check("certificate", ok=False, looked_at=str(error))]
    told = certificate.payload
    with shop.database.reading() as connection:
        people = [erasures.erasure(connection, one["erasure"]) for one in told["people"]]
    as_listed = [one["subject"] for one in told["people"]] == [one.subject for one in people]
    return [
        Check("certificate", ok=True, looked_at="every byte of it is as it was sealed"),
        Check("list", ok=as_listed, looked_at=f"{len(people)} on the list, by the same digests"),
        _listed_for_restores(shop, people),
        # By digest that takes a second for 2 MiB; the erasure has searched them for the ids.
        _in_kept_answers(shop, people, tick),
        *_checks(shop, people, told["artifacts"], tick),
    ]


def _listed_for_restores(shop: Workshop, people: Sequence[Erasure]) -> Check:
    """The file that a restored backup is held to names all of them."""
    file = erasure_list.path_of(shop.settings)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    missing = sum(one.subject not in text for one in people)
    return Check("list for restores", not missing, f"{file.name}: {missing} are missing")


def _checks(
    shop: Workshop,
    people: Sequence[Erasure],
    pairs: Sequence[Mapping[str, Any]],
    tick: Tick,
) -> Iterator[Check]:
    yield from _in_tables(shop, people)
    there = [pair for pair in pairs if shop.store.path(pair["kind"], pair["before"]).exists()]
    yield Check("former bytes", not there, f"{len(pairs)} artifacts of before")
    with shop.database.reading() as connection:
        rows = list(_every(connection))
        known = ledger.digests(connection)
        gone = erasures.those(connection, [one for one in people if one.returned_at is None])
        live = ledger.live(connection)
    strays = list(erasing.strays(shop.store, known, gone))
    yield Check("what is in no ledger", not strays, f"{len(known)} artifacts are in it")
    total = len(pairs) + len(rows)
    for done, pair in enumerate(pairs):
        tick(done, total, "rows that became zero")
        yield _zeroed(shop, pair)
    for done, row in enumerate(rows, start=len(pairs)):
        tick(done, total, "ids of what is kept")
        found = _in_artifact(shop, row, people)
        if found is not None:
            yield found
    if live is not None:
        yield _probe(shop, live)


def _in_tables(shop: Workshop, people: Sequence[Erasure]) -> Iterator[Check]:
    """Nobody stands in the tables but who came back."""
    with shop.database.reading() as connection:
        gone = erasures.those(connection, [one for one in people if one.returned_at is None])
        for table, (there, of) in erase.left(connection, gone).items():
            yield Check(f"table {table}", not there, f"{of} ids")
        schema = versions.current(connection)
        for column, there in erase.keys_of_nobody(connection, schema, gone).items():
            yield Check(f"keys in {column}", not there, f"{there} rows lead to no entity")
        left = erasures.ids_left(connection, [one.number for one in people])
        yield Check("list without ids", not left, f"{len(people)} rows of it")


def _in_kept_answers(shop: Workshop, people: Sequence[Erasure], tick: Tick) -> Check:
    """No answer that is kept for repetitions names them, of those of before they were to be erased.

    Of later ones some do, as what came in of them was refused; they go by themselves.
    """
    some = [one for one in people if one.returned_at is None]
    named: list[tuple[int, str, str]] = []
    of = 0
    with shop.database.reading() as connection:
        gone = erasures.those(connection, some)
        last = max((one.asked_at for one in some), default=0)
        kept = idempotency.answers_of_before(connection, last - _CLOCKS)
        for at, packed in kept:
            of += 1
            tick(of, 0, "kept answers")
            said = list(texts(packed))
            for kind in gone.types:
                named += [(at, kind, said[place]) for place in gone.among(kind, said)]
        there = 0
        for one in some if named else ():
            before = one.asked_at - _CLOCKS
            ids = [id_ for at, kind, id_ in named if kind == one.type and at < before]
            there += len(erasures.those(connection, [one]).among(one.type, ids))
    return Check("kept answers", not there, f"{of} of before they were asked for")


def _zeroed(shop: Workshop, told: Mapping[str, Any]) -> Check:
    """Rows that became zero are zero in what there is now of an artifact."""
    name = f"rows of {told['kind']} {told['after'][:8]}"
    try:
        artifact = shop.store.open(told["kind"], told["after"])
    except ArtifactMissing:
        return Check(name, ok=True, looked_at="nothing: its bytes are gone")
    except ArtifactDamaged as error:
        return Check(name, ok=False, looked_at=str(error))
    count, ok = 0, True
    for file, rows in told["zeroed"].items():
        count += sum(len(some) for some in rows.values())
        ok = ok and _are_zero(artifact.file(file), rows)
    return Check(name, ok, f"{count} rows, every byte of the artifact")


def _are_zero(file: Path, rows: Mapping[str, Sequence[int]]) -> bool:
    from kge.erasing import CODES, codes_are_zero

    return codes_are_zero(file, rows[CODES]) if CODES in rows else all_zero(file, rows)


def _in_artifact(shop: Workshop, row: ArtifactRow, people: Sequence[Erasure]) -> Check | None:
    """Nobody is among the ids of an artifact but who had come back by then; None: it has none."""
    try:
        artifact = shop.store.open(row.kind, row.digest)
    except ArtifactMissing:
        return None
    except ArtifactDamaged as error:
        return Check(f"ids of {row.kind} {row.digest[:8]}", ok=False, looked_at=str(error))
    with shop.database.reading() as connection:
        gone = erasures.those(connection, [one for one in people if one.bars(row.watermark)])
    held = _ids_in(artifact)
    if held is None:
        return None
    there = sum(len(gone.among(type_, held[type_])) for type_ in gone.types if type_ in held)
    blank = artifact.kind != "snapshot" or names_nobody(Snapshot(artifact))
    of = sum(len(held[type_]) for type_ in gone.types if type_ in held)
    return Check(f"ids of {row.kind} {row.digest[:8]}", not there and blank, f"{of} ids")


def _ids_in(artifact: Artifact) -> Mapping[str, Sequence[str | None]] | None:
    """Type -> the ids that an artifact has, where it has any."""
    if artifact.kind == "snapshot":
        source = Snapshot(artifact)
        return _by_type(source.types, source.ids)
    if artifact.kind == "bundle":
        from kge.bundle import Bundle

        bundle = Bundle(artifact)
        return _by_type(bundle.types, bundle.ids)
    if artifact.kind in ("ranker", "table"):
        from ranking.erasing import ids_in

        return ids_in(artifact)
    return None


def _by_type(types: Mapping[str, TypeRange], ids: NDArray[np.object_]) -> dict[str, list[str]]:
    return {name: ids[kind.start : kind.stop].tolist() for name, kind in types.items()}


def _probe(shop: Workshop, live: ledger.Live) -> Check:
    """Nobody who was erased is near anything."""
    from kge.bundle import open_bundle
    from kge.erasing import found_by_probe
    from kge.index import open_index

    name = f"k-NN probe of index {live.index[:8]}"
    try:
        index = open_index(shop.store, live.index, open_bundle(shop.store, live.bundle))
    except (ArtifactDamaged, ArtifactMissing) as error:
        return Check(name, ok=False, looked_at=str(error))
    found, longest = found_by_probe(index, queries=_QUERIES, k=_NEIGHBORS, seed=_SEED)
    looked = (
        f"the {_NEIGHBORS} nearest of {_QUERIES} directions, by type and facet, and every number "
        f"of {len(index.bundle.erased)} vectors that stand for nobody"
    )
    return Check(name, not found and not longest, looked)


def _as_told(one: Succeeded) -> dict[str, Any]:
    return {"kind": one.kind, "before": one.before, "after": one.after, **one.told}


def _remains(shop: Workshop, *, rewritten: bool) -> list[dict[str, str]]:
    """What is left, of which nobody can tell whose it was, and until when."""
    settings = shop.settings
    days = settings.late_days + _SLACK_DAYS
    told = [
        (
            "what networks, hashed rows, relations' maps and anchors learned beside them",
            "every version that was trained on what they did, also by a retrain under way now",
            "a retrain that begins after this, and until older versions are deleted",
        ),
        (
            "keyed digests of type and id",
            "this certificate, the list of erasures, the audit log",
            "kept: by them nobody comes in again",
        ),
        (
            "digests of requests that had an Idempotency-Key, and answers to those of after this",
            "table idempotency",
            f"{settings.idempotency_hours:g} hours after each request",
        ),
        (
            "digests of events that an earlier opt-out took out",
            "table seen",
            f"{days:g} days after they arrived",
        ),
        ("copies in backups", "wherever you keep them", "a restore that replays the list"),
        ("what applications were answered, and exported files", "not here", "not in our hands"),
    ]
    if shop.database.is_postgresql:
        where = "PostgreSQL's dead rows and its write-ahead log"
        told.append(("copies of deleted rows", where, "it uses their room again"))
    elif not rewritten:
        where = "unused room of the database file"
        told.append(("copies of deleted rows", where, "`graphsvc compact`"))
    return [dict(zip(("what", "where", "until"), one, strict=True)) for one in told]


def _every(connection: Connection) -> Iterator[ArtifactRow]:
    """All rows of the ledger."""
    after = None
    while True:
        page = ledger.artifacts(connection, limit=_PAGE, after=after)
        yield from page.items
        after = page.next
        if after is None:
            return
