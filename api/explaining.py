"""Why one entity is near another: what both vectors lean on, and how the present graph joins them.

Takes what was found, gives an explanation for each; never searches, never names who is out of
answers. Anchors are what training saw, paths what holds now: each can be there without the other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import time

from api.errors import Invalid
from api.live import Trio
from api.questions import Explanation, Item, Leaning, Located, Question, Step
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.ids import EntityId
from graphsvc.paths import Path, Walks
from graphsvc.schema import Schema
from kge.bundle import ALL

#: Items that are explained at most in one answer, and what is told of each.
MOST_EXPLAINED = 50
#: Items that all queries of a request may have explained together.
MOST_TOGETHER = 200
_MOST_PATHS = 3
_MOST_ANCHORS = 5
#: An anchor counts from this share of both vectors on: what is less says nothing of them.
LEAST_SHARE = 0.01


def check_explained(question: Question) -> None:
    """Raise `Invalid` where more would have to be explained than is."""
    if question.explain and question.k > MOST_EXPLAINED:
        wanted = f"at most {MOST_EXPLAINED} where explain is asked for"
        raise _refusal(question.k, wanted, "")


@dataclass(slots=True)
class Explaining:
    """Explains what was found, whatever it reads only once; good for one request."""

    connection: Connection
    schema: Schema
    trio: Trio
    #: The overlay knows of all who are out of answers.
    calm: bool
    #: Anchors by row: what they are called, None where they are out of answers.
    _names: dict[int, EntityId | None] = field(default_factory=dict)
    _walks: Walks = field(init=False)
    #: Items that those who were admitted may have explained.
    _admitted: int = 0

    def __post_init__(self) -> None:
        self._walks = Walks(self.connection, self.schema, int(time()))

    def admit(self, question: Question) -> None:
        """Raise `Invalid` where a request has too much explained, with what came before."""
        if not question.explain:
            return
        asked = self._admitted + question.k
        if asked > MOST_TOGETHER:
            wanted = f"at most {MOST_TOGETHER} in all queries of a request that ask to explain"
            raise _refusal(asked, wanted, " with those before")
        self._admitted = asked

    def explain(
        self, of: Located | None, items: Sequence[Item], facet: str = ALL
    ) -> list[Explanation]:
        """One explanation per item, in their order; `facet`: by whose vectors they were found."""
        return [
            Explanation(
                anchors=leaning,
                paths=[
                    [Step(hop.relation, "out" if hop.outward else "in", hop.to) for hop in path]
                    for path in walked
                ],
            )
            for leaning, walked in zip(
                self.anchors(of, items, facet), self._paths(of, items), strict=True
            )
        ]

    def anchors(
        self, of: Located | None, items: Sequence[Item], facet: str = ALL
    ) -> list[list[Leaning]]:
        """What each item leans on together with who was asked about.

        Bundles say it of the vectors of all relations alone, so in another facet it is nothing.
        """
        if facet != ALL:
            return [[] for _ in items]
        found = [_common(self.trio, of, item) for item in items]
        self._look_up({row for some in found for _, row in some})
        return [self._named(some) for some in found]

    def _paths(self, of: Located | None, items: Sequence[Item]) -> list[list[Path]]:
        if of is None:
            return [[] for _ in items]
        targets = [EntityId(item.type, item.id) for item in items]
        return self._walks.between(of.entity, targets, most=_MOST_PATHS)

    def _named(self, common: Iterable[tuple[float, int]]) -> list[Leaning]:
        named = ((self._names[row], share) for share, row in common)
        told = [Leaning(name, share) for name, share in named if name is not None]
        return told[:_MOST_ANCHORS]

    def _look_up(self, rows: Iterable[int]) -> None:
        """What anchors are called, and which of them are retired, merged or opted out."""
        bundle, overlay = self.trio.bundle, self.trio.overlay
        new = [row for row in rows if row not in self._names]
        for kind in bundle.types.values():
            own = [row for row in new if kind.start <= row < kind.stop]
            hidden = overlay.hidden(kind.name)
            for row in own:
                out = hidden is not None and hidden[row - kind.start]
                self._names[row] = None if out else EntityId(kind.name, str(bundle.ids[row]))
            shown = {name.id: row for row in own if (name := self._names[row])}
            if shown and not self.calm:
                since = self.trio.tail.watermark
                for id_ in tail.unfit(self.connection, kind.name, sorted(shown), since=since):
                    self._names[shown[id_]] = None


def _common(trio: Trio, of: Located | None, item: Item) -> list[tuple[float, int]]:
    """(share, row) of the anchors that both lean on, the one with the larger share first.

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
    return sorted(common, key=lambda one: (-one[0], one[1]))


def _refusal(k: int, wanted: str, how: str) -> Invalid:
    told = {"field": "k", "value": k, "expected": wanted}
    return Invalid(f"k should be {wanted}, received {k}{how}", errors=[told])
