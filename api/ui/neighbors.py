"""Neighbors: who is near an entity, by which vectors, by which versions, and why."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from nicegui import ui

from api.routes.neighbors import QueriesIn, many, post_neighbors
from api.ui.beside import Picker, moved, picker_of_bundles
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from api.ui.titles import titles
from api.ui.words import number
from graphsvc.ids import EntityId
from kge.bundle import ALL

_ROUTE = ("POST", "/v1/neighbors")
_MOST, _ANCHORS = 50, 3


class _Answer(NamedTuple):
    """What a version says of a facet."""

    facet: str
    #: "" of the live one.
    version: str
    said: dict[str, Any]


async def draw(desk: Desk) -> None:
    """The question, and answers side by side where two facets or two versions are asked."""
    live = await desk.see(("GET", "/v1/graph"), lambda services: services.live.trio())
    types, facets = list(live.bundle.types), list(live.bundle.facets)
    with ui.row().classes("w-full items-end gap-3"):
        type_ = ui.select(types, label="type", value=types[0]).classes("w-32")
        id_ = ui.input("id").props("autofocus")
        wanted = ui.select(types, label="neighbors of type", value=None, clearable=True)
        wanted.classes("w-40")
        k = ui.number("how many", value=10, min=1, max=_MOST, precision=0).classes("w-24")
        relations = [relation.name for relation in live.bundle.relations]
        relation = ui.select(relations, label="who completes", clearable=True).classes("w-40")
        first = ui.select(facets, label="facet", value=ALL).classes("w-32")
        second = ui.select(facets, label="beside it, the facet", clearable=True).classes("w-40")
        other = await picker_of_bundles(desk)
        go = ui.button("Look", icon="search")
    filter_ = ui.input('filter as JSON, e.g. {"must": [{"attribute": "country", "in": ["DE"]}]}')
    filter_.classes("w-full")
    other.tell_here()
    answer = ui.element("div").classes("w-full grid grid-cols-1 md:grid-cols-2 gap-4")

    async def ask() -> None:
        answer.clear()
        if filter_.value and not _is_json(filter_.value):
            ui.notify("filter should be a JSON object", type="negative")
            return
        query: dict[str, Any] = {
            "entity": {"type": type_.value, "id": (id_.value or "").strip()},
            "k": k.value or 10,
            "explain": True,
        }
        query |= {"type": wanted.value} if wanted.value else {}
        query |= {"relation": relation.value} if relation.value else {}
        query |= {"filter": json.loads(filter_.value)} if filter_.value else {}
        try:
            facets = [facet for facet in (first.value, second.value) if facet]
            found = await _answers(desk, other, query, facets)
            near = [one for answer in found for one in _near(answer)]
            called = await desk.see(_ROUTE, lambda services: titles(services, near))
        except ERRORS as error:
            say_in(answer, error, ask)
            return
        with answer:
            for one in found:
                _show(one, [rival for rival in found if rival is not one], called)

    go.on_click(ask)
    id_.on("keydown.enter", ask)
    handed = desk.handed()
    if handed is not None and handed.type in types:
        type_.value, id_.value = handed
        await ask()


async def _answers(
    desk: Desk, other: Picker, query: dict[str, Any], facets: list[str]
) -> list[_Answer]:
    """What the live version says of each facet, and what another one does, if one was chosen."""
    body = QueriesIn(queries=[query | {"facet": facet} for facet in facets])
    told = await desk.see(_ROUTE, lambda services: post_neighbors(services, body))
    found = [("", told)]
    if other.version is not None:
        trio = await other.opened(desk, _ROUTE, other.version)
        said = await desk.see(_ROUTE, lambda services: many(services, trio, body))
        found.append((other.name, said))
    return [
        _Answer(facet, name, one)
        for name, response in found
        for facet, one in zip(facets, orjson.loads(bytes(response.body))["answers"], strict=True)
    ]


def _near(answer: _Answer) -> list[EntityId]:
    """Who is near, the nearest first."""
    return [EntityId(item["type"], item["id"]) for item in answer.said.get("items", ())]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _places(answer: _Answer) -> dict[EntityId, int]:
    return {near: place for place, near in enumerate(_near(answer), start=1)}


def _show(answer: _Answer, others: list[_Answer], called: Mapping[EntityId, str]) -> None:
    one = answer.said
    with ui.card().classes("w-full"):
        which = f"by bundle {answer.version}, which is not live" if answer.version else "live"
        ui.label(f"facet {answer.facet}, {which}").classes("font-medium")
        if one["verdict"] == "refused":
            ui.label(one["problem"]["detail"]).props("role=alert")
            return
        ui.label(
            f"{one['state']}; {one['plan']} search, measured recall "
            f"{number(one['recall_estimate'])}"
        ).classes("quiet")
        places = _places(answer)
        # Of two answers each says where the other one has what it found.
        there = _places(others[0]) if len(others) == 1 else {}
        rows = [
            {
                "place": places[near],
                "in the other": moved(places, there, near),
                "type": item["type"],
                "id": item["id"],
                "title": called[near],
                "distance": number(item["distance"]),
                "known": "cold" if item["cold"] else "learned",
                "why": _why(item.get("explanation")),
            }
            for near, item in zip(places, one["items"], strict=True)
        ]
        first = ("place", "in the other") if len(others) == 1 else ()
        names = (*first, "type", "id", "title", "distance", "known", "why")
        table(names, rows, key="id", empty="nobody is near")


def _why(why: dict[str, Any] | None) -> str:
    """Shared anchors and the first path, in a line."""
    if not why:
        return ""
    anchors = [
        f"{one['anchor']['type']}/{one['anchor']['id']} {one['share']:.0%}"
        for one in why["anchors"][:_ANCHORS]
    ]
    said = [f"both lean on {', '.join(anchors)}"] if anchors else []
    for path in why["paths"][:1]:
        walked = [
            f"{'→' if step['direction'] == 'out' else '←'} {step['relation']} "
            f"{step['to']['type']}/{step['to']['id']}"
            for step in path
        ]
        said.append(" ".join(walked))
    return "; ".join(said) or "no short path"
