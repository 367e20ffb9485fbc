"""Outcomes belong to the latest impression before them, within a window whose edges are exact."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from answered import ADS, DAY, HOUR, LATER, MINUTE, T, World, blocks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphsvc import answers, labels
from graphsvc.attribution import CENSORED, NEGATIVE, NOT_SHOWN, POSITIVE, Windows, join
from graphsvc.db import Database
from graphsvc.schema import parse_schema


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.mark.parametrize(
    ("after", "expected"),
    [(0, POSITIVE), (30 * MINUTE, POSITIVE), (30 * MINUTE + 1, NEGATIVE), (-1, NEGATIVE)],
)
def test_a_click_counts_up_to_and_including_the_windows_end(
    world: World, after: int, expected: int
) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T + 60, "u1", "a1", request_id="r")
    world.say("click", T + 60 + after, "u1", "a1")
    assert world.joined() == [("r", "a1", expected, NEGATIVE)]


@pytest.mark.parametrize(
    ("now", "expected"), [(30 * MINUTE, CENSORED), (30 * MINUTE + 1, NEGATIVE)]
)
def test_what_is_younger_than_its_window_is_censored(world: World, now: int, expected: int) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T + 60, "u1", "a1", request_id="r")
    assert world.joined(now=T + 60 + now) == [("r", "a1", expected, CENSORED)]


def test_a_window_that_settles_stays_open_for_what_comes_late(world: World) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    now = T + 30 * MINUTE + HOUR
    assert world.joined(now=now, settle_seconds=HOUR)[0][2] == CENSORED
    assert world.joined(now=now + 1, settle_seconds=HOUR)[0][2] == NEGATIVE


@pytest.mark.parametrize(
    ("after", "expected"),
    [(7 * DAY, POSITIVE), (7 * DAY + 1, NEGATIVE), (-1, NEGATIVE)],
)
def test_a_conversion_counts_for_the_ad_of_the_product(
    world: World, after: int, expected: int
) -> None:
    world.say("ad_of_product", T - DAY, "a1", "p1")
    world.answer("r", T, "a1", "a2")
    for ad in ("a1", "a2"):
        world.say("impression", T + 5, "u1", ad, request_id="r")
    world.say("checkout", T + 5 + after, "u1", "p1", value=20.0, currency="EUR")
    assert world.joined() == [("r", "a1", NEGATIVE, expected), ("r", "a2", NEGATIVE, NEGATIVE)]


@pytest.mark.parametrize(("now", "expected"), [(7 * DAY, CENSORED), (7 * DAY + 1, NEGATIVE)])
def test_conversions_are_censored_for_longer(world: World, now: int, expected: int) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    assert world.joined(now=T + now) == [("r", "a1", NEGATIVE, expected)]


def test_which_events_are_conversions_is_an_option(world: World) -> None:
    world.say("ad_of_product", T, "a1", "p1")
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    world.say("page_visit", T + 9, "u1", "p1")
    assert world.joined()[0][3] == NEGATIVE, "the schema names others"
    assert world.joined(conversions=("checkout", "page_visit"))[0][3] == POSITIVE


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (-601, NOT_SHOWN),
        (-600, POSITIVE),  # clocks differ
        (7 * DAY, POSITIVE),
        (7 * DAY + 1, NOT_SHOWN),
    ],
)
def test_an_impression_names_an_answer_of_the_last_days(
    world: World, after: int, expected: int
) -> None:
    world.say("ad_of_product", T, "a1", "p1")
    world.answer("r", T, "a1")
    world.say("impression", T + after, "u1", "a1", request_id="r")
    world.say("click", T + after + 1, "u1", "a1")
    world.say("checkout", T + after + 7 * DAY, "u1", "p1")
    assert world.joined() == [("r", "a1", expected, expected)]


@pytest.mark.parametrize(
    ("after", "expected"), [(0, POSITIVE), (30 * MINUTE, POSITIVE), (30 * MINUTE + 1, NOT_SHOWN)]
)
def test_an_impression_without_a_request_belongs_to_a_recent_answer(
    world: World, after: int, expected: int
) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T + after, "u1", "a1")
    world.say("click", T + after + 1, "u1", "a1")
    assert world.joined()[0][2] == expected


def test_what_is_not_shown_yet_may_still_be(world: World) -> None:
    world.answer("r", T, "a1")
    assert world.joined(now=T + 30 * MINUTE) == [("r", "a1", CENSORED, CENSORED)]
    assert world.joined(now=T + 30 * MINUTE + 1) == [("r", "a1", NOT_SHOWN, NOT_SHOWN)]


def test_the_last_touch_gets_the_outcome(world: World) -> None:
    world.answer("r1", T, "a1")
    world.answer("r2", T + 60, "a1")
    world.say("impression", T + 10, "u1", "a1", request_id="r1")
    world.say("impression", T + 70, "u1", "a1", request_id="r2")
    world.say("click", T + 90, "u1", "a1")
    assert [row[2] for row in world.joined()] == [NEGATIVE, POSITIVE]
    world.say("click", T + 69, "u1", "a1")
    assert [row[2] for row in world.joined()] == [POSITIVE, POSITIVE]


def test_an_outcome_in_the_second_of_two_impressions_belongs_to_the_later_row(
    world: World,
) -> None:
    world.answer("r1", T, "a1")
    world.answer("r2", T, "a1")
    for request in ("r1", "r2"):
        world.say("impression", T + 5, "u1", "a1", request_id=request)
    world.say("click", T + 5, "u1", "a1")
    assert [row[2] for row in world.joined()] == [NEGATIVE, POSITIVE]


def test_an_impression_without_a_request_belongs_to_the_latest_answer(world: World) -> None:
    world.answer("r1", T, "a1")
    world.answer("r2", T + 60, "a1", "a2")
    world.say("impression", T + 30, "u1", "a1")
    world.say("impression", T + 80, "u1", "a1")
    world.say("click", T + 81, "u1", "a1")
    assert [row[:3] for row in world.joined()] == [
        ("r1", "a1", NEGATIVE),
        ("r2", "a1", POSITIVE),
        ("r2", "a2", NOT_SHOWN),
    ]


def test_a_conversion_belongs_to_the_last_ad_of_the_product(world: World) -> None:
    for ad in ("a1", "a2"):
        world.say("ad_of_product", T, ad, "p1")
    world.answer("r", T, "a1", "a2")
    world.say("impression", T + 10, "u1", "a1", request_id="r")
    world.say("impression", T + 20, "u1", "a2", request_id="r")
    world.say("checkout", T + HOUR, "u1", "p1")
    assert [row[3] for row in world.joined()] == [NEGATIVE, POSITIVE]


def test_what_is_taken_back_is_no_outcome(world: World) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    world.say("click", T + 5, "u1", "a1")
    world.say("retract", T + 9, "u1", "a1", relation="click")
    assert world.joined()[0][2] == NEGATIVE


@pytest.mark.parametrize(
    ("clicked", "hidden", "expected"),
    [
        (60, 90, NEGATIVE),  # click, then hide
        (90, 60, NEGATIVE),  # hide, then click
        (60, 60, NEGATIVE),
        (60, 0, NEGATIVE),  # in the impression's second
        (60, 30 * MINUTE, NEGATIVE),
        (60, 30 * MINUTE + 1, POSITIVE),
        (60, -1, POSITIVE),  # before the impression
    ],
)
def test_a_hide_within_the_window_outweighs_a_click(
    world: World, clicked: int, hidden: int, expected: int
) -> None:
    world.say("ad_of_product", T, "a1", "p1")
    world.answer("r", T, "a1")
    world.say("impression", T + 5, "u1", "a1", request_id="r")
    world.say("click", T + 5 + clicked, "u1", "a1")
    world.say("hide", T + 5 + hidden, "u1", "a1")
    world.say("checkout", T + DAY, "u1", "p1")
    assert world.joined() == [("r", "a1", expected, POSITIVE)]
    with world.database.reading() as connection:
        (block,) = blocks(connection, ADS, Windows(), now=LATER)
    assert block.click_time.tolist() == [T + 5 + clicked if expected == POSITIVE else -1]


def test_what_was_shown_once_is_labelled_as_in_training(world: World) -> None:
    """Each ad is shown once; the labels of snapshots are asked about the same acts."""
    random, said = Random(7), []
    ads = [f"a{n}" for n in range(40)]
    world.answer("r", T, *ads)
    for n, ad in enumerate(ads):
        time = T + random.randrange(HOUR)
        world.say("impression", time, "u1", ad, request_id="r")
        said.append((time, n, labels.EXPOSURE))
        for name, kind in (("click", labels.OUTCOME), ("hide", labels.NEGATIVE)):
            for _ in range(random.randrange(3)):
                after = time + random.randrange(-10 * MINUTE, 40 * MINUTE)
                world.say(name, after, "u1", ad)
                said.append((after, n, kind))
    rows = np.zeros(len(said), dtype=labels.ACT)
    rows["time"], rows["tail"], rows["event"] = zip(*said, strict=True)
    labelled = labels.Labeler(window=30 * MINUTE, observed=LATER).add(rows, labels.END)
    exposed = labelled[labelled["event"] == labels.EXPOSURE]
    expected = exposed["label"][np.argsort(exposed["tail"])].tolist()
    assert {POSITIVE, NEGATIVE} == set(expected)
    assert [row[2] for row in world.joined()] == expected


def test_a_hide_is_known_before_the_window_is_over(world: World) -> None:
    world.answer("r", T, "a1", "a2")
    for ad in ("a1", "a2"):
        world.say("impression", T, "u1", ad, request_id="r")
    world.say("hide", T + 60, "u1", "a1")
    found = world.joined(now=T + 2 * MINUTE, settle_seconds=HOUR)
    assert found == [("r", "a1", NEGATIVE, CENSORED), ("r", "a2", CENSORED, CENSORED)]


def test_a_hide_belongs_to_the_last_touch(world: World) -> None:
    for n in range(2):
        world.answer(f"r{n}", T + n * 60, "a1")
        world.say("impression", T + n * 60 + 10, "u1", "a1", request_id=f"r{n}")
        world.say("click", T + n * 60 + 20, "u1", "a1")
    world.say("hide", T + 90, "u1", "a1")
    world.say("hide", T + 30, "u2", "a1")
    world.say("hide", T + 30, "u1", "a2")
    assert [row[2] for row in world.joined()] == [POSITIVE, NEGATIVE]


def test_a_schema_without_a_negative_has_none(world: World) -> None:
    plain = replace(ADS, label=replace(ADS.label, negative=None))
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    world.say("click", T + 5, "u1", "a1")
    world.say("hide", T + 9, "u1", "a1")
    world.write()
    with world.database.reading() as connection:
        (block,) = blocks(connection, plain, Windows(), now=LATER)
    assert block.click.tolist() == [POSITIVE]


@pytest.mark.parametrize(
    ("taken_back", "expected"), [(0, (POSITIVE, POSITIVE)), (1, (NEGATIVE, NEGATIVE))]
)
def test_the_outcome_may_be_a_conversion_too(
    database: Database, taken_back: int, expected: tuple[int, int]
) -> None:
    shop = parse_schema(
        {
            "name": "shop",
            "entities": {"user": {"person": True}, "product": {}},
            "relations": {"buy": {"head": "user", "tail": "product", "source": "offsite"}},
            "observations": {"impression": {"head": "user", "tail": "product", "source": "onsite"}},
            "label": {"exposure": "impression", "outcome": "buy"},
        }
    )
    world = World(database, shop)
    world.answer("r", T, "p1", "p2")
    for product in ("p1", "p2"):
        world.say("impression", T, "u1", product, request_id="r")
    world.say("buy", T + MINUTE, "u1", "p1")
    for _ in range(taken_back):
        world.say("retract", T + DAY, "u1", "p1", relation="buy")
    assert world.joined() == [("r", "p1", *expected), ("r", "p2", NEGATIVE, NEGATIVE)]


def test_other_peoples_outcomes_are_theirs(world: World) -> None:
    world.answer("r", T, "a1")
    world.say("impression", T, "u1", "a1", request_id="r")
    world.say("click", T + 5, "u2", "a1")
    world.say("click", T + 5, "u1", "a2")
    assert world.joined()[0][2] == NEGATIVE


def test_the_columns_say_when_where_and_how_much(world: World) -> None:
    world.say("ad_of_product", T, "a1", "p1")
    world.answer("r", T, "a2", "a1", "a3")
    world.say("impression", T + 1, "u1", "a1", request_id="r", position=4, sampling_rate=0.25)
    world.say("click", T + 3, "u1", "a1")
    world.say("add_to_cart", T + HOUR, "u1", "p1", value=0.5, currency="EUR")
    world.say("checkout", T + DAY, "u1", "p1", value=20.0, currency="EUR")
    world.write()
    with world.database.reading() as connection:
        (block,) = blocks(connection, ADS, Windows(), now=LATER)
    assert block.position.tolist() == [0, 1, 2]
    assert block.score.tolist() == [1 / 2, 1 / 3, 1 / 4]
    assert block.head.tolist() == ["u1"] * 3
    assert block.impression_time.tolist() == [-1, T + 1, -1]
    assert block.shown_position.tolist() == [-1, 4, -1]
    assert block.sampling_rate.tolist() == [1.0, 0.25, 1.0]
    assert block.click_time.tolist() == [-1, T + 3, -1]
    assert block.conversion_time.tolist() == [-1, T + HOUR, -1]
    assert block.conversion_event.tolist() == ["", "add_to_cart", ""]
    assert block.conversion_value.tolist() == [0.0, 20.5, 0.0]
    assert block.click.dtype == np.int8


def test_merged_ads_and_people_are_one(world: World) -> None:
    world.answer("r", T, "old")
    world.say("impression", T + 1, "u1", "old", request_id="r")
    world.say("click", T + 3, "u1", "new")
    assert world.joined()[0][2] == NEGATIVE
    world.events.append(
        {
            "event_id": "m",
            "event_name": "merge",
            "event_time": T,
            "action_source": "structure",
            "actor": {"type": "ad", "id": "old"},
            "object": {"type": "ad", "id": "new"},
        }
    )
    assert world.joined()[0][2] == POSITIVE


_MOMENTS = st.integers(0, 40)
_ADS = st.sampled_from(["a1", "a2"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shown=st.lists(st.tuples(_MOMENTS, _ADS, st.sampled_from(["r1", "r2"])), max_size=6),
    clicked=st.lists(st.tuples(_MOMENTS, _ADS), max_size=6),
    now=st.integers(0, 90),
)
def test_clicks_equal_a_slow_obvious_twin(
    migrated_sqlite, tmp_path_factory, shown, clicked, now
) -> None:
    """Time in units of a minute; each click is walked back to the impression before it."""
    path = tmp_path_factory.mktemp("twin") / "graph.sqlite"
    path.write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{path}")
    world = World(database)
    for request in ("r1", "r2"):
        world.answer(request, T, "a1", "a2")
    shown = sorted(shown, key=lambda row: row[0])
    for moment, ad, request in shown:
        world.say("impression", T + moment * MINUTE, "u1", ad, request_id=request)
    for moment, ad in clicked:
        world.say("click", T + moment * MINUTE, "u1", ad)
    world.write()
    with database.reading() as connection:
        kept = [answers.answer(connection, request) for request in ("r1", "r2")]
        found = join(connection, ADS, kept, windows=Windows(), now=T + now * MINUTE)
    database.dispose()

    owners = set()
    for moment, ad in clicked:
        before = [n for n, one in enumerate(shown) if one[1] == ad and one[0] <= moment]
        if before and moment - shown[before[-1]][0] <= 30:
            owners.add(before[-1])
    for request, ad, state in zip(found.request_id, found.item, found.click, strict=True):
        mine = [n for n, one in enumerate(shown) if one[1:] == (ad, request)]
        if not mine:
            expected = CENSORED if now <= 30 else NOT_SHOWN
        elif mine[0] in owners:
            expected = POSITIVE
        else:
            expected = CENSORED if now <= shown[mine[0]][0] + 30 else NEGATIVE
        assert state == expected
        assert not (state == NEGATIVE and now <= shown[mine[0]][0] + 30)
