"""Overview: how much comes in, what there is, what answers, and what to do next."""

from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

from nicegui import ui

from api.deps import Services
from api.errors import NotLiveYet, Unauthorized
from api.printing import moment
from api.routes.graph import get_graph
from api.routes.promotions import get_promotions
from api.ui.desk import ERRORS, Desk
from api.ui.shell import table
from api.ui.words import age, short
from graphsvc import pace

_MINUTES, _SECONDS = 60, 15.0
#: Read on light and on dark.
_GRAY = {"color": "#808895"}
_LINES = {"lineStyle": {"color": "#80889540"}}
_NEXT = """There is nothing here yet. Three steps to the first score:

1. Post events: `POST /v1/events`, or `graphsvc ingest FILE` ([how](/docs)).
2. Train: **Jobs**, *Start a retrain*, or `POST /v1/retrains`.
3. Ask: **Score**, or `POST /v1/score`.
"""
_TRAIN = "There are events, and nothing was trained yet: start a retrain under **Jobs**."


class _Found(NamedTuple):
    graph: Any
    sources: Mapping[str, str]
    pace: list[int]
    trio: dict[str, Any] | None
    health: list[tuple[str, str]]


def _look(services: Services) -> _Found:
    graph = get_graph(services)
    counts = _counts(services)
    sources = {name: event.source for name, event in services.schema.events.items()}
    try:
        live = services.live.trio()
        newest = get_promotions(services, limit=1).items[0]
        trio = {
            "generation": newest.generation,
            "since": newest.created_at,
            "by": newest.promoted_by or "",
            "parts": live.versions,
            "computed_by": live.ranker.computed_by,
        }
    except NotLiveYet:
        trio = None
    health = [
        ("database", "PostgreSQL" if services.database.is_postgresql else "SQLite"),
        ("rows of the log behind", f"{services.live.lag:,}"),
        ("entities folded in", f"{services.live.folded:,}"),
    ]
    return _Found(graph, sources, counts, trio, health)


def _counts(services: Services) -> list[int]:
    with services.database.reading() as connection:
        return pace.per_minute(connection, now=int(time()), minutes=_MINUTES)


async def draw(desk: Desk) -> None:
    """Draw it, and what moves again now and then: to look should cost next to nothing."""
    found = await desk.see(("GET", "/v1/graph"), _look)
    if not found.graph.events:
        ui.markdown(_NEXT)
    elif found.trio is None:
        ui.markdown(_TRAIN)
    with ui.grid().classes("w-full grid-cols-1 md:grid-cols-2 gap-4"):
        with ui.card().classes("w-full"):
            ui.label("Events per minute, the last hour").classes("font-medium")
            chart = ui.echart(_pace(found.pace)).classes("w-full h-56")
            told = ui.label(_sum(found.pace)).classes("quiet")
            shown = list(found.pace)
        with ui.card().classes("w-full"):
            ui.label("What answers").classes("font-medium")
            _trio(found)
        with ui.card().classes("w-full"):
            ui.label("Entities").classes("font-medium")
            rows = [{"type": name, "entities": n} for name, n in found.graph.entities.items()]
            table(("type", "entities"), rows, key="type", empty="none yet")
        with ui.card().classes("w-full"):
            ui.label("Edges").classes("font-medium")
            edges = [
                {
                    "relation": name,
                    "edges": n,
                    "where": found.sources.get(name, ""),
                }
                for name, n in found.graph.edges.items()
            ]
            table(("relation", "edges", "where"), edges, key="relation", empty="none yet")

    async def again() -> None:
        try:
            new = await desk.see(("GET", "/v1/graph"), _counts)
        except Unauthorized as error:
            timer.deactivate()
            told.set_text(str(error))
            return
        except ERRORS as error:  # it may go well the next time
            told.set_text(f"this is of a while ago: {error}")
            return
        if new != shown:
            shown[:] = new
            chart.options.update(_pace(new))
            chart.update()
            told.set_text(_sum(new))

    timer = ui.timer(_SECONDS, again, immediate=False)


def _trio(found: _Found) -> None:
    if found.trio is None:
        ui.label("Nothing is live yet.").classes("quiet")
    else:
        since = found.trio["since"]
        ui.label(
            f"generation {found.trio['generation']}, live since {moment(since)} ({age(since)}), "
            f"by {found.trio['by']}"
        )
        for kind, digest in found.trio["parts"].items():
            with ui.row().classes("items-baseline gap-2"):
                ui.label(kind)
                ui.label(short(digest)).classes("mono").tooltip(digest)
        ui.label(f"computed by {found.trio['computed_by']}").classes("quiet")
    ui.separator()
    for name, value in found.health:
        ui.label(f"{name}: {value}").classes("quiet")


def _sum(counts: list[int]) -> str:
    most = "at least " if sum(counts) >= pace.MOST_ROWS else ""
    return f"{most}{sum(counts):,} events in the last hour, {counts[-1]:,} in this minute"


def _pace(counts: list[int]) -> dict[str, Any]:
    minutes = [f"-{len(counts) - 1 - n} min" for n in range(len(counts))]
    return {
        "backgroundColor": "transparent",
        "grid": {"left": 50, "right": 10, "top": 10, "bottom": 25},
        "xAxis": {"type": "category", "data": minutes, "axisLabel": _GRAY},
        "yAxis": {"type": "value", "minInterval": 1, "axisLabel": _GRAY, "splitLine": _LINES},
        "tooltip": {"trigger": "axis"},
        "series": [{"type": "bar", "data": counts, "itemStyle": {"color": "#3b82f6"}}],
        "animation": False,
    }
