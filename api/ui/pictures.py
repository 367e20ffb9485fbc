"""Pictures of a ranker: those sealed beside it and its bundle, and how it compares with rivals.

Takes what was sealed, gives elements of the page; never measures and never computes a figure.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from api.deps import Services
from api.ui.words import interval, number
from graphsvc.errors import ArtifactMissing
from graphsvc.report import Row

#: What the pictures of each kind show, in the order in which people look at them.
_SHOWN = {
    "ranker": {
        "calibration.png": "Calibration: what happened against what was predicted, on test",
        "curve.png": "Training of the ranker, by epoch",
    },
    "bundle": {"curve.png": "Training of the embeddings"},
}
_OTHERS = "gray"


@dataclass(frozen=True, slots=True)
class Picture:
    """A sealed picture, and what it shows."""

    caption: str
    png: bytes


def sealed(services: Services, lineage: Mapping[str, Any]) -> list[Picture]:
    """The pictures of a ranker and its bundle, as far as these have them. `lineage`: by digest."""
    found = []
    for kind, shown in _SHOWN.items():
        digest = next((one for one, told in lineage.items() if told.kind == kind), None)
        if digest is None:
            continue
        try:
            artifact = services.store.open(kind, digest, verify=False)
            held = artifact.manifest["files"]
            found += [
                Picture(caption, artifact.file(name).read_bytes())
                for name, caption in shown.items()
                if name in held
            ]
        except (ArtifactMissing, FileNotFoundError):
            continue  # an erasure puts its successor into its place at this very moment
    return found


def gallery(pictures: Sequence[Picture]) -> None:
    """The pictures with what they show, beside each other where there is room."""
    with ui.row().classes("w-full gap-4"):
        for one in pictures:
            with ui.column().classes("gap-1 max-w-full"):
                ui.label(one.caption).classes("quiet text-sm")
                source = f"data:image/png;base64,{b64encode(one.png).decode()}"
                made = ui.element("img").props(f'src="{source}" alt="{one.caption}"')
                made.classes("max-w-full max-h-72 rounded")


def comparable(rows: Sequence[Row], model: str) -> dict[str, list[Row]]:
    """Of a report, what a model and its rivals have in common, with intervals: name -> rows.

    A name is a metric, with its split where the model was judged on several.
    """
    apart: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        # `a - b` is the difference of two models, and no model.
        if row.lo is not None and row.hi is not None and " - " not in row.model:
            apart.setdefault((row.metric, row.split), []).append(row)
    both = {
        key: of for key, of in apart.items() if len(of) > 1 and any(r.model == model for r in of)
    }
    splits = {split for _, split in both}
    return {
        metric if len(splits) == 1 else f"{metric}, {split}": of
        for (metric, split), of in both.items()
    }


def comparison(rows: Sequence[Row], model: str) -> None:
    """A model among its rivals by a metric that is chosen: an interval each, with the value."""
    by_name = comparable(rows, model)
    if not by_name:
        ui.label("No report compares it with others.").classes("quiet")
        return
    first = next(iter(by_name))
    pick = ui.select(list(by_name), value=first, label="by").classes("w-64")
    chart = ui.echart(_intervals(by_name[first], model)).classes("w-full")

    def draw(name: str) -> None:
        chart.options.clear()
        chart.options.update(_intervals(by_name[name], model))
        chart.update()

    pick.on_value_change(lambda event: draw(event.value))
    chart.style(f"height: {90 + 34 * max(map(len, by_name.values()))}px")


def _intervals(rows: Sequence[Row], model: str) -> dict[str, Any]:
    """A box from the lower to the upper bound of each, with a line at the value."""
    shown = list(reversed(rows))  # the first one on top
    boxes = [
        {
            "value": [row.lo, row.lo, row.value, row.hi, row.hi],
            "name": f"{row.model}: {number(row.value)} ({interval(row)})",
            "itemStyle": {"borderColor": "#3b82f6" if row.model == model else _OTHERS},
        }
        for row in shown
    ]
    return {
        "backgroundColor": "transparent",
        "grid": {"left": 10, "right": 20, "top": 10, "bottom": 30, "containLabel": True},
        "yAxis": {"type": "category", "data": [row.model for row in shown]},
        "xAxis": {
            "type": "value",
            "scale": True,
            "name": "95 % intervals",
            "nameLocation": "middle",
            "nameGap": 24,
        },
        "tooltip": {"trigger": "item", "formatter": "{b}"},
        "series": [{"type": "boxplot", "data": boxes, "boxWidth": [8, 14]}],
        "animation": False,
    }
