"""API keys: shown once, stored as a hash."""

import hashlib

import pytest
from sqlalchemy import select

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
        assert keys.verify(connection, key, now=8) == public_id
        row = connection.execute(select(api_keys)).one()
        assert row.hash == hashlib.sha256(secret.encode()).hexdigest()
        assert secret not in str(tuple(row))
    with database.transaction() as connection:
        keys.touch(connection, public_id, now=9)
        assert keys.list_keys(connection) == [keys.KeyInfo(public_id, "first", 7, 9)]
        keys.revoke(connection, public_id)
        with pytest.raises(KeyMissing):
            keys.revoke(connection, public_id)
    with database.reading() as connection:
        assert keys.verify(connection, key, now=10) is None


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
        assert [keys.verify(connection, presented, now=8) for presented in wrong] == [None] * 10
