"""Why one entity is near another: what both vectors lean on, and how the present graph joins them.

Takes what was found, gives an explanation for each; never searches. Anchors are what training saw,
paths what holds now, so each can be there without the other.
"""

from collections.abc import Sequence
from time import time

from api.errors import Invalid
from api.live import Trio
from api.questions import Explanation, Item, Leaning, Located, Question, Step
from graphsvc.db import Connection
from graphsvc.ids import EntityId
from graphsvc.paths import paths
from graphsvc.schema import Schema

#: Items that are explained at most in one answer, and what is told of each.
MOST_EXPLAINED = 50
_MOST_PATHS = 3
_MOST_ANCHORS = 5
#: An anchor counts from this share of both vectors on: what is less says nothing of them.
LEAST_SHARE = 0.01


def check_explained(question: Question) -> None:
    """Raise `Invalid` where more would have to be explained than is."""
    if question.explain and question.k > MOST_EXPLAINED:
        raise Invalid(
            f"k should be at most {MOST_EXPLAINED} where explain is asked for, "
            f"received {question.k}"
        )


def explain(
    connection: Connection, schema: Schema, trio: Trio, of: Located | None, items: Sequence[Item]
) -> list[Explanation]:
    """One explanation per item, in their order."""
    targets = [EntityId(item.type, item.id) for item in items]
    found = (
        paths(connection, schema, of.entity, targets, as_of=int(time()), most=_MOST_PATHS)
        if of
        else [[] for _ in items]
    )
    return [
        Explanation(
            anchors=_shared(trio, of, item),
            paths=[
                [Step(hop.relation, "out" if hop.outward else "in", hop.to) for hop in path]
                for path in some
            ],
        )
        for item, some in zip(items, found, strict=True)
    ]


def _shared(trio: Trio, of: Located | None, item: Item) -> list[Leaning]:
    """The anchors that both lean on, the one with the larger common share first.

    One of the two may be an anchor itself. That it leans on itself tells nothing.
    """
    leaning = trio.bundle.leaning
    # Who was folded in leans on nothing but the edges it has.
    if leaning is None or of is None or of.row < 0 or of.edges or item.row < 0:
        return []
    rows, shares = leaning
    own = dict(zip(rows[of.row].tolist(), shares[of.row].tolist(), strict=True))
    common = [
        (min(share, own[row]), row)
        for row, share in zip(rows[item.row].tolist(), shares[item.row].tolist(), strict=True)
        if row >= 0
        and row not in (of.row, item.row)
        and row in own
        and min(share, own[row]) >= LEAST_SHARE
    ]
    common.sort(key=lambda one: (-one[0], one[1]))
    return [Leaning(_name(trio, row), share) for share, row in common[:_MOST_ANCHORS]]


def _name(trio: Trio, row: int) -> EntityId:
    kind = next(t for t in trio.bundle.types.values() if t.start <= row < t.stop)
    return EntityId(kind.name, str(trio.bundle.ids[row]))
