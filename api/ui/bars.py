"""Bars over time: what a chart of counts is drawn from.

Takes labels and counts, gives options of ECharts; read on light and on dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_GRAY = {"color": "#808895"}
_LINES = {"lineStyle": {"color": "#80889540"}}
_BLUE = "#3b82f6"


def bars(labels: Sequence[str], counts: Sequence[int]) -> dict[str, Any]:
    """One bar for each label."""
    one = {"type": "bar", "data": list(counts), "itemStyle": {"color": _BLUE}}
    return _options(labels, [one], top=10)


def stacked(labels: Sequence[str], counts: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The counts of several things on top of each other, each with a color and in the legend."""
    series = [
        {"type": "bar", "stack": "all", "name": name, "data": list(of)}
        for name, of in counts.items()
    ]
    legend = {"type": "scroll", "top": 0, "textStyle": _GRAY, "pageTextStyle": _GRAY}
    return _options(labels, series, top=35) | {"legend": legend}


def _options(labels: Sequence[str], series: list[dict[str, Any]], *, top: int) -> dict[str, Any]:
    return {
        "backgroundColor": "transparent",
        "grid": {"left": 50, "right": 10, "top": top, "bottom": 25},
        "xAxis": {"type": "category", "data": list(labels), "axisLabel": _GRAY},
        "yAxis": {"type": "value", "minInterval": 1, "axisLabel": _GRAY, "splitLine": _LINES},
        "tooltip": {"trigger": "axis"},
        "series": series,
        "animation": False,
    }
