"""The ledger: what exists, and which three are live."""

from pathlib import Path
from typing import Any

import pytest

from graphsvc import ledger
from graphsvc.artifact import Artifact
from graphsvc.db import Database
from graphsvc.errors import ArtifactMissing, CursorInvalid, PromotionRefused


def artifact(kind: str, letter: str, *, frame: str | None = None, **parents: str) -> Artifact:
    payload: dict[str, Any] = {"frame": frame, "rows": 3, "types": [1, 2], "text": "x" * 1000}
    manifest = {"parents": parents, "dials": {"dim": 8}, "payload": payload, "metrics": {"auc": 1}}
    return Artifact(kind, letter * 64, Path("unused"), manifest)


BUNDLE = artifact("bundle", "b", frame="f1")
INDEX = artifact("index", "1", bundle=BUNDLE.digest)
RANKER = artifact("ranker", "c", frame="f1", bundle=BUNDLE.digest)
TRIO = {"bundle": BUNDLE.digest, "index": INDEX.digest, "ranker": RANKER.digest}


def record(database: Database, *artifacts: Artifact) -> None:
    for now, one in enumerate(artifacts):
        with database.transaction() as connection:
            ledger.record(connection, one, job_id="job", now=now)


def states(database: Database) -> dict[str, str]:
    with database.reading() as connection:
        return {row.digest[0]: row.state for row in ledger.artifacts(connection).items}


def promote(database: Database, **changes: str) -> ledger.Live:
    with database.transaction() as connection:
        return ledger.promote(connection, **(TRIO | changes), reason="better", now=5)


def test_recording_twice_is_recording_once(database: Database) -> None:
    record(database, BUNDLE, BUNDLE)
    with database.reading() as connection:
        row = ledger.artifact(connection, BUNDLE.digest)
        with pytest.raises(ArtifactMissing):
            ledger.artifact(connection, "9" * 64)
    assert row == ledger.ArtifactRow(
        digest=BUNDLE.digest,
        kind="bundle",
        parents={},
        dials={"dim": 8},
        metrics={"auc": 1},
        summary={"frame": "f1", "rows": 3},
        state="sealed",
        job_id="job",
        created_at=0,
    )


def test_pages_are_newest_first_and_complete(database: Database) -> None:
    record(database, BUNDLE, INDEX, RANKER)
    with database.transaction() as connection:  # the same second as RANKER
        ledger.record(connection, artifact("ranker", "d"), job_id=None, now=2)
    seen, after = [], None
    while True:
        with database.reading() as connection:
            page = ledger.artifacts(connection, limit=1, after=after)
        seen += [row.digest[0] for row in page.items]
        if (after := page.next) is None:
            break
    assert seen == ["c", "d", "1", "b"]
    with database.reading() as connection:
        rankers = ledger.artifacts(connection, kind="ranker", limit=10)
        assert [row.digest[0] for row in rankers.items] == ["c", "d"]
        assert ledger.artifacts(connection, kind="\0").items == []
        assert ledger.artifacts(connection, kind="\ud800").items == []


D = "b" * 64


@pytest.mark.parametrize(
    "after",
    [
        "",
        "yesterday",
        "1",
        "1:",
        "1:\0",
        "1:\ud800",
        f"1:{D}0",
        f"1:{D}\n",
        f"1:{D.upper()}",
        f"\0:{D}",
    ],
)
def test_a_cursor_of_nobody(database: Database, after: str) -> None:
    with database.reading() as connection, pytest.raises(CursorInvalid) as invalid:
        ledger.artifacts(connection, after=after)
    str(invalid.value).encode()


@pytest.mark.parametrize("digest", ["", "\0", "\ud800", "b" * 63 + "\0", D + "\n", "x" * 1000])
def test_what_is_no_digest_names_no_artifact(database: Database, digest: str) -> None:
    with database.reading() as connection, pytest.raises(ArtifactMissing) as missing:
        ledger.artifact(connection, digest)
    str(missing.value).encode()


def test_promotion_swaps_the_trio_and_rollback_is_promotion(database: Database) -> None:
    other = artifact("ranker", "d", frame="f1", bundle=BUNDLE.digest)
    record(database, BUNDLE, INDEX, RANKER, other)
    with database.reading() as connection:
        assert ledger.live(connection) is None
        assert ledger.generation(connection) == 0
    assert promote(database) == ledger.Live(1, **TRIO)
    assert states(database) == {"b": "live", "1": "live", "c": "live", "d": "sealed"}
    promote(database, ranker=other.digest)
    assert states(database) == {"b": "live", "1": "live", "c": "retired", "d": "live"}
    assert promote(database).generation == 3
    with database.reading() as connection:
        assert ledger.live(connection) == ledger.Live(3, **TRIO)
        assert ledger.generation(connection) == 3


def test_what_does_not_belong_together_is_refused_by_name(database: Database) -> None:
    stranger = artifact("bundle", "e", frame="f1")
    reframed = artifact("bundle", "f", frame="f2")
    index = artifact("index", "2", bundle=reframed.digest)
    frameless = artifact("ranker", "d", bundle=BUNDLE.digest)
    record(database, BUNDLE, INDEX, RANKER, stranger, reframed, index, frameless)
    promote(database)
    for changes, digests in [
        ({"bundle": stranger.digest}, (INDEX, stranger, BUNDLE)),
        ({"bundle": reframed.digest, "index": index.digest}, (RANKER, reframed)),
        ({"ranker": frameless.digest}, (frameless, BUNDLE)),
        ({"ranker": INDEX.digest}, (INDEX,)),
    ]:
        with pytest.raises(PromotionRefused) as refused:
            promote(database, **changes)
        for one in digests:
            assert one.digest in str(refused.value)
    with pytest.raises(ArtifactMissing):
        promote(database, ranker="9" * 64)
    with database.reading() as connection:
        assert ledger.generation(connection) == 1


def test_the_trio_of_a_ranker_has_the_newest_index_of_its_bundle(database: Database) -> None:
    lonely = artifact("ranker", "d", bundle="7" * 64)
    rebuilt = artifact("index", "2", bundle=BUNDLE.digest)
    record(
        database, BUNDLE, INDEX, RANKER, lonely, rebuilt, artifact("index", "3", bundle="8" * 64)
    )
    with database.reading() as connection:
        assert ledger.trio_of(connection, RANKER.digest) == (
            BUNDLE.digest,
            rebuilt.digest,
            RANKER.digest,
        )
        assert ledger.trio_of(connection, lonely.digest, BUNDLE.digest) == (
            BUNDLE.digest,
            rebuilt.digest,
            lonely.digest,
        )
        with pytest.raises(PromotionRefused):
            ledger.trio_of(connection, RANKER.digest, INDEX.digest)
        with pytest.raises(PromotionRefused):
            ledger.trio_of(connection, lonely.digest)
        with pytest.raises(PromotionRefused):
            ledger.trio_of(connection, BUNDLE.digest)


def test_promotions_say_who_why_and_by_which_decision(database: Database) -> None:
    record(database, BUNDLE, INDEX, RANKER)
    promote(database)
    signed = ledger.Signed("key 12ab", D)
    with database.transaction() as connection:
        ledger.promote(connection, **TRIO, reason="better", now=6, signed=signed)
        ledger.promote(connection, **TRIO, reason="again", now=7, signed=ledger.Signed("job 3"))
    with database.reading() as connection:
        first = ledger.promotion_page(connection, limit=2)
        second = ledger.promotion_page(connection, limit=2, after=first.next)
        for after in ("", "1:2", "x", "9" * 19, "\0"):
            with pytest.raises(CursorInvalid):
                ledger.promotion_page(connection, after=after)
    told = [(p.generation, p.reason, p.promoted_by, p.decision, p.created_at) for p in first.items]
    assert told == [(3, "again", "job 3", None, 7), (2, "better", "key 12ab", D, 6)]
    assert [(p.generation, p.promoted_by) for p in second.items] == [(1, None)]
    assert second.next is None
    assert {(p.bundle, p.index, p.ranker) for p in first.items} == {tuple(TRIO.values())}
