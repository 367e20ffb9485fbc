"""One ranker, as Models shows it: figures, rivals, pictures, certificate, lineage and dials.

Takes its digest, gives elements of the page; never makes anything live.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from api.deps import Services
from api.errors import ApiError
from api.routes import artifacts as routes
from api.routes.artifacts import ArtifactDetail
from api.ui import pictures
from api.ui.pictures import Picture
from api.ui.shell import table
from api.ui.words import interval, number, short
from graphsvc.errors import GraphError
from graphsvc.report import Row, rows_of

_REPORTS, _DEPTH = 50, 6


@dataclass(frozen=True, slots=True)
class Whole:
    """A ranker and what is known of it."""

    ranker: ArtifactDetail
    #: Digest -> artifact, itself and all that it was made of.
    lineage: dict[str, ArtifactDetail]
    certificate: dict[str, Any] | None
    #: What its newest report calls it, and all rows of that; "" and none without one.
    called: str
    report: list[Row]
    pictures: list[Picture]


def whole(services: Services, *, digest: str) -> Whole:
    """Everything of one ranker, as far as it is there."""
    ranker = routes.get_artifact(services, digest)
    lineage: dict[str, ArtifactDetail] = {}
    waiting = [(ranker.digest, 0)]
    while waiting:
        one, depth = waiting.pop()
        if one in lineage or depth > _DEPTH:
            continue
        try:
            lineage[one] = found = routes.get_artifact(services, one)
        except (ApiError, GraphError):
            continue  # older versions may have been deleted: it is drawn as far as it goes
        waiting += [(parent, depth + 1) for parent in found.parents.values()]
    try:
        certificate: dict[str, Any] | None = dict(routes.get_certificate(services, digest).root)
    except (ApiError, GraphError):
        certificate = None
    called, report = _judged(services, digest)
    shown = pictures.sealed(services, lineage)
    return Whole(ranker, lineage, certificate, called, report, shown)


def _judged(services: Services, digest: str) -> tuple[str, list[Row]]:
    """The newest report that has this ranker among its models, and what it is called there."""
    for report in routes.get_artifacts(services, kind="report", limit=_REPORTS).items:
        # A report's parents are named as its rows name their models.
        for model, parent in report.parents.items():
            if parent == digest:
                return model, rows_of(routes.get_artifact(services, report.digest).payload)
    return "", []


def draw(found: Whole, *, promote: Callable[[], object]) -> None:
    """All of it in a card; `promote`: asks for a reason, where it is not live."""
    ranker = found.ranker
    with ui.card().classes("w-full"):
        with ui.row().classes("w-full items-center"):
            told = f"Ranker {short(ranker.digest)}, {ranker.payload.get('arm', '')}, {ranker.state}"
            ui.label(told).classes("font-medium")
            ui.space()
            if ranker.state != "live":
                ui.button("Promote", on_click=promote)
        ui.label(ranker.digest).classes("mono quiet")
        figures = [
            {"figure": name, "value": number(value)}
            for name, value in ranker.metrics.items()
            if isinstance(value, int | float)
        ]
        table(("figure", "value"), figures, key="figure", empty="no figures")
        _titled("By its report, with 95 % intervals")
        _judgment([row for row in found.report if row.model == found.called])
        _titled("Among its rivals")
        pictures.comparison(found.report, found.called)
        pictures.gallery(found.pictures)
        if found.certificate:
            _titled("Certificate")
            ui.label(str(found.certificate["sentence"]))
        _titled("Lineage")
        ui.mermaid(_drawn(found.lineage)).classes("w-full")
        with ui.expansion("Dials").classes("w-full"):
            dials = json.dumps(ranker.dials, indent=1, default=str)
            ui.code(dials, language="json").classes("w-full")


def _titled(text: str) -> None:
    ui.label(text).classes("font-medium")


def _judgment(rows: list[Row]) -> None:
    """On all of test, and by relation, bucket and group; a word narrows it down."""
    told = [
        {
            "n": n,
            "metric": row.metric,
            "where": row.split,
            "value": number(row.value),
            "interval": interval(row),
            "unit": row.unit,
        }
        for n, row in enumerate(rows)
    ]
    word = ui.input("only what has this in it").props("dense clearable") if told else None
    names = ("metric", "where", "value", "interval", "unit")
    made = table(names, told, key="n", empty="no report has judged it")
    if made is not None and word is not None:
        made.bind_filter_from(word, "value")


def _drawn(lineage: dict[str, ArtifactDetail]) -> str:
    """From watermark to ranker, as a picture."""
    lines = ["graph LR"]
    for digest, one in lineage.items():
        told = ""
        if one.kind == "snapshot":
            told = f"<br>the log up to row {one.payload['watermark']['seq']:,}"
        lines.append(f'  {short(digest)}["{one.kind}<br>{short(digest)}{told}"]')
        lines += [f"  {short(parent)} --> {short(digest)}" for parent in one.parents.values()]
    return "\n".join(lines)
