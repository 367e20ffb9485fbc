"""What a certificate says is so, and what is there again is found."""

import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loops import silent
from planted import START, click
from sqlalchemy import delete, insert

from api import erasure_list
from api.jobs import certifying, erasing_steps
from api.jobs.steps import Workshop, open_workshop
from graphsvc import erasures, ledger, succession, versions
from graphsvc.artifact import Artifact, Recipe
from graphsvc.errors import ArtifactDamaged, ErasureIncomplete
from graphsvc.ids import EntityId
from graphsvc.ingest import ingest
from graphsvc.tables import answers, idempotency

WHO = EntityId("user", "u5")


@pytest.fixture
def shop(trained_once, tmp_path: Path) -> Iterator[Workshop]:
    """What was trained twice, in a folder of its own."""
    made = trained_once("sqlite")
    shutil.copytree(made.settings.data_dir, tmp_path / "data")
    opened = open_workshop(made.settings.model_copy(update={"data_dir": tmp_path / "data"}))
    yield opened
    opened.database.dispose()


def erased(shop: Workshop, who: EntityId = WHO) -> str:
    """All steps of an erasure, one after the other: its certificate."""
    with shop.database.transaction() as connection:
        erasures.ask(connection, who, now=START + 100_000)
    numbers = erasing_steps.tables(shop, silent)
    made = erasing_steps.artifacts(shop, numbers, silent)
    switched = erasing_steps.switch(shop, numbers, made, tick=silent, job_id="job")
    cleaned = erasing_steps.remove(shop, numbers, switched, silent)
    certificate = erasing_steps.certify(shop, numbers, cleaned, tick=silent, job_id="job")
    assert certificate is not None
    return certificate


def failed(shop: Workshop, certificate: str) -> list[str]:
    return [one.check for one in certifying.verify(shop, certificate, silent) if not one.ok]


def payload(shop: Workshop, certificate: str) -> Any:
    return shop.store.open("erasure", certificate).payload


def test_all_that_is_kept_was_looked_through(shop: Workshop) -> None:
    certificate = erased(shop)
    assert failed(shop, certificate) == []
    checks = [one["check"] for one in payload(shop, certificate)["checks"]]
    with shop.database.reading() as connection:
        kept = ledger.artifacts(connection, limit=100).items
    for one in kept:
        if one.kind in ("snapshot", "bundle", "ranker"):
            assert f"ids of {one.kind} {one.digest[:8]}" in checks
    assert {"table entities", "table answers", "former bytes", "list without ids"} <= set(checks)
    assert any(one.startswith("k-NN probe") for one in checks)
    # Both trios lost them, and what is not theirs is nowhere in it.
    told = payload(shop, certificate)
    assert [one["kind"] for one in told["artifacts"]].count("bundle") == 2
    assert "u5" not in str(told)
    assert told["people"][0]["type"] == "user"
    assert any("learned beside them" in one["what"] for one in told["remains"])


def test_what_is_there_again_is_found(shop: Workshop) -> None:
    with shop.database.reading() as connection:
        live = ledger.live(connection)
    assert live is not None
    former = shop.store.open("bundle", live.bundle).path
    aside = shop.store.root.parent / "aside"
    shutil.copytree(former, aside)
    certificate = erased(shop)

    shutil.copytree(aside, former)
    assert failed(shop, certificate) == ["former bytes", "what is in no ledger"]
    shutil.rmtree(former)

    with shop.database.reading() as connection:
        present = ledger.present(connection, live.bundle)
    file = shop.store.open("bundle", present).path / "arrays.safetensors"
    whole = file.read_bytes()
    file.unlink()  # it may be linked
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert failed(shop, certificate) == [
        f"rows of bundle {present[:8]}",
        f"ids of bundle {present[:8]}",
        *probe_of(shop),
    ]
    file.write_bytes(whole)
    assert failed(shop, certificate) == []

    own = shop.store.open("erasure", certificate).path / "manifest.json"
    own.write_bytes(own.read_bytes().replace(b'"ok":true', b'"ok":True', 1))
    assert failed(shop, certificate) == ["certificate"]


def probe_of(shop: Workshop) -> list[str]:
    with shop.database.reading() as connection:
        live = ledger.live(connection)
    return [] if live is None else [f"k-NN probe of index {live.index[:8]}"]


def test_who_stands_in_a_table_again_is_found(shop: Workshop) -> None:
    certificate = erased(shop)
    raw = click("u5", "c1", START + 200_000, "slipped in")
    with shop.database.transaction() as connection:
        schema = versions.current(connection)
        # As if the door had not been shut.
        connection.exec_driver_sql(f"UPDATE erasures SET subject = '{'0' * 64}'")
        ingest(connection, schema, [raw], now=START + 200_000)
        subject = payload(shop, certificate)["people"][0]["subject"]
        connection.exec_driver_sql("UPDATE erasures SET subject = ?", (subject,))
    assert failed(shop, certificate) == ["table entities"]


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        ("INSERT INTO edges VALUES (?, 'click', 1, 1, 1, 1, 1)", ["edges.head"]),
        ("INSERT INTO edges VALUES (1, 'click', ?, 1, 1, 1, 1)", ["edges.tail"]),
        ("INSERT INTO retractions VALUES (?, 'click', 1)", ["retractions.head"]),
        ("INSERT INTO retractions VALUES (1, 'click', ?)", ["retractions.tail"]),
        ("INSERT INTO attributes VALUES (?, 'age', '40', 1, 'a')", ["attributes.entity"]),
        ("INSERT INTO counters VALUES (?, 'click', 3)", ["counters.entity"]),
        ("INSERT INTO consents VALUES (?, 'out', 1, 1)", ["consents.entity"]),
        ("UPDATE entities SET merged_into = ? WHERE key = 1", ["entities.merged_into"]),
        ("UPDATE events SET actor = ? WHERE seq = 1", ["events.actor"]),
        # No person is a tail in this schema.
        ("UPDATE events SET object = ? WHERE seq = 1", []),
    ],
)
def test_rows_without_an_entity_are_found(
    shop: Workshop, statement: str, checks: list[str]
) -> None:
    """As a restore by hand may leave them: nobody could tell whose they were."""
    with shop.database.reading() as connection:
        entity = (WHO.type, WHO.id)
        query = "SELECT key FROM entities WHERE type = ? AND id = ?"
        key = connection.exec_driver_sql(query, entity).scalar_one()
    certificate = erased(shop)
    assert failed(shop, certificate) == []
    with shop.database.transaction() as connection:
        connection.exec_driver_sql(statement, (key,))
    assert failed(shop, certificate) == [f"keys in {column}" for column in checks]


def test_who_is_an_item_of_an_answer_is_found(shop: Workshop) -> None:
    certificate = erased(shop)
    ids = ("bundle", "index", "ranker")
    row = {"request_id": "r1", "asked_at": 1, "head_type": "film", "head_id": "d1"}
    row |= {"tail_type": "user", "state": "learned", **dict.fromkeys(ids, "0" * 64)}
    for items, found in (([["u4", 0.5]], []), ([["u4", 0.5], ["u5", 0.4]], ["answers, items"])):
        with shop.database.transaction() as connection:
            connection.execute(delete(answers))
            connection.execute(insert(answers).values(row | {"items": json.dumps(items)}))
        assert failed(shop, certificate) == [f"table {name}" for name in found]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{"results": [{"actor": {"id": "u5"}}]}', True),
        ('{"detail": "nothing is known of \'u5\'."}', True),
        ('{"id": "\\u00755"}', True),
        ('{"id": "u50", "half": "\\ud800", "of": "u5\\\\"}', False),
    ],
)
def test_kept_answers_of_before_are_looked_through(shop: Workshop, said: str, found: bool) -> None:
    certificate = erased(shop)
    asked = START + 100_000
    row = {"api_key": "k", "request": "0" * 64, "status": 200, "media_type": "application/json"}
    row |= {"answer": zlib.compress(b"[]\n" + said.encode())}
    with shop.database.transaction() as connection:
        for name, at in (("before", asked - 3600), ("after", asked + 10)):
            connection.execute(insert(idempotency).values(row | {"name": name, "created_at": at}))
    assert failed(shop, certificate) == (["kept answers"] if found else [])
    with shop.database.transaction() as connection:
        connection.execute(delete(idempotency).where(idempotency.c.name == "before"))
    assert failed(shop, certificate) == [], "what was answered later is theirs who asked"


def copied(shop: Workshop, kind: str, digest: str) -> Artifact:
    """Another artifact with the same files, that nobody has recorded."""
    sealed = shop.store.open(kind, digest)
    with shop.store.draft() as folder:
        for name in sealed.manifest["files"]:
            shutil.copy(sealed.path / name, folder)
        payload = {**sealed.payload, "note": "from a copy"}
        return shop.store.seal(folder, Recipe(kind=kind, parents=sealed.parents, payload=payload))


def test_what_is_in_no_ledger_is_looked_through_as_well(shop: Workshop) -> None:
    """A worker was killed behind sealing, or the database is an earlier one than the folder."""
    snapshot = newest(shop, "snapshot")
    stray = copied(shop, "snapshot", snapshot)
    with shop.store.draft() as folder:
        harmless = shop.store.seal(folder, Recipe(kind="report", payload={"rows": []}))
    broken = shop.store.root / "bundle" / ("b" * 64)
    broken.mkdir()
    certificate = erased(shop)
    assert not stray.path.exists()
    assert not broken.exists()
    assert harmless.path.exists()
    deleted = payload(shop, certificate)["deleted"]
    assert {one["digest"] for one in deleted} == {stray.digest, broken.name}
    shutil.copytree(shop.store.open("snapshot", snapshot).path, stray.path)
    assert failed(shop, certificate) == ["what is in no ledger"], "its manifest is another one's"


def test_an_artifact_that_has_them_and_is_in_the_ledger_is_found(shop: Workshop) -> None:
    aside = shop.store.root.parent / "aside"
    stray = copied(shop, "snapshot", newest(shop, "snapshot"))
    shutil.copytree(stray.path, aside)
    certificate = erased(shop)
    shutil.copytree(aside, stray.path)
    with shop.database.transaction() as connection:
        ledger.record(connection, stray, job_id=None, now=1, erased_to=1)
    assert failed(shop, certificate) == [f"ids of snapshot {stray.digest[:8]}"]


def test_what_nobody_can_read_goes_and_stops_nobody(shop: Workshop) -> None:
    """Of a layout of before, and an index whose bundle is gone."""
    present = shop.store.open("snapshot", newest(shop, "snapshot")).payload
    with shop.store.draft() as folder:
        recipe = Recipe(kind="snapshot", payload={**present, "format": 1})
        old = shop.store.seal(folder, recipe)
    index = newest(shop, "index")
    bundle = shop.store.open("index", index).parents["bundle"]
    with shop.database.transaction() as connection:
        ledger.record(connection, old, job_id=None, now=1)
        live = ledger.live(connection)
    assert live is not None
    assert live.index != index, "the other trio"
    shutil.rmtree(shop.store.path("bundle", bundle))
    certificate = erased(shop)
    deleted = {one["digest"] for one in payload(shop, certificate)["deleted"]}
    assert deleted == {old.digest, index}
    assert failed(shop, certificate) == []


def newest(shop: Workshop, kind: str) -> str:
    """Of those of a kind that are not live, if there are several."""
    with shop.database.reading() as connection:
        items = ledger.artifacts(connection, kind=kind).items
    return min(items, key=lambda one: one.state == "live").digest


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_artifact_is_named(shop: Workshop, cut: bool) -> None:
    """While somebody is erased, and when it is looked at again: no traceback."""
    digest = newest(shop, "snapshot")
    file = shop.store.path("snapshot", digest) / "triples.parquet"
    whole = file.read_bytes()
    if cut:
        file.write_bytes(whole[:500])
    else:
        file.unlink()
    with pytest.raises(ArtifactDamaged, match=f"snapshot {digest} cannot be read"):
        erased(shop)
    file.write_bytes(whole)
    certificate = erased(shop)
    present = shop.store.open("snapshot", digest)
    (present.path / "triples.parquet").unlink()
    assert failed(shop, certificate) == [
        f"rows of snapshot {present.digest[:8]}",
        f"ids of snapshot {present.digest[:8]}",
    ]
    erasure_list.path_of(shop.settings).unlink()
    assert "list for restores" in failed(shop, certificate)


def test_a_job_that_begins_behind_a_stopped_one_certifies_all_of_it(shop: Workshop) -> None:
    with shop.database.transaction() as connection:
        erasures.ask(connection, WHO, now=START + 100_000)
    numbers = erasing_steps.tables(shop, silent)
    made = erasing_steps.artifacts(shop, numbers, silent)
    erasing_steps.switch(shop, numbers, made, tick=silent, job_id="job")
    certificate = erased(shop)  # another job, from the start
    assert len(payload(shop, certificate)["artifacts"]) == len(made["pairs"])
    zeroed = [one for one in payload(shop, certificate)["artifacts"] if one["zeroed"]]
    assert {one["kind"] for one in zeroed} == {"bundle", "ranker"}
    assert failed(shop, certificate) == []


def test_no_certificate_says_that_something_is_left(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.store, "remove", lambda _kind, _digest: None)
    with pytest.raises(ErasureIncomplete, match="former bytes"):
        erased(shop)
    with shop.database.reading() as connection:
        assert len(erasures.under_way(connection)) == 1
    monkeypatch.undo()
    assert failed(shop, erased(shop)) == []


def test_a_second_person_and_digests_of_long_ago(shop: Workshop) -> None:
    with shop.database.reading() as connection:
        live = ledger.live(connection)
    assert live is not None
    first = erased(shop)
    second = erased(shop, EntityId("user", "u6"))
    assert failed(shop, first) == failed(shop, second) == []
    with shop.database.reading() as connection:
        now = ledger.live(connection)
        assert now is not None
        assert ledger.present(connection, live.bundle) == now.bundle
        assert succession.renewed(connection, {"x": [live.ranker]}) == {"x": [now.ranker]}
        assert now.generation == live.generation + 2
    assert shop.store.open("bundle", live.bundle).digest == now.bundle


def test_steps_may_be_run_twice(shop: Workshop) -> None:
    with shop.database.transaction() as connection:
        erasures.ask(connection, WHO, now=START + 100_000)
    numbers = erasing_steps.tables(shop, silent)
    assert erasing_steps.tables(shop, silent) == numbers
    with shop.database.reading() as connection:
        told = erasures.erasure(connection, numbers[0]).removed
    assert told is not None
    assert told["events"] > 0
    made = erasing_steps.artifacts(shop, numbers, silent)
    assert erasing_steps.artifacts(shop, numbers, silent) == made
    switched = erasing_steps.switch(shop, numbers, made, tick=silent, job_id="job")
    assert erasing_steps.switch(shop, numbers, made, tick=silent, job_id="job") == switched
    done = {"rewritten": True, "deleted": []}
    for _ in range(2):
        assert erasing_steps.remove(shop, numbers, switched, silent) == done


def test_of_a_large_file_the_certificate_says_what_is_left(shop: Workshop) -> None:
    small = replace(shop, settings=shop.settings.model_copy(update={"erase_rewrite_mib": 0}))
    remains = payload(small, erased(small))["remains"]
    assert [one["until"] for one in remains if "unused room" in one["where"]] == [
        "`graphsvc compact`"
    ]
    whole = payload(shop, erased(shop, EntityId("user", "u6")))["remains"]
    assert not any("unused room" in one["where"] for one in whole)
