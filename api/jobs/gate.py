"""The step that asks whether a candidate may take the place of what is live.

Takes digests, writes one decision and gives it; holds no statistics (`ranking/compare.py`) and no
rule of which rows count (`ranking/contest.py`). Both models read the same rows, each shown where it
was, the champion with its own bundle and its own encoder, as it serves; each head is judged alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.jobs.promotion import digests, promote
from api.jobs.steps import Tick, Workshop
from graphsvc import decisions, ledger, succession
from graphsvc.db import Connection
from graphsvc.decisions import Decided
from graphsvc.errors import ArtifactDamaged, ArtifactFormat, ArtifactMissing, LiveChanged
from graphsvc.ledger import Live, Signed
from graphsvc.snapshot import Snapshot, Span, open_snapshot
from kge.bundle import open_bundle
from kge.errors import KgeError
from ranking.bundle import Ranker, open_ranker
from ranking.compare import (
    NOT_DECIDED,
    PASSED,
    REFUSED,
    Decision,
    Judged,
    Verdict,
    compare,
    together,
)
from ranking.contest import later_rows, rival, rival_of, slices_of
from ranking.errors import NotEnoughRows, RankingError, StatesMismatch
from ranking.examples import Examples, LabelledRows, of_head
from ranking.gating import GateConfig

#: Why a champion cannot be asked: its bytes are gone or of another format, or it reads other rows.
_NOT_COMPARABLE = (ArtifactMissing, ArtifactDamaged, ArtifactFormat, RankingError, KgeError)
_NONE_LATER = "no labelled row is later than all that one of the two has learned from"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ranker, the bundle it would serve beside, and the snapshot whose TEST rows are asked."""

    snapshot: str
    bundle: str
    ranker: str


class _Found(NamedTuple):
    """What the gate found; `numbers` are kept with it."""

    rule: str
    decision: Decision
    reason: str
    numbers: Mapping[str, Any]


class _Ours(NamedTuple):
    """A head of the candidate: rows of TEST by number, and what it says of them."""

    rows: NDArray[np.int64]
    judged: Judged
    scores: NDArray[np.float64]
    slices: Mapping[str, NDArray[np.bool_]]
    #: Share of the rows whose tail its bundle knows.
    known: float
    #: Why there are no rows; empty where there are.
    missing: str = ""


class _Theirs(NamedTuple):
    """A head of the champion: what it says of the same rows."""

    scores: NDArray[np.float64]
    known: float


def gate(
    shop: Workshop, candidate: Candidate, *, tick: Tick, job_id: str | None = None
) -> dict[str, Any]:
    """Decide whether a candidate may be promoted over what is live now, and keep the decision."""
    with shop.database.reading() as connection:
        live = ledger.live(connection)
        candidate = succession.renewed(connection, candidate)
    tick(0, 2, "the candidate on rows that nobody learned from")
    if live is None:
        found = _first(shop, candidate)
    elif (live.ranker, live.bundle) == (candidate.ranker, candidate.bundle):
        found = _Found("live", PASSED, "it is live already", {})
    else:
        found = _against(shop, candidate, live, tick)
    return _kept(shop, candidate, live, found, job_id)


def promote_judged(
    shop: Workshop, decided: Mapping[str, Any], job: str, *, why: str
) -> dict[str, Any]:
    """Promote what the gate was asked about, over the trio that it was compared with and no other.

    Gives the decision that holds and the promotion. Where another trio is live by now there is
    none, and a decision that says so. Raises `PromotionRefused`.
    """
    ranker, bundle = decided["ranker"], decided["bundle"]
    try:
        live = promote(
            shop.database,
            ranker,
            bundle=bundle,
            reason=f"{why}, job {job}",
            once=True,
            while_live=decided["champion"],
            signed=Signed(f"job {job}", decided["id"]),
        )
    except LiveChanged as changed:
        with shop.database.reading() as connection:
            present = ledger.live(connection)
        candidate = Candidate(decided["snapshot"], bundle, ranker)
        reason = f"what is live has changed since it was compared: {changed}"
        found = _Found("champion", NOT_DECIDED, reason, {"before": decided["id"]})
        return {"decision": _kept(shop, candidate, present, found, job), "promoted": None}
    told = {"ranker": ranker, "generation": live.generation}
    return {"decision": dict(decided), "promoted": told}


def _kept(
    shop: Workshop, candidate: Candidate, live: Live | None, found: _Found, job_id: str | None
) -> dict[str, Any]:
    """Write a decision's row; what the job tells of it."""
    decided = Decided(
        decision=found.decision,
        rule=found.rule,
        reason=found.reason,
        ranker=candidate.ranker,
        bundle=candidate.bundle,
        snapshot=candidate.snapshot,
        champion_ranker=live.ranker if live else None,
        champion_bundle=live.bundle if live else None,
        numbers=found.numbers,
    )
    with shop.database.transaction() as connection:
        own = decisions.record(connection, decided, job_id=job_id, now=int(time()))
    return {
        "id": own,
        "decision": found.decision,
        "rule": found.rule,
        "reason": found.reason,
        **asdict(candidate),
        "champion": digests(live),
    }


def _first(shop: Workshop, candidate: Candidate) -> _Found:
    """Where nothing is live nobody loses a champion: it passes unless it loses to a count."""
    ranker = _ranker(shop, candidate.ranker, candidate.bundle)
    verdicts, rivals = {}, {head: rival_of(head) for head in ranker.head_names}
    for head in ranker.head_names:
        examples = _asked(shop, candidate, head)
        if isinstance(examples, str):
            verdicts[head] = _undecided(examples)
            continue
        test = examples.rows[Span.TEST]
        verdicts[head] = compare(
            Judged(test.labels, test.cluster, test.weight),
            _said(ranker, head, test),
            rival(examples, head),
            slices={},
            dials=shop.settings.gate,
        )
    decision, why = together(verdicts)
    numbers = _numbers(shop, verdicts, {"rivals": rivals})
    named = " and ".join(rivals.values())
    if decision == REFUSED:
        reason = f"nothing is live, but it loses to {named}: {why}"
        return _Found("first", REFUSED, reason, numbers)
    said = f"nothing is live, and it does not lose to {named}: {why}"
    return _Found("first", PASSED, said, numbers)


def _against(shop: Workshop, candidate: Candidate, live: Live, tick: Tick) -> _Found:
    """Compare with the champion, on rows that are later than all that either has learned from."""
    with shop.database.reading() as connection:
        sides = ((candidate.ranker, candidate.bundle), (live.ranker, live.bundle))
        learned = sorted(_learned_from(connection, sides))
    more: dict[str, Any] = {"later_than": learned}
    try:
        before = [open_snapshot(shop.store, digest, verify=False) for digest in learned]
    except _NOT_COMPARABLE as error:
        reason = f"nobody can say any more what was learned from: {error}"
        return _Found("champion", NOT_DECIDED, reason, more)
    ours = _ours(shop, candidate, before)
    if not any(len(side.rows) for side in ours.values()):
        reason = "; ".join(dict.fromkeys(side.missing for side in ours.values()))
        return _Found("champion", NOT_DECIDED, reason, more)
    tick(1, 2, "the champion on the same rows")
    try:
        theirs = _theirs(shop, candidate.snapshot, live, ours)
    except _NOT_COMPARABLE as error:
        reason = f"the champion cannot be compared: {error}"
        return _Found("champion", NOT_DECIDED, reason, more)
    verdicts = {
        head: _verdict(ours[head], theirs[head], shop.settings.gate)
        if head in ours
        else _undecided(f"the candidate does not answer {head}, which the champion does")
        for head in theirs
    }
    more["known_tails"] = {
        head: {"candidate": ours[head].known, "champion": theirs[head].known}
        for head in theirs
        if head in ours
    }
    decision, reason = together(verdicts)
    return _Found("champion", decision, reason, _numbers(shop, verdicts, more))


def _verdict(ours: _Ours, theirs: _Theirs, dials: GateConfig) -> Verdict:
    if ours.missing:
        return _undecided(ours.missing)
    return compare(ours.judged, ours.scores, theirs.scores, slices=ours.slices, dials=dials)


def _undecided(reason: str) -> Verdict:
    return Verdict(decision=NOT_DECIDED, reason=reason, rows=0, users=0, outcomes=0)


def _asked(shop: Workshop, candidate: Candidate, head: str) -> Examples | str:
    """The candidate's examples as a head's, or why there are none."""
    examples = shop.examples(candidate.snapshot, candidate.bundle)
    try:
        return of_head(examples, head)
    except NotEnoughRows as error:
        return str(error)


def _said(ranker: Ranker, head: str, rows: LabelledRows) -> NDArray[np.float64]:
    """What a head says of rows, each shown where it was."""
    return ranker.scored(rows.heads, rows.tails, rows.exposures).probabilities[head]


def _ours(shop: Workshop, candidate: Candidate, before: Sequence[Snapshot]) -> dict[str, _Ours]:
    """The candidate's side, by head; its examples may be let go of afterwards."""
    ranker = _ranker(shop, candidate.ranker, candidate.bundle)
    source = open_snapshot(shop.store, candidate.snapshot)
    found = {}
    for head in ranker.head_names:
        examples = _asked(shop, candidate, head)
        if isinstance(examples, str):
            found[head] = _nothing(examples)
            continue
        test = examples.rows[Span.TEST]
        rows = later_rows(test, examples.head_type, examples.protocol, before)
        if not len(rows):
            found[head] = _nothing(_NONE_LATER)
            continue
        later = test.take(rows)
        found[head] = _Ours(
            rows=rows,
            judged=Judged(later.labels, later.cluster, later.weight),
            scores=_said(ranker, head, later),
            slices=slices_of(examples, rows, source, shop.settings.gate),
            known=float(later.tails.known.mean()),
        )
    return found


def _nothing(why: str) -> _Ours:
    rows = np.empty(0, dtype=np.int64)
    judged = Judged(rows.astype(np.int8), rows.astype(np.int32))
    return _Ours(rows, judged, np.empty(0), {}, 0.0, missing=why)


def _theirs(
    shop: Workshop, snapshot: str, live: Live, ours: Mapping[str, _Ours]
) -> dict[str, _Theirs]:
    """What each of the champion's heads says of the rows that the candidate's are asked about.

    Raises `StatesMismatch` where it was trained to tell something else.
    """
    ranker = _ranker(shop, live.ranker, live.bundle)
    asked, trained = (
        open_snapshot(shop.store, digest, verify=False).interaction
        for digest in (snapshot, ranker.snapshot_digest)
    )
    shared = ["head", "tail", "exposure", "outcome"]
    if "cvr" in ranker.head_names and "cvr" in ours:
        shared += ["conversions", "conversion_seconds"]
    for name in shared:
        mine, its = getattr(asked, name), getattr(trained, name)
        if mine != its:
            raise StatesMismatch(f"the {name} of its rows should be {mine}, it is {its}")
    examples = shop.examples(snapshot, live.bundle)
    found = {}
    for head in ranker.head_names:
        if head in ours and len(ours[head].rows):
            rows = of_head(examples, head).rows[Span.TEST].take(ours[head].rows)
            found[head] = _Theirs(_said(ranker, head, rows), float(rows.tails.known.mean()))
        else:
            found[head] = _Theirs(np.empty(0), 0.0)
    return found


def _ranker(shop: Workshop, ranker: str, bundle: str) -> Ranker:
    return open_ranker(shop.store, ranker, open_bundle(shop.store, bundle))


def _learned_from(connection: Connection, sides: Iterable[tuple[str, str]]) -> set[str]:
    """The snapshots that rankers and bundles were made from, and all that these began with."""
    found, bundles, seen = set[str](), list[str](), set[str]()
    for ranker, bundle in sides:
        bundles.append(bundle)
        former: str | None = ranker
        while former is not None:
            parents = ledger.artifact(connection, former).parents
            found.add(parents["snapshot"])
            bundles.append(parents["bundle"])
            former = parents.get("rows_of")
    while bundles:
        digest = bundles.pop()
        if digest not in seen:
            seen.add(digest)
            parents = ledger.artifact(connection, digest).parents
            found.add(parents["snapshot"])
            bundles += [parents["previous"]] if "previous" in parents else []
    return found


def _numbers(
    shop: Workshop, verdicts: Mapping[str, Verdict], more: Mapping[str, Any]
) -> dict[str, Any]:
    """All that a decision rests on."""
    told = {head: verdict.as_json() for head, verdict in verdicts.items()}
    return {"verdicts": told, "dials": asdict(shop.settings.gate), **more}
