"""Who was erased from models, by digest, and the certificate of it, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from api.certified import words
from api.deps import Services
from api.printing import moment
from api.routes.erasures import ErasureOut
from api.ui.desk import ERRORS, Desk, tell
from api.ui.shell import table
from api.ui.words import short
from graphsvc import erasures

_ONE = ("GET", "/v1/erasures/{number}")


@dataclass(frozen=True, slots=True)
class _Certificate:
    lines: Sequence[str]
    #: What is there still, where, and until when.
    remains: Sequence[Mapping[str, Any]]


def draw(desk: Desk, items: Sequence[ErasureOut]) -> None:
    """A line each, and the way to the certificate of one."""
    rows = [
        {
            "erasure": one.erasure,
            "type": one.type,
            "subject": short(one.subject),
            "state": one.state.replace("_", " "),
            "asked": moment(one.asked_at),
            "rows": sum((one.removed or {}).values()),
            "certificate": short(one.certificate) if one.certificate else "",
        }
        for one in items
    ]
    ui.label("People who were erased").classes("font-medium")
    names = ("erasure", "type", "subject", "state", "asked", "rows", "certificate")
    made = table(names, rows, key="erasure", empty="Nobody was erased yet.")
    certified = {one.erasure: f"erasure {one.erasure}" for one in items if one.certificate}
    if made is None or not certified:
        return
    pick = ui.select(certified, label="read the certificate of").classes("w-64")
    shown = ui.column().classes("w-full")

    async def read(number: int) -> None:
        try:
            found = await desk.see(_ONE, partial(_certificate, number=number))
        except ERRORS as error:
            tell(error)
            return
        shown.clear()
        with shown, ui.card().classes("w-full"):
            for line in found.lines:
                ui.label(line).classes("break-words max-w-full")
            table(("what", "where", "until"), found.remains, key="what", empty="nothing")

    async def clicked(number: int) -> None:
        if number in certified:
            pick.set_value(number)

    made.on("row-click", lambda event: clicked(event.args[1]["erasure"]))
    pick.on_value_change(lambda event: read(event.value))


def _certificate(services: Services, *, number: int) -> _Certificate:
    with services.database.reading() as connection:
        one = erasures.erasure(connection, number)
    sealed = services.store.open("erasure", str(one.certificate), verify=False)
    return _Certificate(words(one, sealed), sealed.payload["remains"])
