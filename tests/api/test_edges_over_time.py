"""When the edges of an entity were last seen, in bins, as the page draws them."""

from dataclasses import replace

import pytest

from api.ui.edges import over_time
from graphsvc.graph import EdgeView
from graphsvc.ids import EntityId

START = 1_767_225_600  # 2026-01-01 00:00:00
DAY = 86_400
CLICK = EdgeView(
    relation="click",
    direction="out",
    other=EntityId("ad", "a1"),
    count=1,
    weight=1.0,
    first_time=0,
    last_time=START,
)


def test_edges_fall_into_bins_between_the_first_and_the_last() -> None:
    days = [0, 0, 1, 25, 47]
    edges = [replace(CLICK, last_time=START + day * DAY) for day in days]
    edges.append(replace(CLICK, relation="save", last_time=START + 30 * DAY))
    binned = over_time(edges)
    assert list(binned.counts) == ["click", "save"]
    assert all(len(counts) == len(binned.labels) <= 24 for counts in binned.counts.values())
    assert sum(binned.counts["click"]) == 5
    assert (binned.counts["click"][0], binned.counts["click"][-1]) == (3, 1)
    assert sum(binned.counts["save"]) == 1
    assert (binned.labels[0], binned.labels[-1][:7]) == ("2026-01-01", "2026-02")
    assert over_time(edges[::-1]) == binned, "in whatever order they come"


@pytest.mark.parametrize(("seconds", "bins"), [(0, 1), (5, 6), (23, 24), (24, 13), (DAY, 24)])
def test_bins_are_as_many_as_there_are_seconds_and_24_at_most(seconds: int, bins: int) -> None:
    binned = over_time([CLICK, replace(CLICK, last_time=START + seconds)])
    assert len(binned.labels) == bins
    assert sum(binned.counts["click"]) == 2
    assert len(set(binned.labels)) == bins
