"""What became of an answer does not depend on which other answers it is joined beside."""

from dataclasses import dataclass, field
from random import Random

import pytest
from answered import ADS, DAY, HOUR, LATER, MINUTE, T, World
from plans import plans_of

from graphsvc import answers
from graphsvc.attribution import NEGATIVE, NOT_SHOWN, POSITIVE, Windows, join
from graphsvc.db import Database

Row = tuple[str, str, int, int]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def alone(world: World, requests: list[str]) -> list[Row]:
    """Each answer joined by itself, as GET /v1/answers/{request_id} does it."""
    found: list[Row] = []
    with world.database.reading() as connection:
        for request in requests:
            kept = [answers.answer(connection, request)]
            one = join(connection, ADS, kept, windows=Windows(), now=LATER)
            rows = zip(one.request_id, one.item, one.click, one.conversion, strict=True)
            found += [(a, b, int(c), int(d)) for a, b, c, d in rows]
    return found


@pytest.mark.parametrize("block", [1, 2, 200])
def test_an_ad_outside_the_block_may_be_the_last_touch(world: World, block: int) -> None:
    for n, ad in enumerate(("a1", "a2")):
        world.say("ad_of_product", T - DAY, ad, "p1")
        world.answer(f"r{n}", T + n * HOUR, ad)
        world.say("impression", T + n * HOUR + 5, "u1", ad, request_id=f"r{n}")
    world.say("checkout", T + DAY, "u1", "p1")
    expected = [("r0", "a1", NEGATIVE, NEGATIVE), ("r1", "a2", NEGATIVE, POSITIVE)]
    assert world.joined(block=block) == expected
    assert alone(world, ["r0", "r1"]) == expected


@pytest.mark.parametrize("block", [1, 200])
def test_merged_ads_and_products_are_the_last_touch_too(world: World, block: int) -> None:
    world.say("ad_of_product", T - DAY, "a1", "p1")
    world.say("ad_of_product", T - DAY, "old", "p-old")
    world.answer("r0", T, "a1")
    world.answer("r1", T + HOUR, "old")
    world.say("impression", T + 5, "u1", "a1", request_id="r0")
    world.say("impression", T + HOUR + 5, "u1", "old", request_id="r1")
    world.say("checkout", T + DAY, "u1", "p1")
    world.merge("ad", "old", "new")
    world.merge("product", "p-old", "p1")
    assert [row[3] for row in world.joined(block=block)] == [NEGATIVE, POSITIVE]
    assert [row[3] for row in alone(world, ["r0", "r1"])] == [NEGATIVE, POSITIVE]


def test_an_ad_that_no_answer_holds_may_be_the_last_touch(world: World) -> None:
    for ad in ("a1", "a2"):
        world.say("ad_of_product", T - DAY, ad, "p1")
    world.answer("r", T, "a1")
    world.say("impression", T + 5, "u1", "a1", request_id="r")
    world.say("impression", T + 9, "u1", "a2")
    world.say("checkout", T + DAY, "u1", "p1")
    assert world.joined() == [("r", "a1", NEGATIVE, NEGATIVE)]


@dataclass
class Told:
    """What a random world was told, and who of it gets a purchase, looked for one by one."""

    bought: int = T + 5 * DAY
    leading: set[str] = field(default_factory=set)
    #: request -> (asked at, user, ads)
    asked: dict[str, tuple[int, str, list[str]]] = field(default_factory=dict)
    #: (time, place in the log, user, ad, request or nothing)
    shown: list[tuple[int, int, str, str, str]] = field(default_factory=list)

    def show(self, world: World, time: int, user: str, ad: str, request: str) -> None:
        world.say("impression", time, user, ad, **({"request_id": request} if request else {}))
        self.shown.append((time, world.said, user, ad, request))

    def last_touches(self) -> list[tuple[int, int, str, str, str]]:
        """Each person's last impression of what leads to the purchase, before it."""
        before = [s for s in self.shown if s[0] <= self.bought and s[3] in self.leading]
        return [max(s for s in before if s[2] == user) for user in ("u1", "u2")]

    def positives(self) -> set[tuple[str, str]]:
        """(request, ad) whose impression is a last touch, not too long before the purchase."""
        return {
            (request, ad)
            for request, (_, _, ads) in self.asked.items()
            for ad in ads
            for touch in self.last_touches()
            if self.belongs(request, ad) == touch and self.bought - touch[0] <= 7 * DAY
        }

    def belongs(self, request: str, ad: str) -> tuple[int, int, str, str, str] | None:
        """The impression of an answer's ad: by its name, else the first without one behind it."""
        asked, user, _ = self.asked[request]
        named, unnamed = [], []
        for one in sorted(self.shown):
            if one[2:4] != (user, ad):
                continue
            if one[4] == request and asked - 10 * MINUTE <= one[0] <= asked + 7 * DAY:
                named.append(one)
            before = [a for a, who, ads in self.asked.values() if (who, ad in ads) == (user, True)]
            latest = max((a for a in before if a <= one[0]), default=None)
            if not one[4] and latest == asked and one[0] - asked <= 30 * MINUTE:
                unnamed.append(one)
        return next(iter(named + unnamed), None)


def random_world(world: World, random: Random) -> Told:
    """Six ads of two products each, shown to two people who click, take back, and buy once."""
    told, ads = Told(), [f"a{n}" for n in range(6)]
    for ad in ads:
        for product in random.sample(["p0", "p1", "p2"], 2):
            world.say("ad_of_product", T - DAY, ad, product)
            told.leading |= {ad} if product == "p0" else set()
    for n in range(16):
        request, asked, user = f"r{n:02}", T + n * 5 * HOUR, random.choice(["u1", "u2"])
        held = random.sample(ads, 3)
        told.asked[request] = (asked, user, held)
        world.answer(request, asked, *held, user=user)
        for ad in held[:2]:
            named = request if random.random() < 0.7 else ""
            told.show(world, asked + random.randrange(MINUTE), user, ad, named)
            if random.random() < 0.5:
                world.say("click", asked + random.randrange(40 * MINUTE), user, ad)
            if random.random() < 0.2:
                later = asked + random.randrange(24 * DAY)
                world.say("retract", later, user, ad, relation="click")
            if random.random() < 0.2:
                again = asked + random.randrange(-HOUR, 20 * DAY)
                told.show(world, again, user, ad, request)
    for user in ("u1", "u2"):
        world.say("checkout", told.bought, user, "p0")
    return told


@pytest.mark.parametrize("seed", range(6))
def test_any_size_of_the_blocks_gives_the_same(world: World, seed: int) -> None:
    told = random_world(world, Random(seed))
    expected = world.joined(block=200)
    assert {row[3] for row in expected} == {POSITIVE, NEGATIVE, NOT_SHOWN}
    # Each of two people bought once, and the last of the impressions before it got it; that one
    # may belong to no answer.
    assert {row[:2] for row in expected if row[3] == POSITIVE} == told.positives()
    for block in (1, 2, 3, 5, 16):
        assert world.joined(block=block) == expected, block
    assert alone(world, sorted(told.asked)) == expected


@pytest.mark.parametrize("block", [1, 200])
def test_the_click_window_may_be_the_longer_one(world: World, block: int) -> None:
    world.answer("r0", T, "a1")
    world.answer("r1", T + 6 * DAY, "a2")
    world.say("impression", T, "u1", "a1", request_id="r0")
    world.say("click", T + 3 * DAY, "u1", "a1")
    found = world.joined(block=block, click_seconds=7 * DAY, conversion_seconds=HOUR)
    assert found[0][2] == POSITIVE


def test_the_answers_under_a_merged_name_count_where_impressions_name_none(world: World) -> None:
    world.answer("r0", T, "old", user="u-old")
    world.answer("r1", T + MINUTE, "new", user="u1")
    world.say("impression", T, "u-old", "other", request_id="elsewhere")
    world.say("impression", T + 2 * MINUTE, "u1", "new")
    world.say("click", T + 3 * MINUTE, "u1", "new")
    world.say("impression", T - DAY, "u1", "old")
    world.merge("ad", "old", "new")
    world.merge("user", "u-old", "u1")
    expected = [NOT_SHOWN, POSITIVE]
    assert [row[2] for row in world.joined(block=200)] == expected
    assert [row[2] for row in world.joined(block=1)] == expected


def later_answer(world: World) -> None:
    """An answer long after the others: beside it, a block reads that much more of the log."""
    world.answer("z", T + 25 * DAY, "a9")


@pytest.mark.parametrize("block", [1, 200])
def test_a_click_that_is_taken_back_much_later_is_none_either(world: World, block: int) -> None:
    world.answer("r", T, "a1", "a2")
    for ad in ("a1", "a2"):
        world.say("impression", T, "u1", ad, request_id="r")
        world.say("click", T + MINUTE, "u1", ad)
    world.say("retract", T + 20 * DAY, "u1", "a1", relation="click")
    world.say("click", T + 20 * DAY, "u1", "a2")
    world.say("retract", T + 21 * DAY, "u1", "a2", relation="click")  # of that second click
    later_answer(world)
    assert [row[2] for row in world.joined(block=block)] == [NEGATIVE, POSITIVE, NOT_SHOWN]


@pytest.mark.parametrize("block", [1, 200])
@pytest.mark.parametrize("later", [HOUR, 20 * DAY])
def test_a_conversion_that_is_taken_back_is_none(world: World, later: int, block: int) -> None:
    for ad, product in (("a1", "p1"), ("a2", "p2"), ("a3", "p3")):
        world.say("ad_of_product", T - DAY, ad, product)
    world.answer("r", T, "a1", "a2", "a3")
    for ad, product in (("a1", "p1"), ("a2", "p2"), ("a3", "p3")):
        world.say("impression", T, "u1", ad, request_id="r")
        world.say("checkout", T + MINUTE, "u1", product, value=20.0, currency="EUR")
    world.say("retract", T + later, "u1", "p1", relation="checkout")
    world.say("checkout", T + later, "u1", "p2", value=5.0, currency="EUR")
    world.say("retract", T + later + 1, "u1", "p2", relation="checkout")  # of that second one
    world.say("retract", T + later, "u1", "p3", relation="page_visit")  # there was none
    world.say("retract", T + later, "u2", "p3", relation="checkout")
    later_answer(world)
    found = [row[3] for row in world.joined(block=block)]
    assert found == [NEGATIVE, POSITIVE, POSITIVE, NOT_SHOWN]
    with world.database.reading() as connection:
        kept = [answers.answer(connection, "r")]
        joined = join(connection, ADS, kept, windows=Windows(), now=LATER)
    assert joined.conversion_value.tolist() == [0.0, 20.0, 20.0]
    assert joined.conversion_time.tolist() == [-1, T + MINUTE, T + MINUTE]


@pytest.mark.parametrize("block", [1, 200])
def test_an_impression_too_early_hides_none_that_is_in_time(world: World, block: int) -> None:
    world.answer("early", T - DAY, "a9")
    world.answer("r", T, "a1")
    world.say("impression", T - HOUR, "u1", "a1", request_id="r")
    world.say("impression", T + 5, "u1", "a1", request_id="r")
    world.say("click", T + 9, "u1", "a1")
    assert [row[2] for row in world.joined(block=block)] == [NOT_SHOWN, POSITIVE]


def test_it_goes_by_the_actors_and_not_by_all_that_was_shown(world: World) -> None:
    for user in range(60):
        for n in range(40):
            world.say("impression", T + n, f"u{user}", f"a{n}")
            world.say("click", T + n, f"u{user}", f"a{n}")
            world.say("click", T + 20 * DAY + n, f"u{user}", f"b{n}")
    world.say("retract", T + 20 * DAY, "u1", "a1", relation="click")
    world.answer("r", T, "a1", "a2")
    world.write()
    with plans_of(world.database, "events") as plans:
        assert [row[2] for row in world.joined()] == [NEGATIVE, POSITIVE]
    told = "\n".join(plans)
    assert told.count("ix_events_actor_event_time") == len(plans) == 2, told
    assert "ix_events_event_name_event_time" not in told, told
    assert "SCAN entities" not in told, told
    assert "Seq Scan" not in told, told
