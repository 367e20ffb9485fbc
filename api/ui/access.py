"""Keys and settings: who may do what, and how this server is set."""

from functools import partial
from typing import Any

from nicegui import ui

from api.deps import Services
from api.errors import TooMany
from api.printing import moment
from api.routes import keys as routes
from api.settings import origins
from api.ui.desk import ERRORS, Desk, tell
from api.ui.shell import table
from api.ui.words import age
from graphsvc import keys

_LIST, _MAKE, _REVOKE = ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/{id}")
_ROTATE = ("POST", "/v1/keys/{id}/rotate")
#: Settings that may hold a password.
_SECRET = ("DATABASE_URL",)


async def draw(desk: Desk) -> None:
    """Keys, for those who may; and settings."""
    held = ui.column().classes("w-full gap-2")
    # What is shown once has to outlive the list, which is drawn anew.
    beside = ui.element("div")

    async def again(*, first: bool = False) -> None:
        held.clear()
        with held:
            ui.label("Keys").classes("font-medium")
            try:
                listed = await desk.see(_LIST, routes.get_keys)
            except ERRORS as error:
                if first and isinstance(error, TooMany):  # all is drawn anew when it may be
                    raise
                ui.label(str(error)).classes("quiet")
                return
            _keys(desk, listed.items, again, beside)

    await again(first=True)
    try:
        settings = await desk.see(_LIST, lambda services: list(origins(services.settings)))
    except TooMany:
        raise
    except ERRORS:  # whoever may not see keys may not see these either, and was told
        return
    ui.label("Settings").classes("font-medium")
    rows = [
        {"setting": name, "value": _shown(name, value), "from": where}
        for name, value, where in settings
    ]
    table(("setting", "value", "from"), rows, key="setting", empty="")


def _keys(desk: Desk, listed: list[routes.KeyOut], again: Any, beside: ui.element) -> None:
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "scopes": " ".join(key.scopes),
            "made": moment(key.created_at),
            "ends": moment(key.expires_at) or "never",
            "last used": age(key.last_used_at),
        }
        for key in listed
    ]
    made = table(("id", "name", "scopes", "made", "ends", "last used"), rows, key="id", empty="")
    if made is not None:
        made.props('selection="single"')
    with ui.row().classes("gap-2"):
        ui.button("Make a key", icon="add", on_click=lambda: _form(desk, again, beside).open())

        def chosen() -> str | None:
            if made is None or not made.selected:
                ui.notify("choose a key first")
                return None
            return str(made.selected[0]["id"])

        def rotate() -> None:
            key_id = chosen()
            if key_id is not None:
                _rotation(desk, again, beside, key_id).open()

        async def revoke() -> None:
            key_id = chosen()
            if key_id is None:
                return
            try:
                work = partial(_revoked, id_=key_id)
                await desk.act(_REVOKE, {"id": key_id}, work)
            except ERRORS as error:
                tell(error)
            await again()

        ui.button("Rotate", icon="autorenew", on_click=rotate).props("outline")
        ui.button("Revoke", icon="block", on_click=revoke).props("outline")


def _revoked(services: Services, _key: str, *, id_: str) -> None:
    routes.delete_key(services, id_)


def _form(desk: Desk, again: Any, beside: ui.element) -> ui.dialog:
    with beside, ui.dialog() as dialog, ui.card().classes("w-96"):
        ui.label("Make a key").classes("font-medium")
        name = ui.input("what it is for").classes("w-full")
        scopes = ui.select(
            list(keys.SCOPES), label="scopes", value=["ingest", "score"], multiple=True
        ).classes("w-full")
        days = ui.number("days until it ends; empty: it does not", min=1, max=3650)
        days.classes("w-full")

        async def make() -> None:
            try:
                body = routes.KeyIn(
                    name=name.value or "unnamed", scopes=scopes.value, expires_days=days.value
                )
                key = await desk.act(_MAKE, {}, lambda s, _: routes.made(s, body))
            except ERRORS as error:
                tell(error)
                return
            dialog.close()
            await again()
            _once(beside, key.key, "")

        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close).props("flat")
            ui.button("Make", on_click=make)
    return dialog


def _rotation(desk: Desk, again: Any, beside: ui.element, key_id: str) -> ui.dialog:
    with beside, ui.dialog() as dialog, ui.card().classes("w-96"):
        ui.label(f"Another key in the place of {key_id}").classes("font-medium")
        ui.label("It has the same name, scopes and lifetime.").classes("quiet")
        hours = ui.number("hours that the former one still opens", value=24, min=0, max=24 * 31)
        hours.classes("w-full")

        async def rotate() -> None:
            try:
                body = routes.RotateIn(grace_hours=hours.value)
                work = partial(_rotated, id_=key_id, body=body)
                key = await desk.act(_ROTATE, {"id": key_id}, work)
            except ERRORS as error:
                tell(error)
                return
            dialog.close()
            await again()
            _once(beside, key.key, f"Of {key_id}, which still opens for {body.grace_hours:g} h. ")

        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close).props("flat")
            ui.button("Make it", on_click=rotate)
    return dialog


def _rotated(services: Services, _key: str, *, id_: str, body: routes.RotateIn) -> routes.MadeOut:
    return routes.rotated(services, id_, body)


def _once(beside: ui.element, key: str, which: str) -> None:
    """Show a key, this once."""
    with beside, ui.dialog() as once, ui.card():
        ui.label(f"{which}This is shown once; nobody can read it again.")
        ui.label(key).classes("mono")
        ui.button("I have it", on_click=once.close)
    once.open()


def _shown(name: str, value: str) -> str:
    return "(set)" if name.endswith(_SECRET) and value else value
