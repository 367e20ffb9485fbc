"""Score: one person, what they would be shown, in which order, and why, by one version or two."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from nicegui import ui

from api.answers import Answerer
from api.deps import Services
from api.errors import Invalid
from api.live import Trio
from api.onsite import saw_offsite
from api.reasons import MOST_EXPLAINED
from api.routes.recommendations import RecommendRequest, post_recommend
from api.routes.scores import ScoreRequest, post_score
from api.scoring import Scores
from api.ui.beside import Picker, moved, picker
from api.ui.desk import ERRORS, Desk, say_in
from api.ui.shell import table
from api.ui.titles import titles
from api.ui.words import number, short
from graphsvc.errors import EntityMissing
from graphsvc.events import EntityRef
from graphsvc.ids import EntityId
from kge.bundle import ALL

_SCORE, _RECOMMEND = ("POST", "/v1/score"), ("POST", "/v1/recommend")
_SHOWN, _EXPLAINED = 10, 3


class _Asked(NamedTuple):
    """Who is asked about, and the candidates that were named, if any were."""

    head: EntityRef
    candidates: list[str]


async def draw(desk: Desk) -> None:
    """The question, and below it the answer."""
    live = await desk.see(("GET", "/v1/graph"), lambda services: services.live.trio())
    head = live.ranker.head_type
    with ui.row().classes("w-full items-end gap-3"):
        who = ui.input(f"id of a {head}").props("autofocus").classes("w-full sm:w-48")
        what = ui.input("candidates, with commas between; empty: what is recommended")
        what.classes("grow")
        other = await picker(desk)
        go = ui.button("Score", icon="search")
    other.tell_here()
    answer = ui.column().classes("w-full gap-4")

    async def ask() -> None:
        answer.clear()
        go.disable()
        named = [one.strip() for one in (what.value or "").split(",") if one.strip()]
        try:
            asked = _Asked(EntityRef(type=head, id=(who.value or "").strip()), named)
            found = await _answered(desk, asked)
            if other.version is not None:
                found["beside"] = await _beside(desk, other, asked.head, found)
        except ERRORS as error:
            say_in(answer, error, ask)
            return
        finally:
            go.enable()
        with answer:
            _show(found, other.name)

    go.on_click(ask)
    for field in (who, what):
        field.on("keydown.enter", ask)


async def _answered(desk: Desk, asked: _Asked) -> dict[str, Any]:
    """An explained answer about what is named, or about what would be shown."""
    candidates, why = asked.candidates, ""
    if not candidates:
        body = RecommendRequest(head=asked.head, k=_SHOWN)
        try:
            shown = await desk.ask(_RECOMMEND, lambda s, key: post_recommend(s, key, body))
            candidates = [item.id for item in shown.items]
        except EntityMissing as error:  # nothing is near somebody of whom nothing is known
            candidates = await desk.see(_RECOMMEND, _busiest)
            why = (
                f"{error}. So these are the best of the {len(candidates)} that have most edges, "
                "for somebody of whom nothing is known."
            )
    body_ = ScoreRequest(head=asked.head, candidates=candidates, explain=True)
    told = await desk.ask(_SCORE, lambda s, key: post_score(s, key, body_))
    found = dict(orjson.loads(bytes(told.body)))
    if why:
        found["scores"] = found["scores"][:_SHOWN]
    # Whoever may score is told what the things are that they score.
    named = await desk.see(_SCORE, lambda services: _named(services, found))
    return found | named | {"why": why}


def _named(services: Services, found: dict[str, Any]) -> dict[str, Any]:
    """What candidates are called, and whether anything offsite is known of anybody."""
    trio = services.live.trio()
    scored = [EntityId(trio.ranker.tail_type, item["id"]) for item in found["scores"]]
    called = {one.id: title for one, title in titles(services, scored).items()}
    return {"titles": called, "offsite": saw_offsite(trio.bundle)}


def _busiest(services: Services) -> list[str]:
    """Candidates that training has seen most of: as many as are explained at once."""
    bundle, type_ = services.live.trio().bundle, services.live.trio().ranker.tail_type
    own = bundle.types[type_]
    degree = bundle.facet(ALL).degree[own.start : own.stop]
    best = np.argsort(-degree, kind="stable")[:MOST_EXPLAINED]
    return [str(one) for one in bundle.ids[own.start + best]]


async def _beside(
    desk: Desk, other: Picker, head: EntityRef, found: dict[str, Any]
) -> dict[str, float]:
    """What another version says of the same candidates, best first; it is not an answer given."""
    version = other.version
    if version is None:
        return {}
    trio = await other.opened(desk, _SCORE, version)
    ids, order = [item["id"] for item in found["scores"]], found["order"]
    said = await desk.ask(
        _SCORE,
        lambda services, key: services.turns.take(
            key, lambda: _scored(services, trio, head, ids, order)
        ),
    )
    return {item.id: item.score for item in said.items}


def _scored(
    services: Services, trio: Trio, head: EntityRef, ids: Sequence[str], order: str
) -> Scores:
    live = services.live.trio().ranker.tail_type
    if trio.ranker.tail_type != live:
        raise Invalid(
            f"ranker {short(trio.ranker.digest)} should order things of type {live}, as the live "
            f"one does, received one that orders {trio.ranker.tail_type}"
        )
    answerer = Answerer(services.database, services.schema, services.settings.foldin_edges)
    return answerer.score(trio, EntityId(head.type, head.id), ids, order=order)


def _show(found: dict[str, Any], other: str) -> None:
    if found["why"]:
        ui.label(found["why"]).props("role=status")
    ui.label(
        f"{found['state']}; ordered by {found['order']}; bundle {short(found['bundle'])}, "
        f"ranker {short(found['ranker'])}"
    ).classes("quiet")
    if "beside" in found:
        _both(found, other)
    else:
        _alone(found)
    for item in found["scores"][:_EXPLAINED]:
        with ui.expansion(f"Why {item['id']}").classes("w-full"):
            _why(item["why"])
    if found["left_out"]:
        left = [{"id": one["id"], "reason": one["reason"]} for one in found["left_out"]]
        ui.label("Left out").classes("font-medium")
        table(("id", "reason"), left, key="id", empty="")


def _alone(found: dict[str, Any]) -> None:
    offsite = ("without offsite",) if found["offsite"] else ()
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
    columns = ("place", "id", "title", "score", *offsite, "without KGE", "known")
    table(columns, rows, key="id", empty="nothing has a score")


def _both(found: dict[str, Any], other: str) -> None:
    """The same candidates by two versions: where each has them, and by which score."""
    theirs = {id_: place for place, id_ in enumerate(found["beside"], start=1)}
    ours = {item["id"]: place for place, item in enumerate(found["scores"], start=1)}
    rows = [
        {
            "place": place,
            f"place by {other}": theirs.get(item["id"], ""),
            "moved": moved(ours, theirs, item["id"]),
            "id": item["id"],
            "title": found["titles"].get(item["id"], ""),
            "score": number(item["score"]),
            f"score by {other}": number(found["beside"][item["id"]])
            if item["id"] in theirs
            else "",
        }
        for place, item in enumerate(found["scores"], start=1)
    ]
    names = ("place", f"place by {other}", "moved", "id", "title", "score", f"score by {other}")
    table(names, rows, key="id", empty="nothing has a score")
    up = sum(1 for row in rows if str(row["moved"]) != "same")
    ui.label(
        f"{up} of {len(rows)} stand elsewhere by {other}, which is not live: this was answered to "
        "nobody, and is not written down"
    ).classes("quiet")


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
