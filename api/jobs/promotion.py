"""Making a trio live: one transaction, harmless to repeat."""

from time import time

from graphsvc import ledger
from graphsvc.db import Database


def promote(database: Database, ranker: str, *, reason: str) -> ledger.Live:
    """Make a ranker and the bundle and index it belongs to the live trio.

    A trio that is live already keeps its generation. Raises `PromotionRefused` or
    `ArtifactMissing`.
    """
    with database.transaction() as connection:
        bundle, index, _ = ledger.trio_of(connection, ranker)
        present = ledger.live(connection)
        if present and (present.bundle, present.index, present.ranker) == (bundle, index, ranker):
            return present
        return ledger.promote(
            connection, bundle=bundle, index=index, ranker=ranker, reason=reason, now=int(time())
        )
