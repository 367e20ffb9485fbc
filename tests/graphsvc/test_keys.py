"""API keys: shown once, stored as a hash."""

import hashlib
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from graphsvc import keys
from graphsvc.db import Database
from graphsvc.errors import KeyMissing, KeyRefused
from graphsvc.tables import api_keys


def test_a_key_opens_until_it_is_revoked(database: Database) -> None:
    with database.reading() as connection:
        assert not keys.any_key(connection)
    with database.transaction() as connection:
        key = keys.create(connection, name="first", now=7)
    _, public_id, secret = key.split("_")
    with database.reading() as connection:
        assert keys.any_key(connection)
        caller = keys.verify(connection, key)
        assert caller == keys.Caller(public_id, frozenset({"admin"}), None)
        assert all(caller.may(scope) for scope in keys.SCOPES)
        row = connection.execute(select(api_keys)).one()
        assert row.hash == hashlib.sha256(secret.encode()).hexdigest()
        assert secret not in str(tuple(row))
    with database.transaction() as connection:
        known = keys.KeyInfo(public_id, "first", 7, ("admin",), None, None)
        assert keys.list_keys(connection) == [known]
        keys.revoke(connection, public_id)
        with pytest.raises(KeyMissing):
            keys.revoke(connection, public_id)
    with database.reading() as connection:
        assert keys.verify(connection, key) is None


def test_what_is_not_the_key_is_refused(database: Database) -> None:
    with database.transaction() as connection:
        key = keys.create(connection, name="first", now=7)
        other = keys.create(connection, name="second", now=7)
    _, public_id, secret = key.split("_")
    wrong = [
        "",
        "gs",
        key[:-1],
        key + "0",
        key + "\n",
        key.upper(),
        f"gs_{public_id}_{other.split('_')[2]}",
        f"gs_{'0' * 16}_{secret}",
        f"gs_{public_id}_{'0' * 64}",
        "gs_%_" + secret,
    ]
    with database.reading() as connection:
        assert [keys.verify(connection, presented) for presented in wrong] == [None] * 10


@pytest.mark.parametrize("key_id", ["", "\0", "k\0", "\ud800", "x" * 1000])
def test_what_is_no_id_is_no_key(database: Database, key_id: str) -> None:
    with database.transaction() as connection, pytest.raises(KeyMissing):
        keys.revoke(connection, key_id)


def test_of_two_at_once_one_makes_the_first_key(database: Database) -> None:
    ready = Barrier(2)
    made: list[str | None] = []

    def make(name: str) -> None:
        ready.wait(10)
        with database.transaction() as connection:
            made.append(keys.create_first(connection, name=name, now=7))

    threads = [Thread(target=make, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (key,) = [key for key in made if key is not None]
    assert len(made) == 2
    with database.reading() as connection:
        assert keys.verify(connection, key)
        assert connection.scalar(select(func.count()).select_from(api_keys)) == 1


def test_the_second_waits_for_the_first_key_to_be_kept(database: Database) -> None:
    made: list[str | None] = []

    def make() -> None:
        with database.transaction() as connection:
            made.append(keys.create_first(connection, name="second", now=8))

    with database.transaction() as connection:
        assert keys.create_first(connection, name="first", now=7)
        second = Thread(target=make)
        second.start()
        second.join(0.2)
        assert made == []
    second.join()
    assert made == [None]


def test_a_key_is_good_for_its_scopes_until_its_end(database: Database) -> None:
    with database.transaction() as connection:
        key = keys.create(connection, name="ads", now=7, scopes=["score", "read"], expires_at=9)
    with database.reading() as connection:
        caller = keys.verify(connection, key)
    assert caller is not None
    assert [scope for scope in keys.SCOPES if caller.may(scope)] == ["read", "score"]
    assert [caller.expired(now) for now in (8, 8.9, 9, 10)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scopes": ["read", "write"]}, "scope should be one of .*, received 'write'"),
        ({"scopes": []}, "scope should be one or several of .*, received none"),
        ({"expires_at": 7}, "expires_at should be after now, 7, received 7"),
    ],
)
def test_what_is_no_scope_and_no_end_is_refused(
    database: Database, given: dict[str, object], told: str
) -> None:
    with database.transaction() as connection, pytest.raises(KeyRefused, match=told):
        keys.create(connection, name="x", now=7, **given)  # type: ignore[arg-type]


def test_a_rotated_key_ends_after_its_grace(database: Database) -> None:
    """Made at 100 to end at 200, rotated at 150: the next one ends at 250, the former at 160."""
    with database.transaction() as connection:
        former = keys.create(connection, name="a", now=100, scopes=["read"], expires_at=200)
        key = keys.rotate(connection, former.split("_")[1], now=150, grace=10)
        endless = keys.create(connection, name="b", now=100, scopes=["read"])
        keys.rotate(connection, endless.split("_")[1], now=150, grace=0)
        late = keys.rotate(connection, key.split("_")[1], now=245, grace=10)
        with pytest.raises(KeyRefused, match="should not have expired"):
            keys.rotate(connection, former.split("_")[1], now=161, grace=10)
        with pytest.raises(KeyRefused, match="was rotated before"):
            keys.rotate(connection, key.split("_")[1], now=246, grace=10)
        with pytest.raises(KeyMissing):
            keys.rotate(connection, "0" * 16, now=150, grace=10)
    with database.reading() as connection:
        ends = {one: keys.verify(connection, one) for one in (former, key, endless, late)}
        listed = {info.id: info for info in keys.list_keys(connection)}
    assert [caller and caller.expires_at for caller in ends.values()] == [160, 250, 150, 345]
    assert listed[late.split("_")[1]].name == "a"
    assert listed[late.split("_")[1]].scopes == ("read",)


def test_last_uses_are_written_together(database: Database) -> None:
    with database.transaction() as connection:
        made = [keys.create(connection, name=name, now=7) for name in "abc"]
        ids = [key.split("_")[1] for key in made]
        keys.revoke(connection, ids[2])
        keys.used(connection, {ids[0]: 9, ids[2]: 9})
        keys.used(connection, {})
        last = {info.id: info.last_used_at for info in keys.list_keys(connection)}
    assert last == {ids[0]: 9, ids[1]: None}
