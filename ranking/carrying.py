"""What the ID rows of a ranker begin with where they go on from those of one before it.

Takes a sealed ranker and the rows of a new training, gives what is known of its ids, and lets the
new rows begin there; refuses what would tell of labels that are to be guessed. Never trains, and
never asks who may be carried: ids that may not be are named by who calls.
"""

import json
from collections.abc import Collection, Mapping

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from graphsvc.artifact import Artifact, ArtifactStore
from graphsvc.snapshot import Span
from ranking.config import ARMS
from ranking.errors import NotCarried
from ranking.examples import Examples
from ranking.formats import check_format
from ranking.idtables.known import KnownRows
from ranking.idtables.mapped import mapped
from ranking.idtables.placement import Placement
from ranking.idtables.served import sealed_rows
from ranking.idtables.succession import succession
from ranking.model import RankerModel
from ranking.spec import FeatureSpec
from ranking.trained import TrainedRanker

#: The file of what an optimizer remembers of ID rows, `<table>.<state>`; of Adagrad alone.
REMEMBERED = "optimizer.safetensors"
#: What a ranker's manifest says of the last second of TRAIN.
TAUGHT_UNTIL = "taught_until"
#: Tables of heads and of tails.
TABLES = ("head_table", "tail_table")
#: Spans that labels are guessed in.
_JUDGED = (Span.VALID, Span.CALIBRATE, Span.TEST)

#: Of heads and of tails.
Known = tuple[KnownRows, KnownRows]


def carried_rows(
    store: ArtifactStore,
    digest: str,
    examples: Examples,
    *,
    without: Mapping[str, Collection[str]],
) -> Known:
    """What a sealed ranker knows of heads and of tails with a row of their own.

    `without`: type -> ids whose rows stay behind. Hashed rows stay behind as well: in them is what
    was learned of ids that are gone. How wide rows are to be says a plan of memory, so it is not
    checked here. Raises `NotCarried` where rows would not mean the same, and where some were taught
    labels that are not earlier than all that the new ranker is judged by; `RankerFormat`, and the
    store's `ArtifactMissing` and `ArtifactDamaged`.
    """
    artifact = store.open("ranker", digest)
    check_format(digest, artifact.payload)
    spec = FeatureSpec.of_json(artifact.payload["spec"])
    _check_meaning(artifact, spec, examples)
    _check_time(artifact, examples)
    named = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    arrays = mapped(artifact.file("weights.safetensors"))
    states = _remembered(artifact)
    sides = zip(("head", "tail"), TABLES, (spec.head.type, spec.tail.type), strict=True)
    head, tail = (
        KnownRows(
            Placement(_left(named[side], without.get(type_, ())), 0),
            sealed_rows(arrays, table, artifact.dials["ids"]["dim"]).first(len(named[side])),
            {name: state[: len(named[side])] for name, state in states[table].items()},
        )
        for side, table, type_ in sides
    )
    return head, tail


def resume(
    model: RankerModel, placements: tuple[Placement, Placement], known: tuple[KnownRows | None, ...]
) -> None:
    """Let who moves the rows go on with what was remembered of those that are known.

    Where another optimizer moves them now, it begins anew.
    """
    tables = (model.head_table, model.tail_table)
    for table, placement, of in zip(tables, placements, known, strict=True):
        mover = table.mover
        if of is not None and mover is not None and set(of.states) == set(mover.states()):
            mover.resume(succession(of.placement, placement).carried(of.states))


def remembered(
    model: RankerModel, into: Mapping[str, Tensor] | None = None
) -> Mapping[str, Tensor]:
    """What Adagrad remembers of ID rows as of now, by `<table>.<state>`; nothing of AdamW.

    That has two numbers for each of a row: a ranker would be three times as large. `into`: what was
    given before, whose memory is taken.
    """
    found: dict[str, Tensor] = {}
    for name in TABLES:
        mover = getattr(model, name).mover
        states = {} if mover is None else mover.states()
        # By row, not by number.
        small = {one: state for one, state in states.items() if state.dim() == 1}
        if len(small) == len(states):
            found |= {f"{name}.{one}": state for one, state in small.items()}
    if into is None:
        return {name: state.clone() for name, state in found.items()}
    for name, state in found.items():
        into[name].copy_(state)
    return into


def going_on(store: ArtifactStore, trained: TrainedRanker, digest: str) -> TrainedRanker:
    """A ranker that says whose rows its own began with, and until when these were taught."""
    former = store.open("ranker", digest, verify=False).payload[TAUGHT_UNTIL]
    return trained._replace(carried_from=digest, taught_until=max(trained.taught_until, former))


def taught_until(examples: Examples) -> int:
    """The last second of which a ranker learns a label."""
    return int(examples.rows[Span.TRAIN].time.max())


def _left(ids: list[str | None], without: Collection[str]) -> tuple[str | None, ...]:
    gone = frozenset(without)
    return tuple(None if name in gone else name for name in ids)


def _remembered(artifact: Artifact) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {name: {} for name in TABLES}
    file = artifact.path / REMEMBERED
    if file.exists():
        for name, state in load_file(artifact.file(REMEMBERED)).items():
            table, _, own = name.partition(".")
            found[table][own] = state
    return found


def _check_meaning(artifact: Artifact, spec: FeatureSpec, examples: Examples) -> None:
    """Raise `NotCarried` unless a row of the former ranker means the same in the new one."""
    arm = ARMS[artifact.payload["arm"]]
    said: tuple[tuple[str, object, object], ...] = (
        ("heads", examples.head_type, spec.head.type),
        ("tails", examples.tail_type, spec.tail.type),
        ("what rows begin at", "0", "the embedding" if arm.begins else "0"),
    )
    for name, now, before in said:
        if now != before:
            raise NotCarried(
                f"rows of ranker {artifact.digest} cannot be carried: {name} should be {now}, as "
                f"in this training, received {before}"
            )


def _check_time(artifact: Artifact, examples: Examples) -> None:
    """Raise `NotCarried` where rows were taught what is to be guessed."""
    until = artifact.payload.get(TAUGHT_UNTIL)
    if until is None:
        raise NotCarried(
            f"ranker {artifact.digest} does not say until when it was taught: an earlier version "
            "trained it; retrain once without carry"
        )
    times = [examples.rows[span].time for span in _JUDGED if len(examples.rows[span].time)]
    first = int(min(np.min(time) for time in times))
    if until >= first:
        raise NotCarried(
            f"rows of ranker {artifact.digest} were taught until second {until}, which should be "
            f"earlier than all that this one is judged by, whose first is of {first}; retrain "
            "without carry, or with a split by global time of a later log"
        )
