"""Neighbors: who is near an entity, by which vectors, and why."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from nicegui import ui

from api.routes.neighbors import QueriesIn, post_neighbors
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from api.ui.titles import titles
from api.ui.words import number
from graphsvc.ids import EntityId
from kge.bundle import ALL

_ROUTE = ("POST", "/v1/neighbors")
_MOST, _ANCHORS = 50, 3


async def draw(desk: Desk) -> None:
    """The question, and answers side by side where two facets are asked."""
    live = await desk.see(("GET", "/v1/graph"), lambda services: services.live.trio())
    types = list(live.bundle.types)
    facets = [ALL, *live.bundle.facets]
    with ui.row().classes("w-full items-end gap-3"):
        type_ = ui.select(types, label="type", value=types[0]).classes("w-32")
        id_ = ui.input("id").props("autofocus")
        wanted = ui.select(types, label="neighbors of type", value=None, clearable=True)
        wanted.classes("w-40")
        k = ui.number("how many", value=10, min=1, max=_MOST, precision=0).classes("w-24")
        relations = [relation.name for relation in live.bundle.relations]
        relation = ui.select(relations, label="who completes", clearable=True).classes("w-40")
        first = ui.select(facets, label="facet", value=facets[0]).classes("w-32")
        second = ui.select(facets, label="beside it", clearable=True).classes("w-32")
        go = ui.button("Look", icon="search")
    filter_ = ui.input('filter as JSON, e.g. {"must": [{"attribute": "country", "in": ["DE"]}]}')
    filter_.classes("w-full")
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
        if wanted.value:
            query["type"] = wanted.value
        if relation.value:
            query["relation"] = relation.value
        try:
            if filter_.value:
                query["filter"] = json.loads(filter_.value)
            asked = [facet for facet in (first.value, second.value) if facet]
            body = QueriesIn(queries=[query | {"facet": facet} for facet in asked])
            told = await desk.see(_ROUTE, lambda services: post_neighbors(services, body))
        except ERRORS as error:
            say_in(answer, error)
            return
        found = orjson.loads(bytes(told.body))
        near = [
            EntityId(item["type"], item["id"])
            for one in found["answers"]
            for item in one.get("items", ())
        ]
        called = await desk.see(_ROUTE, lambda services: titles(services, near))
        with answer:
            for facet, one in zip(asked, found["answers"], strict=True):
                _show(facet, one, called)

    go.on_click(ask)
    id_.on("keydown.enter", ask)
    handed = desk.handed()
    if handed is not None and handed.type in types:
        type_.value, id_.value = handed
        await ask()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _show(facet: str, one: dict[str, Any], called: Mapping[EntityId, str]) -> None:
    with ui.card().classes("w-full"):
        ui.label(f"facet {facet}").classes("font-medium")
        if one["verdict"] == "refused":
            ui.label(one["problem"]["detail"]).props("role=alert")
            return
        ui.label(
            f"{one['state']}; {one['plan']} search, measured recall "
            f"{number(one['recall_estimate'])}"
        ).classes("quiet")
        rows = [
            {
                "type": item["type"],
                "id": item["id"],
                "title": called[EntityId(item["type"], item["id"])],
                "distance": number(item["distance"]),
                "known": "cold" if item["cold"] else "learned",
                "why": _why(item.get("explanation")),
            }
            for item in one["items"]
        ]
        table(
            ("type", "id", "title", "distance", "known", "why"),
            rows,
            key="id",
            empty="nobody is near",
        )


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
