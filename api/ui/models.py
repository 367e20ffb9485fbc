"""Models: what is live and what could be, by which figures, certificates and decisions."""

import json
from functools import partial
from typing import Any

from nicegui import ui

from api.deps import Services
from api.errors import ApiError
from api.printing import moment
from api.routes import artifacts as routes
from api.routes.decisions import get_decisions
from api.routes.erasures import ErasureOut, get_erasures
from api.routes.promotions import ByHand, get_promotions
from api.ui.desk import ERRORS, Desk, tell
from api.ui.shell import table
from api.ui.words import age, number, short
from graphsvc.errors import GraphError
from graphsvc.report import Row, rows_of

_LIST, _ONE = ("GET", "/v1/artifacts"), ("GET", "/v1/artifacts/{digest}")
_PROMOTE = ("POST", "/v1/artifacts/{digest}/promote")
_RANKERS, _REPORTS, _DEPTH = 20, 50, 6


async def draw(desk: Desk) -> None:
    """Rankers, the one that is chosen, promotions and decisions."""
    listed = ui.column().classes("w-full")
    shown = ui.column().classes("w-full")
    below = ui.column().classes("w-full")

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
        below.clear()
        with below:
            _decisions(said.items)
            _promotions(desk, done.items, again)
            _erasures(gone.items)

    async def choose(digest: str) -> None:
        try:
            found = await desk.see(_ONE, partial(_whole, digest=digest))
        except ERRORS as error:
            tell(error)
            return
        shown.clear()
        with shown:
            _one(desk, found, again)

    await again(first=True)


def _whole(services: Services, *, digest: str) -> dict[str, Any]:
    """A ranker, its lineage, its report's figures and its certificate, as far as they are there."""
    ranker = routes.get_artifact(services, digest)
    lineage: dict[str, Any] = {}
    waiting = [(digest, 0)]
    while waiting:
        one, depth = waiting.pop()
        if one in lineage or depth > _DEPTH:
            continue
        lineage[one] = found = routes.get_artifact(services, one)
        waiting += [(parent, depth + 1) for parent in found.parents.values()]
    try:
        certificate: dict[str, Any] | None = dict(routes.get_certificate(services, digest).root)
    except (ApiError, GraphError):
        certificate = None
    judged = _judged(services, digest)
    return {"ranker": ranker, "lineage": lineage, "certificate": certificate, "judged": judged}


def _judged(services: Services, digest: str) -> list[Row]:
    """What the newest report that has this ranker among its models says of it."""
    for report in routes.get_artifacts(services, kind="report", limit=_REPORTS).items:
        # A report's parents are named as its rows name their models.
        for model, parent in report.parents.items():
            if parent == digest:
                payload = routes.get_artifact(services, report.digest).payload
                return [row for row in rows_of(payload) if row.model == model]
    return []


def _rankers(items: list[Any], choose: Any) -> None:
    rows = [
        {
            "ranker": short(item.digest),
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
        named = {row["digest"]: f"{row['ranker']}, {row['state']}" for row in rows}
        pick = ui.select(named, label="look at one", on_change=lambda event: choose(event.value))
        pick.classes("w-64")


def _one(desk: Desk, found: dict[str, Any], again: Any) -> None:
    ranker = found["ranker"]
    with ui.card().classes("w-full"):
        with ui.row().classes("w-full items-center"):
            ui.label(f"Ranker {short(ranker.digest)}, {ranker.state}").classes("font-medium")
            ui.space()
            if ranker.state != "live":
                ui.button("Promote", on_click=lambda: _ask_why(desk, ranker.digest, again).open())
        ui.label(ranker.digest).classes("mono quiet")
        figures = [
            {"figure": name, "value": number(value)}
            for name, value in ranker.metrics.items()
            if isinstance(value, int | float)
        ]
        table(("figure", "value"), figures, key="figure", empty="no figures")
        ui.label("By its report, with 95 % intervals").classes("font-medium")
        _judgment(found["judged"])
        if found["certificate"]:
            ui.label("Certificate").classes("font-medium")
            ui.label(str(found["certificate"]["sentence"]))
        ui.label("Lineage").classes("font-medium")
        ui.mermaid(_drawn(found["lineage"])).classes("w-full")
        with ui.expansion("Dials").classes("w-full"):
            dials = json.dumps(ranker.dials, indent=1, default=str)
            ui.code(dials, language="json").classes("w-full")


def _judgment(rows: list[Row]) -> None:
    """On all of test, and by relation, bucket and group; a word narrows it down."""
    told = [
        {
            "n": n,
            "metric": row.metric,
            "where": row.split,
            "value": number(row.value),
            "interval": ""
            if row.lo is None or row.hi is None
            else f"{number(row.lo)} to {number(row.hi)}",
            "unit": row.unit,
        }
        for n, row in enumerate(rows)
    ]
    word = ui.input("only what has this in it").props("dense clearable") if told else None
    names = ("metric", "where", "value", "interval", "unit")
    made = table(names, told, key="n", empty="no report has judged it")
    if made is not None and word is not None:
        made.bind_filter_from(word, "value")


def _drawn(lineage: dict[str, Any]) -> str:
    """From watermark to ranker, as a picture."""
    lines = ["graph LR"]
    for digest, one in lineage.items():
        lines.append(f'  {short(digest)}["{one.kind}<br>{short(digest)}"]')
        lines += [f"  {short(parent)} --> {short(digest)}" for parent in one.parents.values()]
    return "\n".join(lines)


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


def _erasures(items: list[ErasureOut]) -> None:
    """Who was erased from them, by digest, and the certificate of it."""
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
    table(names, rows, key="erasure", empty="Nobody was erased yet.")


def _promotions(desk: Desk, items: list[Any], again: Any) -> None:
    ui.label("Promotions").classes("font-medium")
    rows = [
        {
            "generation": item.generation,
            "when": moment(item.created_at),
            "ranker": short(item.ranker),
            "reason": item.reason,
            "by": item.promoted_by or "",
        }
        for item in items
    ]
    names = ("generation", "when", "ranker", "reason", "by")
    table(names, rows, key="generation", empty="Nothing was promoted yet.")
    # An erasure promotes what is live once more, as its successor.
    former = next((item.ranker for item in items if item.ranker != items[0].ranker), None)
    if former is not None:
        ui.button(
            f"Roll back to {short(former)}",
            icon="undo",
            on_click=lambda: _ask_why(desk, former, again).open(),
        ).props("outline")


def _ask_why(desk: Desk, digest: str, again: Any) -> ui.dialog:
    """A reason first, as on the command line."""
    with ui.dialog() as dialog, ui.card():
        ui.label(f"Make ranker {short(digest)} live").classes("font-medium")
        why = ui.input("reason; not needed where the gate let it pass").classes("w-80")

        async def act() -> None:
            try:
                body = ByHand(reason=(why.value or "").strip() or None)
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
