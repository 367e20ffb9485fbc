"""Conversions: last click by hand, its window, nothing counted twice, and a slow loop."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphsvc.conversions import Conversions, Deeds, Led, Ties, converted, ties
from graphsvc.errors import ConversionUnknown
from graphsvc.schema import load_schema

ADS = load_schema("ads")
WINDOW = 100
#: Ads 10 and 11 are of product 20, ad 12 is of product 21 and of advertiser 30.
TIES = [(10, 20), (11, 20), (12, 21), (12, 30)]


def deeds(*rows: tuple[int, int, int]) -> Deeds:
    """(head, tail, time)."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Deeds(*columns).in_order()


def leading(pairs: list[tuple[int, int]] = TIES) -> Ties:
    return Ties(*np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T)


def owed(clicks: Deeds, conversions: Deeds) -> list[tuple[int, int, int]]:
    """The clicks that a conversion belongs to."""
    found = clicks.take(converted(clicks, conversions, leading(), WINDOW))
    return list(zip(*(column.tolist() for column in found), strict=True))


def test_a_conversion_belongs_to_the_latest_click_before_it() -> None:
    clicks = deeds((1, 10, 5), (1, 11, 8), (1, 10, 40), (2, 10, 9))
    assert owed(clicks, deeds((1, 20, 10))) == [(1, 11, 8)]
    assert owed(clicks, deeds((1, 20, 10), (1, 20, 12))) == [(1, 11, 8)], "one click, two buys"
    assert owed(clicks, deeds((1, 20, 10), (1, 20, 40))) == [(1, 11, 8), (1, 10, 40)]
    assert owed(clicks, deeds((1, 20, 4))) == [], "it came before them all"
    assert owed(clicks, deeds((1, 21, 10))) == [], "of another product"
    assert owed(clicks, deeds((3, 20, 10))) == [], "of somebody who clicked nothing"


def test_what_is_bought_may_be_the_item_itself_or_anything_it_leads_to() -> None:
    clicks = deeds((1, 12, 5))
    for target in (12, 21, 30):
        assert owed(clicks, deeds((1, target, 6))) == [(1, 12, 5)]
    assert owed(clicks, deeds((1, 20, 6))) == []


@pytest.mark.parametrize(("gap", "counts"), [(0, True), (WINDOW, True), (WINDOW + 1, False)])
def test_the_end_of_the_window_counts(gap: int, counts: bool) -> None:
    assert bool(owed(deeds((1, 10, 5)), deeds((1, 20, 5 + gap)))) is counts


def test_an_older_click_does_not_get_what_the_latest_is_too_old_for() -> None:
    clicks = deeds((1, 10, 0), (1, 10, 5))
    assert owed(clicks, deeds((1, 20, 5 + WINDOW + 1))) == []


def test_nothing_comes_of_nothing() -> None:
    assert owed(deeds(), deeds((1, 20, 5))) == []
    assert owed(deeds((1, 10, 5)), deeds()) == []
    none = Led(deeds())
    assert none.within(deeds((1, 10, 5)), 10).tolist() == [False]


@pytest.mark.parametrize(("time", "asked"), [(3, False), (4, True), (14, True), (15, False)])
def test_exposures_ask_for_clicks_of_their_pair_in_their_window(time: int, asked: bool) -> None:
    """A click at 14 lies in the windows [4, 14] to [14, 24] of 10 seconds."""
    led = Led(deeds((1, 10, 14), (1, 11, 500)))
    assert led.within(deeds((1, 10, time)), 10).tolist() == [asked]
    assert led.within(deeds((1, 11, time)), 10).tolist() == [False]
    assert led.within(deeds((2, 10, time)), 10).tolist() == [False]
    assert Led(deeds((10, 1, 14)), either_way=True).within(deeds((1, 10, time)), 10)[0] == asked


_ROWS = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 30))


@given(
    clicks=st.lists(_ROWS, max_size=12),
    bought=st.lists(_ROWS, max_size=8),
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=5),
)
def test_it_is_what_a_slow_loop_says(clicks: Any, bought: Any, pairs: Any) -> None:
    rows, tied = sorted(clicks, key=lambda c: (c[2], c[0], c[1])), {*pairs}
    expected = set()
    for head, target, time in bought:
        before = [
            n
            for n, (who, item, at) in enumerate(rows)
            if who == head and at <= time and (item == target or (item, target) in tied)
        ]
        if before and time - rows[max(before)][2] <= 7:
            expected.add(rows[max(before)])
    found = converted(deeds(*clicks), deeds(*bought), leading(pairs), 7)
    assert {rows[n] for n in np.flatnonzero(found)} == expected


def test_what_counts_unless_it_is_said() -> None:
    assert ADS.label.conversions == ("sign_up", "add_to_cart", "checkout")
    assert Conversions().named(ADS) == ADS.label.conversions
    unsaid = replace(ADS, label=replace(ADS.label, conversions=None))
    assert Conversions().named(unsaid) == ("page_visit", "sign_up", "add_to_cart", "checkout")
    assert Conversions(events=("checkout",)).named(ADS) == ("checkout",)
    assert Conversions(events=("closeup", "save")).named(ADS) == ("save", "closeup"), "its order"
    assert Conversions().named(load_schema("film")) == ()
    assert ties(ADS, ("checkout", "sign_up")) == {"ad_of_product", "ad_of_advertiser"}
    assert ties(ADS, ("save",)) == set(), "it is on the ad itself"


@pytest.mark.parametrize("name", ["nothing", "click", "impression", "hide", "ad_of_product"])
def test_what_cannot_be_a_conversion_is_named(name: str) -> None:
    with pytest.raises(ConversionUnknown, match=f"checkout.*, received '{name}'"):
        Conversions(events=("checkout", name)).named(ADS)


@pytest.mark.parametrize("days", [0.0, -1.0, 366.0, float("nan")])
def test_days_that_are_none(days: float) -> None:
    with pytest.raises(ConversionUnknown, match="conversion_days should be above 0"):
        Conversions(days=days)
