"""Score: one person, what they would be shown, in which order, and why."""

from typing import Any

import orjson
from nicegui import ui

from api.routes.recommendations import RecommendRequest, post_recommend
from api.routes.scores import ScoreRequest, post_score
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from api.ui.titles import titles
from api.ui.words import number, short
from graphsvc.events import EntityRef
from graphsvc.ids import EntityId

_SCORE, _RECOMMEND = ("POST", "/v1/score"), ("POST", "/v1/recommend")
_SHOWN, _EXPLAINED = 10, 3


async def draw(desk: Desk) -> None:
    """The question, and below it the answer."""
    live = await desk.see(("GET", "/v1/graph"), lambda services: services.live.trio())
    head = live.ranker.head_type
    with ui.row().classes("w-full items-end gap-3"):
        who = ui.input(f"id of a {head}").props("autofocus")
        what = ui.input("candidates, with commas between; empty: what is recommended")
        what.classes("grow")
        go = ui.button("Score", icon="search")
    answer = ui.column().classes("w-full gap-4")

    async def ask() -> None:
        answer.clear()
        go.disable()
        try:
            found = await _asked(desk, head, (who.value or "").strip(), what.value)
        except ERRORS as error:
            say_in(answer, error)
            return
        finally:
            go.enable()
        with answer:
            _show(found)

    go.on_click(ask)
    for field in (who, what):
        field.on("keydown.enter", ask)


async def _asked(desk: Desk, head: str, id_: str, what: str) -> dict[str, Any]:
    """An explained answer about what is named, or about what would be shown."""
    entity = EntityRef(type=head, id=id_)
    candidates = [one.strip() for one in (what or "").split(",") if one.strip()]
    if not candidates:
        body = RecommendRequest(head=entity, k=_SHOWN)
        shown = await desk.ask(_RECOMMEND, lambda s, key: post_recommend(s, key, body))
        candidates = [item.id for item in shown.items]
    asked = ScoreRequest(head=entity, candidates=candidates, explain=True)
    told = await desk.ask(_SCORE, lambda s, key: post_score(s, key, asked))
    found = dict(orjson.loads(bytes(told.body)))
    type_ = desk.services.live.trio().ranker.tail_type
    scored = [EntityId(type_, item["id"]) for item in found["scores"]]
    # Whoever may score is told what the things are that they score.
    called = await desk.see(_SCORE, lambda services: titles(services, scored))
    found["titles"] = {one.id: title for one, title in called.items()}
    return found


def _show(found: dict[str, Any]) -> None:
    ui.label(
        f"{found['state']}; ordered by {found['order']}; bundle {short(found['bundle'])}, "
        f"ranker {short(found['ranker'])}"
    ).classes("quiet")
    rows = [
        {
            "place": place,
            "id": item["id"],
            "title": found["titles"].get(item["id"], ""),
            "score": number(item["score"]),
            "without offsite": number(item["why"]["without_offsite"]),
            "without KGE": number(item["why"]["without_kge"]),
            "known": "learned" if item["known"] else "cold" if item["cold"] else "unknown",
        }
        for place, item in enumerate(found["scores"], start=1)
    ]
    columns = ("place", "id", "title", "score", "without offsite", "without KGE", "known")
    table(columns, rows, key="id", empty="nothing has a score")
    for item in found["scores"][:_EXPLAINED]:
        with ui.expansion(f"Why {item['id']}").classes("w-full"):
            _why(item["why"])
    if found["left_out"]:
        left = [{"id": one["id"], "reason": one["reason"]} for one in found["left_out"]]
        ui.label("Left out").classes("font-medium")
        table(("id", "reason"), left, key="id", empty="")


def _why(why: dict[str, Any]) -> None:
    """What fields add, and which tokens are attended to."""
    fields = [
        {"field": one["field"], "adds to the logit": number(one["change"])} for one in why["fields"]
    ]
    tokens = [
        {
            "token": one["token"],
            "attention of the head": number(one["head"]),
            "of the candidate": number(one["tail"]),
        }
        for one in why["tokens"]
    ]
    with ui.grid().classes("w-full grid-cols-1 md:grid-cols-2 gap-4"):
        table(("field", "adds to the logit"), fields, key="field", empty="no field counts")
        columns = ("token", "attention of the head", "of the candidate")
        table(columns, tokens, key="token", empty="this ranker attends to no token")
