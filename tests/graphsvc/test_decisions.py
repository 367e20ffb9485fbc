"""What the gate decided, as it is kept: once per job and content, listed newest first."""

from dataclasses import replace
from pathlib import Path

import pytest

from graphsvc import decisions, ledger
from graphsvc.artifact import Artifact
from graphsvc.db import Database
from graphsvc.decisions import Decided
from graphsvc.errors import CursorInvalid, DecisionMissing

RANKER, OTHER, BUNDLE, NEWER, SNAPSHOT = ("a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64)
PASSED = Decided(
    decision="passed",
    rule="champion",
    reason="no loss beyond the margins",
    ranker=RANKER,
    bundle=BUNDLE,
    snapshot=SNAPSHOT,
    champion_ranker=OTHER,
    champion_bundle=NEWER,
    numbers={"verdicts": {"ctr": {"rows": 3, "metrics": [{"gain": 0.1}]}}},
)


@pytest.fixture
def kept(database: Database) -> Database:
    """A database whose ledger knows the artifacts that decisions name."""
    kinds = {RANKER: "ranker", OTHER: "ranker", BUNDLE: "bundle", NEWER: "bundle"}
    for digest, kind in (kinds | {SNAPSHOT: "snapshot"}).items():
        payload = {"watermark": {"seq": 0}} if kind == "snapshot" else {}
        manifest = {"parents": {}, "dials": {}, "payload": payload, "metrics": {}}
        with database.transaction() as connection:
            sealed = Artifact(kind, digest, Path("unused"), manifest)
            ledger.record(connection, sealed, job_id=None, now=1)
    return database


def record(database: Database, decided: Decided, *, job: str | None = "job", now: int = 5) -> str:
    with database.transaction() as connection:
        return decisions.record(connection, decided, job_id=job, now=now)


def test_a_step_that_is_done_again_keeps_one_row(kept: Database) -> None:
    own = record(kept, PASSED)
    assert record(kept, PASSED, now=9) == own
    with kept.reading() as connection:
        row = decisions.decision(connection, own)
        assert decisions.page(connection).items == [row]
    assert (row.id, row.job_id, row.created_at) == (own, "job", 5)
    assert row.numbers == PASSED.numbers
    assert (row.champion_ranker, row.champion_bundle) == (OTHER, NEWER)
    assert record(kept, PASSED, job="another") != own, "another job asks for itself"
    assert record(kept, replace(PASSED, reason="else")) != own


def test_pages_are_newest_first_and_complete(kept: Database) -> None:
    made = [record(kept, replace(PASSED, reason=str(n)), now=n // 2) for n in range(5)]
    seen, after = [], None
    while True:
        with kept.reading() as connection:
            page = decisions.page(connection, limit=2, after=after)
        seen += [(row.created_at, row.id) for row in page.items]
        if (after := page.next) is None:
            break
    assert [own for _, own in seen] == made[::-1]
    with kept.reading() as connection, pytest.raises(CursorInvalid):
        decisions.page(connection, after="yesterday")


def test_lists_of_one_kind_and_of_one_ranker(kept: Database) -> None:
    record(kept, PASSED)
    refused = record(kept, replace(PASSED, decision="refused", ranker=OTHER))

    def ids(**wanted: str) -> list[str]:
        with kept.reading() as connection:
            return [row.id for row in decisions.page(connection, **wanted).items]

    assert ids(decision="refused") == ids(ranker=OTHER) == [refused]
    assert ids(decision="not decided") == ids(decision="passed", ranker=OTHER) == []
    assert ids(ranker="\0") == []


@pytest.mark.parametrize("own", ["", "0" * 64, "\0", "x" * 1000])
def test_what_names_no_decision(kept: Database, own: str) -> None:
    with kept.reading() as connection, pytest.raises(DecisionMissing):
        decisions.decision(connection, own)


def test_the_last_word_on_a_pair_is_of_one_champion(kept: Database) -> None:
    first = replace(PASSED, rule="first", champion_ranker=None, champion_bundle=None)
    at_first = record(kept, first, now=1)
    record(kept, replace(PASSED, decision="refused"), now=2)
    last = record(kept, PASSED, now=3)
    with kept.reading() as connection:

        def found(candidate: tuple[str, str], champion: tuple[str, str] | None) -> str | None:
            row = decisions.latest(connection, candidate, champion)
            return row and row.id

        assert found((RANKER, BUNDLE), (OTHER, NEWER)) == last
        assert found((RANKER, BUNDLE), None) == at_first
        assert found((RANKER, NEWER), (OTHER, NEWER)) is None
        assert found((RANKER, BUNDLE), (OTHER, BUNDLE)) is None
