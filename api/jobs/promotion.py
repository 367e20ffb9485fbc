"""Making a trio live: one transaction, harmless to repeat; by a job or by hand."""

from collections.abc import Mapping
from time import time

from api.errors import Invalid
from graphsvc import decisions, ledger, succession
from graphsvc.db import Database, wait_for_writers
from graphsvc.decisions import DecisionRow
from graphsvc.errors import LiveChanged
from graphsvc.ledger import Signed
from ranking.compare import PASSED


def promote(
    database: Database,
    ranker: str,
    *,
    reason: str,
    bundle: str | None = None,
    once: bool = False,
    while_live: Mapping[str, str] | None = None,
    signed: Signed | None = None,
) -> ledger.Live:
    """Make a ranker and the bundle and index it belongs to the live trio.

    `bundle`: a later one of the same frame, instead of the one it was trained on. A trio that is
    live already keeps its generation. `once`: what was promoted for this reason before is not
    promoted again, since somebody may have gone back from it meanwhile. `while_live`: the
    digests of the trio that has to be live still, by name, none where nothing may be: whoever
    began with that trio, or was compared with it, should take back neither what came meanwhile nor
    a rollback. Raises `LiveChanged`, `PromotionRefused` or `ArtifactMissing`.
    """
    with database.transaction() as connection:
        wait_for_writers(connection)
        if while_live is not None:  # as it is called since somebody was erased from it
            while_live = succession.renewed(connection, dict(while_live))
        before = ledger.promoted_for(connection, reason) if once else None
        if before:
            return before
        chosen, index, ranker = ledger.trio_of(connection, ranker, bundle)
        present = ledger.live(connection)
        trio = {"bundle": chosen, "index": index, "ranker": ranker}
        if present and trio == digests(present):
            return present
        if while_live is not None:
            _refuse_another(present, while_live)
        return ledger.promote(connection, **trio, reason=reason, now=int(time()), signed=signed)


def promote_by_hand(
    database: Database,
    ranker: str,
    *,
    reason: str | None,
    by: str,
    bundle: str | None = None,
    field: str = "body.reason",
) -> ledger.Live:
    """Make a trio live because somebody says so; that is how one overrules the gate, or rolls back.

    Without a reason only where the gate has let this ranker and bundle pass over what is live, or
    where they are live already. `field`: the name under which a reason is sent. Raises `Invalid`
    where one is missing, and what `promote` raises.
    """
    with database.reading() as connection:
        present = ledger.live(connection)
        chosen, _, ranker = ledger.trio_of(connection, ranker, bundle)
        champion = (present.ranker, present.bundle) if present else None
        decided = decisions.latest(connection, (ranker, chosen), champion)
    passed = decided is not None and decided.decision == PASSED
    reason = (reason or "").strip() or None
    if reason is None and not passed and champion != (ranker, chosen):
        raise _reason_needed(field, decided)
    default = "it passed the gate" if passed else "live already"
    return promote(
        database,
        ranker,
        bundle=chosen,
        reason=reason or default,
        # What it passed was the trio that was live then.
        while_live=digests(present) if reason is None else None,
        signed=Signed(by, decided.id if decided else None),
    )


def digests(live: ledger.Live | None) -> dict[str, str]:
    """The digests of a trio by name; none where nothing is live."""
    if live is None:
        return {}
    return {"bundle": live.bundle, "index": live.index, "ranker": live.ranker}


def _refuse_another(present: ledger.Live | None, expected: Mapping[str, str]) -> None:
    """Raise `LiveChanged` where another trio is live by now."""
    found = digests(present)
    for name in ("ranker", "bundle", "index"):
        if found.get(name) != expected.get(name):
            raise LiveChanged(
                f"{name} {expected.get(name, 'none')} should be the live one still, and "
                f"{found.get(name, 'none')} is by now; ask again"
            )


def _reason_needed(field: str, decided: DecisionRow | None) -> Invalid:
    said = "the gate has not compared it with what is live"
    if decided is not None:
        said = f"the gate says {decided.decision}: {decided.reason}"
    says = f"should say why this is promoted, since {said}"
    return Invalid(f"{field} {says}", errors=[{"field": field, "value": None, "expected": says}])
