"""What has expired goes, part by part; what has not stays."""

from time import time

from semantics import event, post
from sqlalchemy import func, select, update

from api.housekeeping import Housekeeping
from graphsvc import dedupe
from graphsvc.db import Database
from graphsvc.tables import seen


def test_a_round_deletes_what_has_expired_and_nothing_else(database: Database) -> None:
    now = int(time())
    post(
        database, *(event("click", f"c{n}", "user/1", "item/1") for n in range(300)), backfill=True
    )
    with database.transaction() as connection:
        old = [dedupe.digest_of("click", f"c{n}") for n in range(100)]
        connection.execute(update(seen).where(seen.c.digest.in_(old)).values(expires_at=now))
        connection.execute(update(seen).where(~seen.c.digest.in_(old)).values(expires_at=now + 99))
    keeper = Housekeeping(database)
    assert sum(keeper.clean(part) for part in range(dedupe.PARTS)) == 100
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(seen)) == 200


def test_it_works_by_itself_until_it_is_stopped(database: Database) -> None:
    keeper = Housekeeping(database, seconds=0.001)
    keeper.start()
    keeper.stop()
    assert keeper._thread is not None
    assert not keeper._thread.is_alive()
