"""The edges of an entity: when they were last seen, by relation, and the newest in a table."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nicegui import ui

from api.printing import moment
from api.ui.bars import stacked
from api.ui.shell import table
from api.ui.words import number
from graphsvc.graph import EdgeView

#: Most bars of the chart.
_BINS = 24
_DAY = 86_400
#: Bins of at least so many seconds -> how much of the moment at which one begins tells it.
_TOLD = {_DAY: len("2026-01-01"), 60: len("2026-01-01 00:00"), 1: len("2026-01-01 00:00:00")}


class Binned(NamedTuple):
    """How many edges were last seen when."""

    #: When each bin begins, as people read it.
    labels: list[str]
    #: Relation -> edges in each bin.
    counts: dict[str, list[int]]


def draw(edges: Sequence[EdgeView], sources: Mapping[str, str], *, most: int) -> None:
    """What there is of the newest edges; `sources` says where each relation happens."""
    ui.label("Edges, the newest first").classes("font-medium")
    if edges:
        binned = over_time(edges)
        named = {_called(name, sources): counts for name, counts in binned.counts.items()}
        shown = f"When the newest {len(edges)}" if len(edges) == most else "When they"
        ui.label(f"{shown} were last seen, by relation").classes("quiet")
        chart = ui.echart(stacked(binned.labels, named)).classes("w-full h-56")
        chart.props('role=img aria-label="edges by relation over time"')
    rows = [
        {
            "n": n,
            "relation": edge.relation,
            "direction": edge.direction,
            "other": f"{edge.other.type}/{edge.other.id}",
            "where": sources.get(edge.relation, ""),
            "times": edge.count,
            "weight": number(edge.weight),
            "first": moment(edge.first_time),
            "last": moment(edge.last_time),
        }
        for n, edge in enumerate(edges)
    ]
    names = ("relation", "direction", "other", "where", "times", "weight", "first", "last")
    table(names, rows, key="n", empty="no edges")


def over_time(edges: Sequence[EdgeView], most: int = _BINS) -> Binned:
    """Edges by relation, in bins of the same length from the first to the last; of one at least."""
    times = [edge.last_time for edge in edges]
    first, span = min(times), max(times) - min(times) + 1
    seconds = -(-span // most)
    bins = -(-span // seconds)
    counts = {name: [0] * bins for name in sorted({edge.relation for edge in edges})}
    for edge in edges:
        counts[edge.relation][(edge.last_time - first) // seconds] += 1
    length = next(length for least, length in _TOLD.items() if seconds >= least)
    return Binned([moment(first + n * seconds)[:length] for n in range(bins)], counts)


def _called(relation: str, sources: Mapping[str, str]) -> str:
    """A relation as the legend names it; one that the schema no longer has, by its name alone."""
    where = sources.get(relation)
    return f"{relation} ({where})" if where else relation
