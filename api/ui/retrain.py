"""The form of a retrain: a field for each of the request, the usual ones first.

Takes a desk, asks for a job as `POST /v1/retrains` would; never knows what a field means.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui
from pydantic import ValidationError
from starlette.responses import Response

from api.jobs.requests import RetrainRequest
from api.routes.retrains import post_retrain
from api.ui.desk import ERRORS, Desk, told
from api.ui.fields import field, filled
from graphsvc.wording import causes

_ROUTE = ("POST", "/v1/retrains")
#: What most people choose, if anything.
_USUAL = ("promote", "refresh", "arms", "seed")
#: Folded away; what is in none of these is in a group of its own, at the end.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "What it learns from": (
        "as_of",
        "split",
        "shares",
        "conversions",
        "conversion_days",
        "allow_leaks",
    ),
    "How rankers are made": ("ranker", "pretraining", "training", "carry"),
    "Where the gate does not decide": ("promote_undecided",),
}
_REST = "Everything else"


def form(desk: Desk, *, then: Callable[[], Awaitable[None]]) -> ui.dialog:
    """A field for each of the request, as its schema has it, with what each is for.

    `then` is called once a job was asked for.
    """
    schema = RetrainRequest.model_json_schema()
    properties, kinds = schema["properties"], schema["$defs"]
    plain = RetrainRequest().model_dump(mode="json")
    fields: dict[str, Any] = {}
    folded: dict[str, ui.expansion] = {}
    with ui.dialog() as dialog, ui.card().classes("w-full max-w-2xl"):
        ui.label("Start a retrain").classes("text-lg font-medium")
        for name in _USUAL:
            fields[name] = field(name, properties[name], plain[name], kinds)
        for title, names in _grouped(properties).items():
            with ui.expansion(title).classes("w-full") as group:
                for name in names:
                    folded[name] = group
                    fields[name] = field(name, properties[name], plain[name], kinds)
        wrong = ui.label().classes("text-negative").props("role=alert")

        async def ask() -> None:
            wrong.set_text("")
            try:
                request = RetrainRequest.model_validate(filled(fields, plain))
                made = await desk.act(_ROUTE, {}, lambda s, _: post_retrain(s, Response(), request))
            except ERRORS as error:
                wrong.set_text(told(error))
                where = folded.get(_place(error))
                if where is not None:
                    where.open()
                return
            ui.notify(f"job {made.job} waits for the worker", type="positive")
            dialog.close()
            await then()

        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close).props("flat")
            ui.button("Start", on_click=ask)
    return dialog


def _grouped(properties: Mapping[str, Any]) -> dict[str, list[str]]:
    """Titles and the fields under them; a field that is new here is not lost."""
    named = {name for names in _GROUPS.values() for name in names} | set(_USUAL)
    groups = {title: list(names) for title, names in _GROUPS.items()}
    rest = [name for name in properties if name not in named]
    return groups | ({_REST: rest} if rest else {})


def _place(error: Exception) -> str:
    """The field that an error is about; "" of none."""
    if not isinstance(error, ValidationError):
        return ""
    return next(iter(map(str, causes(error.errors())[0]["loc"])), "")
