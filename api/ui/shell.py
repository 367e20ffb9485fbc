"""What is around every view: its name, the way to the others, sign out.

Takes a view, gives a page of it; never shows anything of its own.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from nicegui import ui

from api.errors import TooMany
from api.ui.desk import ERRORS, Desk, say_in, tell

_log = logging.getLogger("graphsvc.page")
#: A view draws itself into the page, for whoever looks at it.
Draw = Callable[[Desk], Awaitable[None]]
#: A view of a large graph, or beside much work, may take a while.
_PATIENCE_SECONDS = 60.0
#: Rows of a table that are shown at once.
_PAGE = 10
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_LONG = 40
#: A table that is wider than the screen has a shadow where it goes on.
_STYLE = """
.q-table th { font-weight: 600; vertical-align: bottom; position: relative }
.q-table td.moment { white-space: nowrap }
.q-table td.sentence { min-width: 16rem }
.q-table__sort-icon { position: absolute; margin-left: 0 }
.q-table th.text-right .q-table__sort-icon { transform: translateX(-100%) }
.body--dark .q-btn--outline, .body--dark .q-btn--flat, .body--dark .q-field,
.body--dark .q-toggle, .body--dark .q-item { --q-primary: #8fb0ff }
.body--dark .text-negative { --q-negative: #ff9b94 }
.body--light { --table: #fff; --edge: rgba(0, 0, 0, .3) }
.body--dark { --table: var(--q-dark); --edge: rgba(255, 255, 255, .45) }
.q-table__middle { scrollbar-width: thin; background:
  linear-gradient(to right, var(--table) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--table) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--edge), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, var(--edge), transparent) right / .8rem 100% no-repeat scroll }
.mono { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere }
.quiet { opacity: .75 }
.skip { position: absolute; left: -999px } .skip:focus { left: 1rem; top: 1rem; z-index: 9999 }
"""


@dataclass(frozen=True, slots=True)
class View:
    """A view, and how it is called in the list of all."""

    path: str
    title: str
    icon: str
    draw: Draw


def install(app: FastAPI, views: tuple[View, ...]) -> None:
    """Make a page of each view."""
    for view in views:
        _install(app, view, views)


def _install(app: FastAPI, view: View, views: tuple[View, ...]) -> None:
    @ui.page(view.path, title=f"{view.title} - graphsvc", response_timeout=_PATIENCE_SECONDS)
    async def page(request: Request) -> None:
        desk = Desk.of(app, request)
        _frame(view, views)
        content = ui.column().classes("w-full max-w-6xl mx-auto p-2 sm:p-4 gap-4")
        with content.props("id=content"):
            title = ui.label(view.title).classes("text-2xl font-medium")
            title.props('role="heading" aria-level=1')
            drawn = ui.column().classes("w-full gap-4")
        await _draw(view, desk, drawn)


async def _draw(view: View, desk: Desk, drawn: ui.column) -> None:
    """The view in its place, or why it is not there."""

    async def again() -> None:
        drawn.clear()
        await _draw(view, desk, drawn)

    try:
        with drawn:
            await view.draw(desk)
    except ERRORS as error:
        drawn.clear()
        if not isinstance(error, TooMany):
            tell(error)
        say_in(drawn, error, again)
    except Exception:  # noqa: BLE001  no traceback reaches whoever looks
        _log.exception("a view could not be drawn")
        with drawn:
            ui.label("Something went wrong here; the server's log says what.")


def _frame(view: View, views: tuple[View, ...]) -> None:
    ui.colors(primary="#1d4ed8", secondary="#475569", accent="#0f766e")
    ui.dark_mode(None)  # as the system has it
    ui.add_css(_STYLE)
    ui.add_body_html('<a class="skip" href="#content">To the content</a>')
    drawer = ui.left_drawer(bordered=True).props("breakpoint=900 width=210").classes("p-2")
    with drawer:
        nav = ui.element("nav").props('aria-label="Views"').classes("w-full")
    with nav, ui.list().props("role=presentation").classes("w-full"):
        for other in views:
            here = "active aria-current=page" if other is view else ""
            link = ui.item().props(f'tag=a role=link href="/ui{other.path}" {here}')
            with link.classes("rounded"):
                with ui.item_section().props("avatar"):
                    ui.icon(other.icon).props("aria-hidden=true")
                with ui.item_section():
                    ui.item_label(other.title)
    with ui.header().classes("items-center py-1"):
        ui.button(icon="menu", on_click=drawer.toggle).props(
            'flat color=white round aria-label="Views"'
        )
        ui.label("graphsvc").classes("text-lg font-medium")
        ui.space()
        ui.html(
            '<form method="post" action="/ui/logout"><button class="q-btn q-btn--flat q-pa-sm" '
            'style="color:white;cursor:pointer;background:none;border:0">Sign out</button></form>',
            sanitize=False,
        )


def table(
    columns: tuple[str, ...], rows: Sequence[Mapping[str, Any]], *, key: str, empty: str
) -> ui.table | None:
    """A table of rows, or the sentence that there are none."""
    if not rows:
        ui.label(empty).classes("quiet")
        return None
    made = [
        {
            "name": name,
            "label": name.replace("_", " "),
            "field": name,
            "align": "right" if _numbers(rows, name) else "left",
            "sortable": True,
            "classes": _how_wide(rows, name),
        }
        for name in columns
    ]
    return (
        ui.table(
            columns=made,
            rows=[dict(row) for row in rows],
            row_key=key,
            pagination={"rowsPerPage": _PAGE},
        )
        .props(f"flat dense wrap-cells {'hide-pagination' if len(rows) <= _PAGE else ''}")
        .classes("w-full")
    )


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float) for row in rows)


def _how_wide(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Moments are read in one line, and sentences in a few: a table may be wider than a phone."""
    texts = [str(row.get(name, "")) for row in rows]
    if any(_MOMENT.fullmatch(text) for text in texts):
        return "moment"
    return "sentence" if max(map(len, texts)) > _LONG else ""
