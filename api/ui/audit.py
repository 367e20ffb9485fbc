"""Audit: who did what, a line each, with what became of it; for `admin` alone."""

from functools import partial

from nicegui import ui

from api.audited import COLUMNS, line
from api.deps import Services
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from graphsvc import audit, keys
from graphsvc.audit import WritePage

_ROUTE = ("GET", "/v1/audit")
_SHOWN = 100


async def draw(desk: Desk) -> None:
    """The newest writes, and the way to older ones."""
    called = await desk.see(_ROUTE, _called)
    word = ui.input("only what has this in it").props("dense clearable")
    listed = ui.column().classes("w-full")
    with ui.row():
        newest = ui.button("The newest", icon="first_page").props("outline")
        older = ui.button("Older ones", icon="chevron_right").props("outline")

    following: dict[str, str | None] = {}

    async def show(after: str | None) -> None:
        try:
            page = await desk.see(_ROUTE, partial(_page, after=after))
        except ERRORS as error:
            listed.clear()
            say_in(listed, error, partial(show, after))
            return
        rows = [line(write) for write in page.items]
        rows = [row | {"actor": _named(row["actor"], called)} for row in rows]
        listed.clear()
        with listed:
            made = table(COLUMNS, rows, key="number", empty="Nothing was written yet.")
        if made is not None:
            made.bind_filter_from(word, "value")
        newest.set_enabled(after is not None)
        older.set_enabled(page.next is not None)
        following["after"] = page.next

    newest.on_click(lambda: show(None))
    older.on_click(lambda: show(following.get("after")))
    await show(None)


def _page(services: Services, *, after: str | None) -> WritePage:
    with services.database.reading() as connection:
        return audit.writes(connection, limit=_SHOWN, after=after)


def _called(services: Services) -> dict[str, str]:
    """Id of a key -> what it is for, of those that there still are."""
    with services.database.reading() as connection:
        return {key.id: key.name for key in keys.list_keys(connection)}


def _named(actor: str, called: dict[str, str]) -> str:
    return f"{called[actor]} ({actor})" if actor in called else actor
