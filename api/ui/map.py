"""Map: every entity of the live bundle as a point, near where its vector is."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from nicegui import ui
from nicegui.events import GenericEventArguments

from api.errors import UnknownName
from api.ui.coloring import hidden
from api.ui.desk import ERRORS, Desk, tell, told
from api.ui.points import COLORS, POINTS, ROUTE, Drawn, choices, drawn
from api.ui.titles import titles
from api.ui.words import number, short
from graphsvc.ids import EntityId

_STYLE = (Path(__file__).parent / "chart" / "map.css").read_text()


class Chart(ui.element, component="map.js", esm={"graphsvc-chart": "chart"}):
    """The canvas; what it can be told is in `map.js`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.props["name"] = name


async def draw(desk: Desk) -> None:
    """Colors and a search above the map, which loads by itself."""
    shown = await desk.see(ROUTE, drawn)
    colored_by = await desk.see(ROUTE, choices)
    types = list(shown.trio.bundle.types)
    ui.add_css(_STYLE)
    with ui.row().classes("w-full items-end gap-3"):
        by = ui.select(colored_by, label="colored by", value="").classes("w-44")
        type_ = ui.select(types, label="type", value=types[0]).classes("w-32")
        id_ = ui.input("id").classes("w-40")
        go = ui.button("Find", icon="search")
    missed = ui.label().props("role=alert").classes("text-negative")
    chart = Chart(shown.map.digest)
    ui.label(_worth(shown)).classes("quiet")

    async def paint() -> None:
        chart.run_method("paint", f"{COLORS}/{shown.map.digest}?by={quote(by.value or '')}")

    async def find() -> None:
        entity = EntityId(type_.value, (id_.value or "").strip())
        try:
            row = await desk.see(ROUTE, lambda _services: _row(shown, entity))
        except ERRORS as error:
            missed.set_text(told(error))
            return
        missed.set_text("")
        chart.run_method("mark", *shown.place(row))

    async def look(event: GenericEventArguments) -> None:
        entity = _asked(shown, event.args)
        if entity is None:
            return
        try:
            called = await desk.see(ROUTE, lambda services: titles(services, [entity]))
        except ERRORS as error:
            tell(error)
            return
        named = f"{entity.type}/{entity.id}"
        title = called[entity]
        chart.run_method("tell", event.args["point"], title or named, named if title else "")

    async def pick(event: GenericEventArguments) -> None:
        entity = _asked(shown, event.args)
        if entity is not None:
            desk.hand(entity)
            ui.navigate.to("/neighbors")

    by.on_value_change(paint)
    go.on_click(find)
    id_.on("keydown.enter", find)
    chart.on("look", look)
    chart.on("pick", pick)
    chart.run_method("load", f"{POINTS}/{shown.map.digest}")
    await paint()


def _asked(shown: Drawn, told: object) -> EntityId | None:
    """The entity that a browser speaks of, whatever it says."""
    point = told.get("point") if isinstance(told, Mapping) else None
    return shown.entity(point) if isinstance(point, int) else None


def _row(shown: Drawn, entity: EntityId) -> int:
    """The bundle's row of an entity that is to be seen. Raises `UnknownName`."""
    row = int(shown.trio.bundle.rows(entity.type, [entity.id])[0]) if entity.id else -1
    if row < 0 or hidden(shown.trio)[row]:
        raise UnknownName(f"the map has no {entity.type} with this id")
    return row


def _worth(shown: Drawn) -> str:
    """How far the picture can be believed."""
    metrics = shown.map.artifact.metrics
    there = len(shown.trio.bundle.ids) - len(shown.trio.bundle.erased)
    told = [f"map {short(shown.map.digest)} of {there:,} entities"]
    if "neighbors_kept@10" in metrics:
        told.append(
            f"of the ten nearest by vectors {number(metrics['neighbors_kept@10'] * 10)} are among "
            f"the ten nearest here ({number(metrics['pca_neighbors_kept@10'] * 10)} in a plane of "
            f"principal components); trustworthiness {number(metrics['trustworthiness@10'])}"
        )
    if shown.every > 1:
        told.append(f"one in {shown.every} is drawn")
    return "; ".join(told)
