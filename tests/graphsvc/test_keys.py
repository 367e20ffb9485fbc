"""API keys: shown once, stored as a hash."""

import hashlib
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from graphsvc import keys
from graphsvc.db import Database
from graphsvc.errors import KeyMissing
from graphsvc.tables import api_keys


def test_a_key_opens_until_it_is_revoked(database: Database) -> None:
    with database.reading() as connection:
        assert not keys.any_key(connection)
    with database.transaction() as connection:
        key = keys.create(connection, name="first", now=7)
    _, public_id, secret = key.split("_")
    with database.reading() as connection:
        assert keys.any_key(connection)
        assert keys.verify(connection, key) == public_id
        row = connection.execute(select(api_keys)).one()
        assert row.hash == hashlib.sha256(secret.encode()).hexdigest()
        assert secret not in str(tuple(row))
    with database.transaction() as connection:
        assert keys.list_keys(connection) == [keys.KeyInfo(public_id, "first", 7)]
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
