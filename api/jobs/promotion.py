"""Making a trio live: one transaction, harmless to repeat."""

from collections.abc import Mapping
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
    while_live: Mapping[str, str] | None = None,
) -> ledger.Live:
    """Make a ranker and the bundle and index it belongs to the live trio.

    `bundle`: a later one of the same frame, instead of the one it was trained on. A trio that is
    live already keeps its generation. `once`: what was promoted for this reason before is not
    promoted again, since somebody may have gone back from it meanwhile. `while_live`: the
    digests of the trio that has to be live still, by name: a refresh should take back neither what
    came meanwhile nor a rollback. Raises `PromotionRefused` or `ArtifactMissing`.
    """
    with database.transaction() as connection:
        wait_for_writers(connection)
        before = ledger.promoted_for(connection, reason) if once else None
        if before:
            return before
        chosen, index, _ = ledger.trio_of(connection, ranker, bundle)
        present = ledger.live(connection)
        if while_live is not None:
            _refuse_another(present, while_live)
        trio = {"bundle": chosen, "index": index, "ranker": ranker}
        if present and trio == _digests(present):
            return present
        return ledger.promote(connection, **trio, reason=reason, now=int(time()))


def _digests(live: ledger.Live) -> dict[str, str]:
    return {"bundle": live.bundle, "index": live.index, "ranker": live.ranker}


def _refuse_another(present: ledger.Live | None, expected: Mapping[str, str]) -> None:
    """Raise `PromotionRefused` where another trio is live by now."""
    found: Mapping[str, str] = _digests(present) if present else {}
    for name in ("ranker", "bundle", "index"):
        if found.get(name) != expected[name]:
            raise PromotionRefused(
                f"{name} {expected[name]} should be the live one still, and "
                f"{found.get(name, 'none')} is by now; ask for a refresh again"
            )
