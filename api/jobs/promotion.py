"""Making a trio live: one transaction, harmless to repeat."""

from time import time

from graphsvc import ledger
from graphsvc.db import Database, wait_for_writers
from graphsvc.errors import PromotionRefused


def promote(
    database: Database,
    ranker: str,
    *,
    reason: str,
    bundle: str | None = None,
    once: bool = False,
    while_live: bool = False,
) -> ledger.Live:
    """Make a ranker and the bundle and index it belongs to the live trio.

    `bundle`: a later one of the same frame, instead of the one it was trained on. A trio that is
    live already keeps its generation. `once`: what was promoted for this reason before is not
    promoted again, since somebody may have gone back from it meanwhile. `while_live`: the ranker
    has to be the live one still, since a refresh should not take back what came meanwhile. Raises
    `PromotionRefused` or `ArtifactMissing`.
    """
    with database.transaction() as connection:
        wait_for_writers(connection)
        before = ledger.promoted_for(connection, reason) if once else None
        if before:
            return before
        chosen, index, _ = ledger.trio_of(connection, ranker, bundle)
        present = ledger.live(connection)
        if while_live and (present is None or present.ranker != ranker):
            raise PromotionRefused(
                f"ranker {ranker} should be the live one still, and "
                f"{present.ranker if present else 'none'} is by now; ask for a refresh again"
            )
        trio = {"bundle": chosen, "index": index, "ranker": ranker}
        if present and trio == {name: getattr(present, name) for name in trio}:
            return present
        return ledger.promote(connection, **trio, reason=reason, now=int(time()))
