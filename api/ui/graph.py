"""Graph: one entity, with what is known of it, what it did, and what it agreed to."""

from collections.abc import Sequence
from functools import partial
from time import time
from typing import Any

from nicegui import ui
from starlette.responses import Response

from api.deps import Services
from api.printing import moment
from api.routes.acts import ActOut, get_events
from api.routes.entities import get_entity
from api.routes.history import get_history
from api.ui import edges
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from api.ui.words import number
from graphsvc import catalog
from graphsvc.graph import newest_edges
from graphsvc.ids import EntityId

_ROUTE = ("GET", "/v1/entities/{type}/{id}")
_EDGES, _ACTS, _SAID = 200, 100, 50


async def draw(desk: Desk) -> None:
    """The question, and below it what there is."""
    schema = await desk.see(("GET", "/v1/graph"), lambda services: services.schema)
    types = sorted(schema.entities)
    with ui.row().classes("w-full items-end gap-3"):
        type_ = ui.select(types, label="type", value=types[0]).classes("w-40")
        id_ = ui.input("id").classes("grow").props("autofocus")
        go = ui.button("Find", icon="search")
    answer = ui.column().classes("w-full gap-4")

    async def find() -> None:
        answer.clear()
        work = partial(_found, type_=type_.value, id_=(id_.value or "").strip())
        try:
            found = await desk.see(_ROUTE, work)
        except ERRORS as error:
            say_in(answer, error, find)
            return
        with answer:
            _show(found)

    go.on_click(find)
    id_.on("keydown.enter", find)


def _found(services: Services, *, type_: str, id_: str) -> dict[str, Any]:
    """One entity, its edges, its history and its consent."""
    entity = get_entity(services, Response(), type_, id_)
    acts = get_events(services, type_, id_, limit=_ACTS)
    said = get_history(services, type_, id_, limit=_SAID)
    schema, named, now = services.schema, EntityId(type_, id_), int(time())
    with services.database.reading() as connection:
        consent = catalog.consent(connection, named)
        newest = newest_edges(connection, schema, named, as_of=now, limit=_EDGES + 1)
    sources = {name: event.source for name, event in schema.events.items()}
    return {
        "entity": entity,
        "edges": newest,
        "acts": acts,
        "said": said.items,
        "consent": consent,
        "sources": sources,
    }


def _show(found: dict[str, Any]) -> None:
    entity = found["entity"]
    with ui.grid().classes("w-full grid-cols-1 md:grid-cols-2 gap-4"):
        with ui.card().classes("w-full"):
            ui.label("What is known").classes("font-medium")
            for word in _states(entity, found["consent"]):
                ui.label(word).classes("quiet")
            rows = [
                {"attribute": n, "value": ", ".join(map(str, v)) if isinstance(v, list) else str(v)}
                for n, v in entity.attributes.items()
            ]
            table(("attribute", "value"), rows, key="attribute", empty="no attributes")
        with ui.card().classes("w-full"):
            ui.label("How often").classes("font-medium")
            counted = [{"event": n, "times": v} for n, v in (entity.counters or {}).items()]
            table(("event", "times"), counted, key="event", empty="no events")
    edges.draw(found["edges"][:_EDGES], found["sources"], most=_EDGES)
    if len(found["edges"]) > _EDGES:
        ui.label(f"It has more than {_EDGES}; GET .../edges pages through all.").classes("quiet")
    _acts(found["acts"].items)
    if found["acts"].next:
        ui.label(f"It did more than {_ACTS}; GET .../events pages through all.").classes("quiet")
    ui.label("What was said of it").classes("font-medium")
    rows = [
        {
            "n": n,
            "when": moment(said.event_time),
            "event": said.event_name,
            "attributes": ", ".join(f"{k}={v}" for k, v in said.attributes.items()),
        }
        for n, said in enumerate(found["said"])
    ]
    table(("when", "event", "attributes"), rows, key="n", empty="nothing was said of it")


def _acts(items: Sequence[ActOut]) -> None:
    ui.label("What it did, the newest first").classes("font-medium")
    rows = [
        {
            "n": n,
            "when": moment(act.event_time),
            "event": act.event_name,
            "where": act.action_source,
            "other": f"{act.object.type}/{act.object.id}" if act.object else "",
            "value": "" if act.value is None else f"{number(act.value)} {act.currency or ''}",
        }
        for n, act in enumerate(items)
    ]
    names = ("when", "event", "where", "other", "value")
    table(names, rows, key="n", empty="it did nothing; edges tell what others did to it")


def _states(entity: Any, consent: Any) -> list[str]:
    told = []
    if entity.merged_into:
        told.append(f"merged into {entity.merged_into}")
    if entity.retired:
        told.append(f"retired since {moment(entity.retired_time)}: out of answers")
    if consent is not None:
        word = "agreed to" if consent.state == "in" else "refused"
        told.append(f"{word} the use of offsite events at {moment(consent.time)}")
    return told or ["it may be shown; nobody has said anything about offsite events"]
