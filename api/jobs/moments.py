"""The moment that a request stands for, as far as it is known before a job chooses it.

Takes a request, refuses what no job could use, and says whether a job that has chosen already is of
the moment of the log, and began with the live trio, that a new one would choose; never reads a
snapshot's rows.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any

from api.errors import Invalid, NotLiveYet
from api.jobs.choices import RankerChoice
from api.jobs.requests import RetrainRequest
from graphsvc import ledger, versions
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import ArtifactFormat, ArtifactMissing, NotEnoughData
from graphsvc.export import moment_at_time, present_moment
from graphsvc.snapshot import open_snapshot
from kge.config import check_facets
from ranking.config import ARMS, RankerConfig


def refuse_without_live(database: Database, store: ArtifactStore, request: RetrainRequest) -> None:
    """Raise `NotLiveYet` where nothing is live that the job could begin with.

    And `Invalid` where rows should go on from a live ranker whose rows lie in its embedding's
    space. Another one may be live when the job begins: its step checks again.
    """
    field = request.begins_with_live
    if not field:
        return
    with database.reading() as connection:
        live = digests_of(ledger.live(connection), field=field)
    arm = store.open("ranker", live["ranker"], verify=False).payload["arm"]
    if request.carry and ARMS[arm].begins:
        expected = (
            f"false, since the live ranker is of arm {arm}, whose rows begin at its embedding; "
            "retrain first with arms whose rows begin at 0, and have one promoted"
        )
        problem = {"field": "body.carry", "value": True, "expected": expected}
        raise Invalid(f"carry should be {expected}, received true", errors=[problem])


def refuse_facets(database: Database, facets: Mapping[str, Sequence[str]]) -> None:
    """Raise `UnknownRelation` for facets that the present schema has no relations for.

    The worker may have other settings, or the schema may be another one when it begins: its step
    checks again.
    """
    with database.reading() as connection:
        relations = versions.current(connection).relations if facets else ()
    check_facets(facets, [relation.name for relation in relations])


def refuse_conversions(database: Database, request: RetrainRequest, dials: RankerConfig) -> None:
    """Raise `ConversionUnknown` for events that no click of the present schema can lead to.

    And `Invalid` for rankers that should answer about conversions where nothing counts as one. The
    schema may be another one when the job begins: its steps check again.
    """
    with database.reading() as connection:
        counted = request.counted.named(versions.current(connection))
    heads = request.dials(dials).heads
    if "cvr" in heads.names and not counted and not request.refresh:
        expected = "ctr, since nothing in the schema counts as a conversion"
        problem = {"field": "body.ranker.heads", "value": heads.kind, "expected": expected}
        raise Invalid(
            f"ranker.heads should be {expected}, received {heads.kind!r}", errors=[problem]
        )


def refuse_training(database: Database, request: RetrainRequest) -> None:
    """Raise `Invalid` for clients or groups by what is no category of the present schema.

    The schema may be another one when the job begins: its steps check again.
    """
    federated = None if request.training is None else request.training.federated
    fairness = None if request.training is None else request.training.fairness
    asked = []
    if federated is not None and "." in federated.clients:
        side = federated.clients.partition(".")[0]
        asked.append(("federated.clients", federated.clients, side, f"{side}."))
    if fairness is not None:
        asked.append(("fairness.by", fairness.by, "head", ""))
    if not asked:
        return
    with database.reading() as connection:
        schema = versions.current(connection)
    shown = schema.events[schema.label.exposure]
    for name, value, side, before in asked:
        type_ = shown.head if side == "head" else shown.tail
        kinds = schema.entities[type_].attributes
        known = [f"{before}{one}" for one, kind in kinds.items() if kind == "category"]
        if value not in known:
            expected = f"one of the categories of {type_} ({', '.join(known) or 'none'})"
            problem = {"field": f"body.training.{name}", "value": value, "expected": expected}
            says = f"training.{name} should be {expected}, received {value!r}"
            raise Invalid(says, errors=[problem])


def refuse_idle(choice: RankerChoice | None, dials: RankerConfig) -> None:
    """Raise `Invalid` for what is chosen of the rankers and would do nothing beside the rest."""
    idle = choice.idle(choice.over(dials)) if choice else None
    if idle is not None:
        name, why = idle
        value = getattr(choice, name)
        expected = f"absent: {why}"
        problem = {"field": f"body.ranker.{name}", "value": value, "expected": expected}
        raise Invalid(f"ranker.{name} should be {expected}, received {value!r}", errors=[problem])


def digests_of(live: ledger.Live | None, *, field: str = "refresh") -> dict[str, str]:
    """The digests of the bundle, index and ranker that a job begins with.

    Raises `NotLiveYet` where nothing is live, with the field of the request that asks for it.
    """
    if live is None:
        raise NotLiveYet(
            f"{field} should be false as long as nothing is live, since it begins with what is, "
            "received true; ask for a retrain without it first"
        )
    return {"bundle": live.bundle, "index": live.index, "ranker": live.ranker}


def refuse_unusable(store: ArtifactStore, as_of: int | str | None, *, name: str) -> None:
    """Raise `Invalid`, with the name that it was sent under, for a moment that no job could use.

    A second to come is none: what will have arrived by then is not known yet.
    """
    if as_of is None:
        return
    if isinstance(as_of, int):
        now = int(time())
        expected = (
            f"should not be in the future: it is {now} now "
            f"({datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC)"
        )
        if as_of > now:
            raise _invalid(name, as_of, f"{expected}, received {as_of}", expected)
        return
    try:
        open_snapshot(store, as_of, verify=False)  # its step reads every byte
    except (ArtifactMissing, ArtifactFormat) as error:
        raise _invalid(name, as_of, f"should be the digest of a snapshot: {error}") from error


def would_choose(database: Database, chosen: Mapping[str, Any], request: RetrainRequest) -> bool:
    """Whether a new job would choose what the step `moment` of another one has chosen."""
    as_of = request.as_of
    with database.reading() as connection:
        if chosen["schema"] != versions.version(connection):
            return False
        field = request.begins_with_live
        if field and chosen["live"] != digests_of(ledger.live(connection), field=field):
            return False
        if isinstance(as_of, str):
            return True  # what is sealed does not move
        try:
            found = (
                present_moment(connection) if as_of is None else moment_at_time(connection, as_of)
            )
        except NotEnoughData:
            return False
        return bool(found.seq == chosen["seq"])


def _invalid(name: str, as_of: int | str, says: str, expected: str | None = None) -> Invalid:
    problem = {"field": name, "value": as_of, "expected": expected or says}
    return Invalid(f"{name} {says}", errors=[problem])
