"""A simulated market: one stream however it is cut, under the house's own rules."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import DAY, FAR, SMALL, far, of_kind, run, twelve_days

from graphsvc.admission import admit
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.errors import WorldError
from graphsvc.events import Event
from graphsvc.export import Split, export_snapshot
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.simulate import IMPRESSION, KINDS, Market, World, as_events, as_table
from graphsvc.simulate.blocks import WINDOW
from graphsvc.simulate.clock import Clock
from graphsvc.simulate.goods import goods_of
from graphsvc.simulate.people import NEVER, comes, consent_ends, entered, there
from graphsvc.simulate.rows import CHECKOUT

ADS = load_schema("ads")
LONG = twelve_days()
MARKET = Market(SMALL)


# One stream


@settings(deadline=None, max_examples=8)
@given(chunk=st.integers(500, 40_000), events=st.integers(1, 40_000))
def test_any_cut_of_any_length_is_of_one_stream(chunk: int, events: int) -> None:
    cut = run(SMALL, events=events, chunk=chunk)
    assert len(cut.events) == events
    assert cut.events.tobytes() == LONG.events[:events].tobytes()
    shown = int((cut.events["kind"] == IMPRESSION).sum())
    assert len(cut.truth) == shown
    assert cut.truth.tobytes() == LONG.truth[:shown].tobytes()


def test_events_go_forward_in_time_and_each_has_an_id_of_its_own() -> None:
    times = LONG.events["time"]
    assert (np.diff(times) >= 0).all()
    assert times[0] == SMALL.start
    assert times[-1] < SMALL.start + 12 * DAY
    named = {(row["event_name"], row["event_id"]) for row in as_events(MARKET, LONG.events)}
    assert len(named) == len(LONG.events)


def test_the_truth_is_about_the_impressions_in_their_order() -> None:
    shown = LONG.events[LONG.events["kind"] == IMPRESSION]
    for mine, theirs in (("origin", "origin"), ("head", "user"), ("tail", "ad"), ("time", "time")):
        np.testing.assert_array_equal(shown[mine], LONG.truth[theirs])
    np.testing.assert_array_equal(shown["position"], LONG.truth["position"])


def test_another_seed_is_another_market() -> None:
    other = run(replace(SMALL, seed=1), events=5000)
    assert not np.array_equal(other.events["tail"], LONG.events["tail"][:5000])


def test_the_schema_takes_every_event() -> None:
    names = set()
    rare = of_kind(LONG, "save", "hide", "sign_up", "checkout", "opt_out")[:2000]
    for rows in (LONG.events[:10_000], rare):
        for raw in as_events(Market(SMALL), rows):
            event = admit(ADS, raw, 2 * SMALL.start, Rules(backfill=True))
            assert isinstance(event, Event), event
            names.add(event.event_name)
    assert names == {kind.name for kind in KINDS}


def test_a_stream_without_an_end_is_refused() -> None:
    with pytest.raises(WorldError, match="should have an end"):
        next(Market(SMALL).stream())


@pytest.mark.parametrize(
    ("dials", "says"),
    [
        ({"people": 0}, "people should be 1 to 50,000,000, received 0"),
        ({"bots": 1.5}, "bots should be 0.0 to 0.9, received 1.5"),
        ({"people": True}, "people should be a whole number, received True"),
        ({"bots": float("nan")}, "bots should be a number, received nan"),
        ({"interactions": 1}, "interactions should be true or false, received 1"),
        ({"ads": 3}, "ads should be at least 1400: an ad for each product with ads"),
        ({"products": 10}, "categories should be at most 7, the number of products with ads"),
    ],
)
def test_a_world_that_cannot_be_is_refused(dials: dict[str, Any], says: str) -> None:
    with pytest.raises(WorldError) as refused:
        World(**dials)
    assert says in str(refused.value)


# People and time


def test_people_come_and_go() -> None:
    """Three people, three days each: the 4th, number 3, comes a day after the start."""
    world = replace(SMALL, people=3, turnover_days=3.0)
    moments = world.start + np.array([0, DAY - 1, DAY, 2 * DAY, 9 * DAY])
    np.testing.assert_array_equal(entered(world, moments), [0, 0, 1, 2, 9])
    people = np.array([2, 3, 4, 11])
    np.testing.assert_array_equal(
        comes(world, people), world.start + np.array([0, DAY, 2 * DAY, 9 * DAY])
    )
    drawn = there(world, np.full(1000, moments[3]), np.arange(1000) / 1000)
    assert set(drawn.tolist()) == {2, 3, 4}


def test_nobody_is_shown_anything_before_their_attributes_are_known() -> None:
    named = LONG.events[LONG.events["kind"] == 0]
    known = dict(zip(named["head"].tolist(), named["time"].tolist(), strict=True))
    people = LONG.truth[~LONG.truth["bot"]]
    assert all(
        known[user] <= time
        for user, time in zip(people["user"].tolist(), people["time"].tolist(), strict=True)
    )
    assert max(known.values()) > SMALL.start, "somebody came later"


def test_a_week_has_its_pages_and_hours_differ() -> None:
    clock = Clock(SMALL)
    week = clock.times(np.arange(8) * 7 * SMALL.pages_per_day)
    np.testing.assert_array_equal(week, SMALL.start + 7 * DAY * np.arange(8))
    every = clock.times(np.arange(0, 7 * SMALL.pages_per_day))
    assert (np.diff(every) >= 0).all()
    by_hour = np.bincount((every % DAY) // 3600, minlength=24)
    assert by_hour.argmax() in (19, 20)
    assert by_hour.max() > 3 * by_hour.min()


def test_an_ad_is_not_shown_again_to_the_same_person_within_the_labels_window() -> None:
    order = np.lexsort((LONG.truth["time"], LONG.truth["ad"], LONG.truth["user"]))
    rows = LONG.truth[order]
    same = (rows["user"][1:] == rows["user"][:-1]) & (rows["ad"][1:] == rows["ad"][:-1])
    assert same.any()
    assert np.diff(rows["time"])[same].min() > ADS.label.window_minutes * 60


def test_programs_have_the_declared_share_of_pages() -> None:
    pages, first = np.unique(LONG.truth["origin"] // (4 * SMALL.slots), return_index=True)
    bots = LONG.truth["bot"][first]
    assert not far(bots.sum(), np.full(len(pages), SMALL.bots))
    assert not LONG.truth["was_bought"][LONG.truth["bot"]].any()


# What there is, what is clicked, and what is bought


def test_advertisers_sell_what_is_alike() -> None:
    """Of 200 five are of each of 40 categories; a fifth of the products is anybody's."""
    world = World()
    sellers = goods_of(world).advertiser
    own = sellers % world.categories == np.arange(world.products) % world.categories
    assert not far(own.sum(), np.full(world.products, 0.8 + 0.2 / 40))
    few = goods_of(replace(world, advertisers=10)).advertiser
    assert set(few.tolist()) == set(range(10)), "where they are few, each has several categories"


def test_labels_of_the_house_are_the_clicks_of_the_world(database: Database, tmp_path: Path):
    world = replace(SMALL, pages_per_day=400.0)
    market = Market(world)
    chunk = run(world, events=6000)
    with database.transaction() as connection:
        log = list(as_events(market, chunk.events))
        verdicts = ingest(connection, ADS, log, now=2 * world.start, rules=Rules(backfill=True))
    assert {verdict.status for verdict in verdicts} == {"accepted"}
    with database.reading() as connection:
        sealed = export_snapshot(connection, ArtifactStore(tmp_path), ADS, Split())
    rows, ids = sealed.interactions(), sealed.ids
    shown = (rows.event == 0) & (rows.label >= 0)
    labels = {
        (ids[head], ids[tail], int(time)): int(label)
        for head, tail, time, label in zip(
            rows.head[shown], rows.tail[shown], rows.time[shown], rows.label[shown], strict=True
        )
    }
    assert len(labels) == shown.sum() > 3000
    clicked = 0
    for row in chunk.truth:
        label = labels.get((f"u{row['user']}", f"a{row['ad']}", int(row["time"])))
        assert label in (None, int(row["was_clicked"]))
        clicked += label == 1
    assert clicked > 50


@pytest.mark.parametrize("sorting", [0.0, 1.0])
def test_where_positions_are_known_their_bias_can_be_taken_out(sorting: float) -> None:
    """Clicks at k over the chances of a click if looked at: (k + 1)^-.8, sorted pages or not."""
    told = run(replace(SMALL, sorting=sorting), days=12).truth
    told = told[~told["bot"]]
    for place in range(SMALL.slots):
        rows = told[told["position"] == place]
        bias = (place + 1) ** -0.8
        np.testing.assert_allclose(rows["looked_at"], bias)
        assert not far(rows["was_clicked"].sum(), bias * rows["click"])
        assert not far(rows["was_looked_at"].sum(), rows["looked_at"])
    if sorting:
        best, last = (told["click"][told["position"] == place].mean() for place in (0, 3))
        assert best > 1.5 * last, "a place says something of an ad, so bias and merit are mixed"


def test_purchases_come_as_often_as_they_should() -> None:
    told = LONG.truth[LONG.truth["was_clicked"] & (LONG.truth["consent_ends"] == NEVER)]
    assert not far(told["was_bought"].sum(), told["purchase"])
    without = LONG.truth["consent_ends"] == 0
    assert np.isnan(LONG.truth["purchase"][without]).all()
    assert not LONG.truth["was_bought"][without].any()


def test_what_was_bought_is_seen_within_the_window() -> None:
    world = replace(SMALL, delay_hours=60.0)
    chunk = run(world, days=20)
    bought = of_kind(chunk, "checkout")
    theirs = bought[bought["origin"] % 4 == 0]
    shown = {int(row["origin"]): row for row in chunk.truth}
    late = 0
    for event in theirs:
        row = shown[int(event["origin"])]
        assert row["was_clicked"]
        assert event["tail"] == row["ad"] % world.advertised
        in_time = event["time"] <= row["time"] + WINDOW
        assert row["was_bought"] == in_time
        late += not in_time
    assert 0 < late < len(theirs) / 4
    # Of their own accord people buy what no ad is of, so a cause is never in doubt.
    assert (bought["tail"][bought["origin"] % 4 != 0] >= world.advertised).all()


def test_delays_have_the_declared_mean() -> None:
    """Two hours; of clicks of the first week, which all have time to be followed."""
    chunk = run(replace(SMALL, delay_hours=2.0), days=12)
    clicks = of_kind(chunk, "click")
    early = clicks[clicks["time"] < SMALL.start + 7 * DAY]
    when = dict(zip(early["origin"].tolist(), early["time"].tolist(), strict=True))
    delays = np.array(
        [
            event["time"] - when[int(event["origin"])]
            for event in of_kind(chunk, "checkout")
            if int(event["origin"]) in when
        ]
    )
    assert len(delays) > 100
    assert (delays > 0).all()
    # An exponential's deviation is its mean.
    assert abs(delays.mean() - 7200) < FAR * 7200 / len(delays) ** 0.5


def test_an_opt_out_ends_offsite_events_of_that_person() -> None:
    outs = of_kind(LONG, "opt_out")
    assert len(outs) > 3
    offsite = of_kind(LONG, "page_visit", "sign_up", "add_to_cart", "checkout")
    end = consent_ends(SMALL, offsite["head"])
    assert (offsite["time"] < end).all()
    left = {int(row["head"]): int(row["time"]) for row in outs}
    assert all(consent_ends(SMALL, outs["head"]) == outs["time"])
    before = [row for row in offsite if int(row["head"]) in left]
    assert before
    assert all(row["time"] < left[int(row["head"])] for row in before)


def test_checkouts_have_a_value() -> None:
    market = Market(SMALL)
    rows = LONG.events[LONG.events["kind"] == CHECKOUT][:20]
    events = list(as_events(market, rows))
    assert [event["value"] for event in events] == market.goods.prices(rows["tail"]).tolist()
    assert all(event["currency"] == "EUR" and event["consent"] is True for event in events)


def test_acts_say_who_agrees() -> None:
    market = Market(SMALL)
    people = LONG.events[[KINDS[kind].source != "structure" for kind in LONG.events["kind"]]]
    told = [bool(event.get("consent")) for event in as_events(market, people)]
    agrees = (consent_ends(SMALL, people["head"]) > people["time"]).tolist()
    assert told == agrees, "of the second of an opt-out, too, which is the end"
    onsite = [KINDS[kind].source == "onsite" for kind in people["kind"]]
    assert {said for said, here in zip(told, onsite, strict=True) if here} == {True, False}
    table = as_table(market, LONG.events)
    events = as_events(market, LONG.events)
    assert table["consent"].to_pylist() == [event.get("consent") for event in events]
