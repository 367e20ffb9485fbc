"""Outcomes of relations without a direction: the log has them under whichever end comes first."""

from random import Random

import numpy as np
import pytest
from answered import DAY, HOUR, LATER, MINUTE, T, World

from graphsvc import labels
from graphsvc.attribution import CENSORED, NEGATIVE, NOT_SHOWN, POSITIVE
from graphsvc.db import Database
from graphsvc.schema import parse_schema

ENDS = {"head": "user", "tail": "user", "source": "onsite"}
OFFSITE = {"head": "user", "tail": "user", "source": "offsite"}
FRIENDS = parse_schema(
    {
        "name": "friends",
        "entities": {"user": {"person": True}},
        "relations": {
            "befriend": {**ENDS, "directed": False},
            "meet": {**OFFSITE, "directed": False},
            "call": OFFSITE,
        },
        "observations": {"suggest": ENDS, "dismiss": ENDS},
        "label": {"exposure": "suggest", "outcome": "befriend", "negative": "dismiss"},
    }
)


@pytest.fixture
def world(database: Database) -> World:
    return World(database, FRIENDS)


def suggested(world: World, to: str, *names: str, at: int = T, request: str = "r") -> None:
    world.answer(request, at, *names, user=to)
    for name in names:
        world.say("suggest", at + 5, to, name, request_id=request)


@pytest.mark.parametrize("block", [1, 200])
def test_it_counts_for_the_one_who_was_shown_it(world: World, block: int) -> None:
    suggested(world, "m", "a", "b", "y", "z")
    for friend in ("a", "z"):
        world.say("befriend", T + MINUTE, "m", friend)
    world.say("befriend", T + MINUTE, "b", "y")
    suggested(world, "q", "r", at=T + 20 * DAY, request="s")
    expected = [POSITIVE, NEGATIVE, NEGATIVE, POSITIVE, NEGATIVE]
    assert [row[2] for row in world.joined(block=block)] == expected


@pytest.mark.parametrize("block", [1, 200])
@pytest.mark.parametrize("later", [HOUR, 20 * DAY])
def test_it_is_taken_back_from_either_end(world: World, later: int, block: int) -> None:
    suggested(world, "m", "a", "z")
    for friend in ("a", "z"):
        world.say("befriend", T + MINUTE, friend, "m")
        world.say("retract", T + later, "m", friend, relation="befriend")
    suggested(world, "q", "r", at=T + 25 * DAY, request="s")
    assert [row[2] for row in world.joined(block=block)] == [NEGATIVE] * 3


def test_a_merge_may_turn_it_round(world: World) -> None:
    suggested(world, "m", "k")
    world.say("befriend", T + MINUTE, "m", "k")
    world.merge("user", "k", "z")
    world.merge("user", "m", "zz")
    assert [row[2] for row in world.joined()] == [POSITIVE]


def test_both_were_shown_one_another(world: World) -> None:
    """Whose doing it was nobody knows, so it counts for either, once, as in training."""
    suggested(world, "a", "m", request="of-a")
    suggested(world, "m", "a", request="of-m")
    world.say("befriend", T + MINUTE, "m", "a")
    assert [row[2] for row in world.joined()] == [POSITIVE, POSITIVE]
    world.say("retract", T + HOUR, "m", "a", relation="befriend")
    assert [row[2] for row in world.joined()] == [NEGATIVE, NEGATIVE]


@pytest.mark.parametrize("block", [1, 200])
def test_a_conversion_without_a_direction_too(world: World, block: int) -> None:
    suggested(world, "m", "a", "b", "z")
    for friend in ("a", "z"):
        world.say("meet", T + DAY, "m", friend)
    world.say("call", T + DAY, "b", "m")  # has a direction, and it is the other one
    found = world.joined(block=block)
    assert [row[3] for row in found] == [POSITIVE, NEGATIVE, POSITIVE]


@pytest.mark.parametrize("block", [1, 200])
@pytest.mark.parametrize("later", [HOUR, 20 * DAY])
def test_a_conversion_is_taken_back_from_the_ends_it_has(
    world: World, later: int, block: int
) -> None:
    suggested(world, "m", "a", "b", "z")
    for friend in ("a", "z"):
        world.say("meet", T + MINUTE, friend, "m")
        world.say("retract", T + later, "m", friend, relation="meet")
    world.say("call", T + MINUTE, "m", "b")
    world.say("retract", T + later, "b", "m", relation="call")  # of a call that never was
    suggested(world, "q", "r", at=T + 25 * DAY, request="s")
    found = [row[3] for row in world.joined(block=block)]
    assert found == [NEGATIVE, POSITIVE, NEGATIVE, CENSORED]


def test_what_was_shown_once_is_labelled_as_in_training(world: World) -> None:
    random, said = Random(3), []
    names = [f"{letter}{n}" for n in range(20) for letter in "az"]
    world.answer("r", T, *names, user="m")
    for n, name in enumerate(names):
        time = T + random.randrange(HOUR)
        world.say("suggest", time, "m", name, request_id="r")
        said.append((time, 0, n + 1, labels.EXPOSURE))
        for event, kind in (("befriend", labels.OUTCOME), ("dismiss", labels.NEGATIVE)):
            for _ in range(random.randrange(3)):
                after, turned = time + random.randrange(-MINUTE, 40 * MINUTE), random.random() < 0.5
                world.say(event, after, *((name, "m") if turned else ("m", name)))
                said.append((after, *((n + 1, 0) if turned else (0, n + 1)), kind))
    rows = np.zeros(len(said), dtype=labels.ACT)
    rows["time"], rows["head"], rows["tail"], rows["event"] = zip(*said, strict=True)
    labeler = labels.Labeler(window=30 * MINUTE, observed=LATER, either_way=True)
    labelled = labeler.add(rows, labels.END)
    exposed = labelled[labelled["event"] == labels.EXPOSURE]
    expected = exposed["label"][np.argsort(exposed["tail"])].tolist()
    assert {POSITIVE, NEGATIVE} == set(expected)
    found = [row[2] for row in world.joined()]
    assert NOT_SHOWN not in found
    assert found == expected
