"""Jobs: every step with how far it is, what became of it, the way to start, stop or repeat one."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from nicegui import ui
from starlette.responses import Response

from api.errors import Unauthorized
from api.printing import moment
from api.routes import jobs as routes
from api.ui import curves
from api.ui.desk import ERRORS, Desk, tell
from api.ui.retrain import form
from api.ui.words import age

#: Between two looks: while something that is listed moves, and while nothing does.
_BUSY_SECONDS, _CALM_SECONDS = 1.0, 5.0
_LIST, _ONE = ("GET", "/v1/jobs"), ("GET", "/v1/jobs/{id}")
_LOG = ("GET", "/v1/jobs/{id}/log")
_COLORS = {"done": "positive", "failed": "negative", "running": "primary", "cancelled": "warning"}
_ENDED = ("done", "failed", "cancelled")
_ACTS = {"cancel": routes.post_cancel, "resume": routes.post_resume}


async def draw(desk: Desk) -> None:
    """The list, the job that is chosen, and the form."""
    chosen: dict[str, str] = {}
    start = ui.button("Start a retrain", icon="play_arrow")
    stale = ui.label().props("role=status")
    listed = ui.column().classes("w-full gap-2")
    shown = ui.column().classes("w-full gap-2")
    seen: dict[str, Any] = {}

    async def again(*, unasked: bool = False) -> None:
        try:
            page = await desk.see(_LIST, partial(routes.get_jobs, limit=20), unasked=unasked)
            one, log = None, []
            if chosen:
                get = partial(routes.get_job, id_=chosen["id"])
                one = await desk.see(_ONE, get, unasked=unasked)
                if seen.get("one") != one:
                    lines = partial(routes.get_log, id_=one.id)
                    log = (await desk.see(_LOG, lines, unasked=unasked)).items
        except Unauthorized as error:
            timer.deactivate()
            tell(error)
            return
        except ERRORS as error:  # it may go well the next time
            stale.set_text(f"this is of a while ago: {error}")
            return
        stale.set_text("")
        moving = any(job.state not in _ENDED for job in (*page.items, *filter(None, [one])))
        timer.interval = _BUSY_SECONDS if moving else _CALM_SECONDS
        if seen.get("list") != page.items:
            seen["list"] = page.items
            _list(listed, page.items, choose)
        if one is not None and seen.get("one") != one:
            seen["one"] = one
            said = seen.setdefault(one.id, {})
            curves.note(said, one.progress)
            shown.clear()
            with shown, ui.card().classes("w-full"):
                _one(desk, one, again)
                curves.draw(said)
                _log(log)
                _asked(one, seen)

    async def choose(job: str) -> None:
        chosen["id"] = job
        await again()

    start.on_click(lambda: form(desk, then=again).open())
    timer = ui.timer(_BUSY_SECONDS, lambda: again(unasked=True), immediate=False)
    await again()


def _list(where: ui.column, items: list[Any], choose: Any) -> None:
    where.clear()
    with where:
        if not items:
            ui.label("No job was asked for yet.").classes("quiet")
        for job in items:
            with (
                ui.row()
                .classes("w-full items-center gap-3 p-2 rounded cursor-pointer")
                .props(f'role=button tabindex=0 aria-label="job {job.id}"')
                .on("click", partial(choose, job.id))
                .on("keydown.enter", partial(choose, job.id))
                .on("keydown.space", partial(choose, job.id))
            ):
                ui.badge(job.state, color=_COLORS.get(job.state, "secondary"))
                ui.label(job.name)
                ui.label(_stage(job)).classes("quiet")
                ui.space()
                ui.label(age(job.created_at)).classes("quiet")


def _stage(job: routes.JobOut) -> str:
    """The step it is in; of one that asked the gate, what that said."""
    result = job.result if isinstance(job.result, Mapping) else {}
    decided = result.get("decision")
    if not isinstance(decided, Mapping):
        return job.step or ""
    said = str(decided["decision"]).replace("_", " ")
    return f"the gate: {said}, {'promoted' if result.get('promoted') else 'not promoted'}"


def _one(desk: Desk, job: routes.JobOut, again: Any) -> None:
    with ui.row().classes("w-full items-center"):
        ui.label(f"{job.name}, {job.state}").classes("font-medium")
        ui.label(job.id).classes("mono quiet")
        ui.space()
        if job.state not in _ENDED:
            _act(desk, job.id, "cancel", again)
        elif job.state != "done":
            _act(desk, job.id, "resume", again)
            _act(desk, job.id, "retry", again)
    if job.error:
        ui.label(job.error).classes("text-negative").props("role=alert")
    for step in job.progress:
        with ui.row().classes("w-full items-center gap-x-3 gap-y-0 sm:flex-nowrap"):
            ui.label(step.step).classes("w-32")
            share = step.done / step.total if step.total else float(step.state == "done")
            ui.linear_progress(share, show_value=False, color=_COLORS.get(step.state)).props(
                f'aria-label="{step.step}: {step.state}"'
            ).classes("grow")
            said = f"{step.state}: {step.note}" if step.note else step.state
            ui.label(said).classes("quiet w-full sm:w-1/3 text-xs")


def _log(lines: Sequence[routes.LineOut]) -> None:
    """What became of it, the newest line first, in a box of its own height."""
    ui.label("Log").classes("font-medium")
    if not lines:
        ui.label("Nothing is kept of it.").classes("quiet")
        return
    box = ui.column().classes("w-full gap-1 max-h-64 overflow-auto flex-nowrap")
    with box.props('tabindex=0 role=log aria-label="log of the job, newest first"'):
        for line in reversed(lines):
            grave = "" if line.level == "info" else f"{line.level}: "
            said = f"{moment(line.at)} {line.step or 'job'}: {grave}{line.message}"
            ui.label(said).classes(f"mono {'font-bold' if grave else ''}")


def _asked(job: routes.JobOut, seen: dict[str, Any]) -> None:
    """What was asked; it stays open where somebody has opened it, though all is drawn anew."""
    more = ui.expansion("What was asked, and what came of it", value=seen.get("open", False))
    more.on_value_change(lambda event: seen.update(open=event.value))
    with more.classes("w-full"):
        told = {"asked": job.request, "result": job.result, "begun": moment(job.created_at)}
        ui.code(json.dumps(told, indent=1, default=str), language="json").classes("w-full")


def _act(desk: Desk, job: str, verb: str, again: Any) -> None:
    async def act() -> None:
        route = ("POST", f"/v1/jobs/{{id}}/{verb}")
        try:
            if verb == "retry":
                work = partial(_retried, job=job)
                await desk.act(route, {"id": job}, work)
            else:
                await desk.act(route, {"id": job}, lambda s, _: _ACTS[verb](s, id_=job))
        except ERRORS as error:
            tell(error)
        await again()

    ui.button(verb, on_click=act).props("outline dense")


def _retried(services: Any, _key: str, *, job: str) -> Any:
    return routes.post_retry(services, Response(), id_=job)
