"""Models: what is live and what could be, by which figures, certificates and decisions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from nicegui import ui

from api.printing import moment
from api.routes import artifacts as routes
from api.routes.decisions import get_decisions
from api.routes.erasures import get_erasures
from api.routes.promotions import ByHand, PromotionOut, get_promotions
from api.ui import erased, ranker
from api.ui.desk import ERRORS, Desk, tell
from api.ui.shell import table
from api.ui.words import age, number, short

_LIST, _ONE = ("GET", "/v1/artifacts"), ("GET", "/v1/artifacts/{digest}")
_PROMOTE = ("POST", "/v1/artifacts/{digest}/promote")
_RANKERS = 20


async def draw(desk: Desk) -> None:
    """Rankers, the one that is chosen, promotions and decisions."""
    listed = ui.column().classes("w-full")
    shown = ui.column().classes("w-full")
    below = ui.column().classes("w-full")

    looked_at: dict[str, str] = {}

    async def again(*, first: bool = False) -> None:
        try:
            page = await desk.see(
                _LIST, partial(routes.get_artifacts, kind="ranker", limit=_RANKERS)
            )
            said = await desk.see(("GET", "/v1/decisions"), get_decisions)
            done = await desk.see(("GET", "/v1/promotions"), get_promotions)
            gone = await desk.see(("GET", "/v1/erasures"), get_erasures)
        except ERRORS as error:
            if first:
                raise
            tell(error)
            return
        listed.clear()
        with listed:
            _rankers(page.items, choose)
            if page.next:
                told = f"These are the newest {_RANKERS}; GET /v1/artifacts pages through all."
                ui.label(told).classes("quiet")
        below.clear()
        with below:
            _decisions(said.items)
            _promotions(desk, done.items, again)
            erased.draw(desk, gone.items)
        if looked_at:
            await choose(looked_at["ranker"])  # it may be live now, or no longer

    async def choose(digest: str) -> None:
        try:
            found = await desk.see(_ONE, partial(ranker.whole, digest=digest))
        except ERRORS as error:
            tell(error)
            return
        looked_at["ranker"] = digest
        shown.clear()
        with shown:
            ranker.draw(found, promote=lambda: _ask_why(desk, digest, again).open())

    await again(first=True)


def _rankers(items: list[Any], choose: Any) -> None:
    rows = [
        {
            "ranker": short(item.digest),
            "arm": item.summary.get("arm", ""),
            "state": item.state,
            "sealed": age(item.created_at),
            **{
                name: number(value)
                for name, value in list(item.metrics.items())[:4]
                if isinstance(value, int | float)
            },
            "digest": item.digest,
        }
        for item in items
    ]
    names = tuple(dict.fromkeys(name for row in rows for name in row if name != "digest"))
    made = table(names, rows, key="digest", empty="No ranker was trained yet.")
    if made is not None:
        made.on("row-click", lambda event: choose(event.args[1]["digest"]))
        named = {row["digest"]: f"{row['ranker']}, {row['arm']}, {row['state']}" for row in rows}
        pick = ui.select(named, label="look at one", on_change=lambda event: choose(event.value))
        pick.classes("w-64")


def _decisions(items: list[Any]) -> None:
    ui.label("What the gate said").classes("font-medium")
    rows = [
        {
            "when": moment(item.created_at),
            "ranker": short(item.candidate.ranker),
            "decision": item.decision,
            "reason": item.reason,
            "id": item.id,
        }
        for item in items
    ]
    table(("when", "ranker", "decision", "reason"), rows, key="id", empty="It was not asked yet.")


def _promotions(desk: Desk, items: list[Any], again: Any) -> None:
    ui.label("Promotions").classes("font-medium")
    rows = [
        {
            "generation": item.generation,
            "when": moment(item.created_at),
            "ranker": short(item.ranker),
            "bundle": short(item.bundle),
            "reason": item.reason,
            "by": item.promoted_by or "",
        }
        for item in items
    ]
    names = ("generation", "when", "ranker", "bundle", "reason", "by")
    table(names, rows, key="generation", empty="Nothing was promoted yet.")
    former = before(items)
    if former is not None:
        ui.button(
            f"Roll back to ranker {short(former.ranker)}, bundle {short(former.bundle)}",
            icon="undo",
            on_click=lambda: _ask_why(desk, former.ranker, again, former.bundle).open(),
        ).props("outline")


def before(items: Sequence[PromotionOut]) -> PromotionOut | None:
    """The newest promotion of something else than what is live: where one rolls back to.

    A refresh keeps the ranker and has another bundle; an erasure promotes what is live once more.
    """
    live = (items[0].ranker, items[0].bundle) if items else None
    return next((item for item in items if (item.ranker, item.bundle) != live), None)


def _ask_why(desk: Desk, digest: str, again: Any, bundle: str | None = None) -> ui.dialog:
    """A reason first, as on the command line. `bundle`: another one than it was trained on."""
    with ui.dialog() as dialog, ui.card():
        ui.label(f"Make ranker {short(digest)} live").classes("font-medium")
        if bundle is not None:
            ui.label(f"with bundle {short(bundle)}").classes("quiet")
        why = ui.input("reason").classes("w-80")
        ui.label("Not needed where the gate let it pass.").classes("quiet text-xs -mt-3")

        async def act() -> None:
            try:
                body = ByHand(reason=(why.value or "").strip() or None, bundle=bundle)
                await desk.act(
                    _PROMOTE,
                    {"digest": digest},
                    lambda services, key: routes.post_promote(services, key, digest, body),
                )
            except ERRORS as error:
                tell(error)
                return
            dialog.close()
            ui.notify(f"ranker {short(digest)} is live", type="positive")
            await again()

        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close).props("flat")
            ui.button("Make it live", on_click=act)
    return dialog
