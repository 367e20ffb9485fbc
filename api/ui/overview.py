"""Overview: how much comes in, what there is, what answers, and what to do next."""

from collections.abc import Mapping, Sequence
from time import time
from typing import Any, NamedTuple

from nicegui import ui

from api.deps import Services
from api.errors import NotLiveYet, Unauthorized
from api.printing import moment
from api.routes.graph import get_graph
from api.routes.promotions import get_promotions
from api.ui.bars import bars
from api.ui.desk import ERRORS, Desk
from api.ui.shell import table
from api.ui.words import age, short
from graphsvc import ledger, pace
from graphsvc.db import Connection

_MINUTES, _SECONDS = 60, 15.0
_NEXT = """There is nothing here yet. Three steps to the first score:

1. Post events: `POST /v1/events`, or `graphsvc ingest FILE` ([how](/docs)).
2. Train: **Jobs**, *Start a retrain*, or `POST /v1/retrains`.
3. Ask: **Score**, or `POST /v1/score`.
"""
_TRAIN = "There are events, and nothing was trained yet: start a retrain under **Jobs**."


class _Line(NamedTuple):
    """A line of the card of what answers; of a version, with its whole digest to point at."""

    text: str
    digest: str = ""


class _Now(NamedTuple):
    """What moves while somebody looks, and costs next to nothing to ask again."""

    pace: list[int]
    trio: list[_Line] | None
    health: list[_Line]


class _Found(NamedTuple):
    graph: Any
    sources: Mapping[str, str]
    now: _Now


def _look(services: Services) -> _Found:
    sources = {name: event.source for name, event in services.schema.events.items()}
    return _Found(get_graph(services), sources, _now(services))


def _now(services: Services) -> _Now:
    with services.database.reading() as connection:
        counts = pace.per_minute(connection, now=int(time()), minutes=_MINUTES)
        trio = _trio(services, connection)
    health = {
        "scores": "nothing is live that could answer" if trio is None else "ready to answer",
        "database": "PostgreSQL" if services.database.is_postgresql else "SQLite",
        "rows of the log behind": f"{services.live.lag:,}",
        "entities folded in": f"{services.live.folded:,}",
    }
    return _Now(counts, trio, [_Line(f"{name}: {value}") for name, value in health.items()])


def _trio(services: Services, connection: Connection) -> list[_Line] | None:
    """What is live, since when, and how old each of its versions is; None before there is any."""
    try:
        live = services.live.trio()
    except NotLiveYet:
        return None
    newest = get_promotions(services, limit=1).items[0]
    since = newest.created_at
    told = [
        _Line(
            f"generation {newest.generation}, live since {moment(since)} ({age(since)}), "
            f"by {newest.promoted_by or ''}"
        )
    ]
    for kind, digest in live.versions.items():
        sealed = ledger.artifact(connection, digest).created_at
        told.append(_Line(f"{kind}, sealed {age(sealed)}", digest))
    return [*told, _Line(f"computed by {live.ranker.computed_by}")]


async def draw(desk: Desk) -> None:
    """Draw it, and what moves again now and then: to look should cost next to nothing."""
    found = await desk.see(("GET", "/v1/graph"), _look)
    now = found.now
    hint = ui.markdown(_hint(now, begun=bool(found.graph.events)))
    hint.bind_visibility_from(hint, "content", bool)
    with ui.grid().classes("w-full grid-cols-1 md:grid-cols-2 gap-4"):
        with ui.card().classes("w-full"):
            ui.label("Events per minute, the last hour").classes("font-medium")
            chart = ui.echart(_pace(now.pace)).classes("w-full h-56")
            told = ui.label(_sum(now.pace)).classes("quiet")
        with ui.card().classes("w-full"):
            ui.label("What answers").classes("font-medium")
            answers = ui.column().classes("w-full")
            _answers(answers, now)
        _counted(found)

    async def again() -> None:
        nonlocal now
        try:
            new = await desk.see(("GET", "/v1/graph"), _now, unasked=True)
        except Unauthorized as error:
            timer.deactivate()
            told.set_text(str(error))
            return
        except ERRORS as error:  # it may go well the next time
            told.set_text(f"this is of a while ago: {error}")
            return
        told.set_text(_sum(new.pace))
        if new.pace != now.pace:
            chart.options.update(_pace(new.pace))
            chart.update()
        if new[1:] != now[1:]:
            _answers(answers, new)
        begun = bool(found.graph.events) or hint.content != _NEXT
        hint.set_content(_hint(new, begun=begun))
        now = new

    timer = ui.timer(_SECONDS, again, immediate=False)


def _hint(now: _Now, *, begun: bool) -> str:
    """What to do next; `begun`: events have come before."""
    if not begun and not any(now.pace):
        return _NEXT
    return _TRAIN if now.trio is None else ""


def _counted(found: _Found) -> None:
    """How many there are, in a card of entities and one of edges."""
    with ui.card().classes("w-full"):
        ui.label("Entities").classes("font-medium")
        rows = [{"type": name, "entities": n} for name, n in found.graph.entities.items()]
        table(("type", "entities"), rows, key="type", empty="none yet")
    with ui.card().classes("w-full"):
        ui.label("Edges").classes("font-medium")
        edges = [
            {"relation": name, "edges": n, "where": found.sources.get(name, "")}
            for name, n in found.graph.edges.items()
        ]
        table(("relation", "edges", "where"), edges, key="relation", empty="none yet")


def _answers(where: ui.column, now: _Now) -> None:
    where.clear()
    with where:
        if now.trio is None:
            ui.label("Nothing is live yet.").classes("quiet")
        else:
            _lines(now.trio)
        ui.separator()
        _lines(now.health, "quiet")


def _lines(lines: Sequence[_Line], how: str = "") -> None:
    for line in lines:
        with ui.row().classes("items-baseline gap-2"):
            ui.label(line.text).classes(how)
            if line.digest:
                ui.label(short(line.digest)).classes("mono").tooltip(line.digest)


def _sum(counts: list[int]) -> str:
    most = "at least " if sum(counts) >= pace.MOST_ROWS else ""
    return f"{most}{sum(counts):,} events in the last hour, {counts[-1]:,} in this minute"


def _pace(counts: list[int]) -> dict[str, Any]:
    minutes = [f"-{len(counts) - 1 - n} min" for n in range(len(counts))]
    return bars(minutes, counts)
