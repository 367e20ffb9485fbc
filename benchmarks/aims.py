"""What a benchmark is to reach, and whether it did.

Takes rows and aims, gives a table for the page; never measures anything. An aim was set before what
it judges was measured, and a figure that misses it is shown beside those that do not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pages import figure, table, told

from graphsvc.report import Row

REACHED, MISSED, OPEN = "reached", "missed", "not decided"

_WORDS = """
## Aims

`reached`, or `missed`: so is the whole 95 % interval of the figure, or the figure where it has
none; `not decided`: the aim lies within the interval.
"""


@dataclass(frozen=True)
class Aim:
    """A metric that is to be at least, or at most, so much; `where`: of which splits, a pattern."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    where: str = ".*"

    @property
    def text(self) -> str:
        """Such as `>= 100`."""
        if self.at_least is not None:
            return f">= {figure(self.at_least)}"
        return f"<= {figure(self.at_most or 0.0)}"

    def is_of(self, row: Row) -> bool:
        return row.metric == self.metric and re.fullmatch(self.where, row.split) is not None

    def verdict(self, row: Row) -> str:
        ends = [row.value if end is None else end for end in (row.lo, row.hi)]
        if self.at_least is not None:
            kept = [end >= self.at_least for end in ends]
        else:
            kept = [end <= (self.at_most or 0.0) for end in ends]
        return OPEN if len(set(kept)) > 1 else REACHED if kept[0] else MISSED


def missed(aims: Sequence[Aim], rows: Sequence[Row]) -> bool:
    """Whether any figure misses an aim of its."""
    return any(aim.verdict(row) == MISSED for aim in aims for row in told(rows) if aim.is_of(row))


def section(aims: Sequence[Aim], rows: Sequence[Row]) -> str:
    """What a page says of them; nothing where nothing of theirs was measured."""
    lines = [
        (aim.metric, row.model, row.split, aim.text, figure(row.value), aim.verdict(row))
        for aim in aims
        for row in told(rows)
        if aim.is_of(row)
    ]
    if not lines:
        return ""
    names = ("metric", "of", "where", "aim", "measured", "it is")
    return f"{_WORDS.strip()}\n\n{table(names, lines, left=3)}"
