"""What is switched off in a simulated market is not there, and is there where it is not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated import FAR, SMALL, of_kind, run

from graphsvc.simulate import World
from graphsvc.simulate.goods import FORMATS, goods_of
from graphsvc.simulate.people import countries, needs_of
from graphsvc.simulate.taste import BY_CHANCE, truth


def excess(left: NDArray[Any], right: NDArray[Any]) -> float:
    """How far two columns are from saying nothing of each other, in standard errors.

    G = 2 n I, with I their mutual information in nats, is chi-squared about its degrees of freedom.
    """
    _, left = np.unique(left, return_inverse=True)
    _, right = np.unique(right, return_inverse=True)
    table = np.zeros((left.max() + 1, right.max() + 1))
    np.add.at(table, (left, right), 1.0)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    filled = table > 0
    g = 2 * float((table[filled] * np.log(table[filled] / expected[filled])).sum())
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return (g - freedom) / (2 * freedom) ** 0.5


@pytest.mark.parametrize("informative", [True, False])
def test_offsite_events_say_what_people_need_or_nothing(informative: bool) -> None:
    world = replace(SMALL, offsite_informative=informative)
    chunk = run(world, days=12)
    visits = of_kind(chunk, "page_visit")
    needs = needs_of(world, visits["head"], visits["time"])
    said = excess(needs.category[:, 0], visits["tail"] % world.categories)
    assert (said > 10 * FAR) if informative else (said < FAR)
    clicked = chunk.truth[chunk.truth["was_clicked"] & ~chunk.truth["bot"]]
    chances = truth(
        world,
        goods_of(world),
        clicked["user"],
        needs_of(world, clicked["user"], clicked["time"]),
        clicked["ad"][:, None],
    )
    assert bool((chances.purchase == BY_CHANCE).all()) is not informative


def grid(world: World) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """40 people by 30 ads at one moment: who, and their chances of a click and of a purchase."""
    people, ads = np.arange(40), np.broadcast_to(np.arange(30), (40, 30))
    needs = needs_of(world, people, np.full(40, world.start))
    return people, *truth(world, goods_of(world), people, needs, ads)


@pytest.mark.parametrize("interactions", [True, False])
def test_without_interactions_log_odds_are_a_sum_of_who_and_what(interactions: bool) -> None:
    _, *chances = grid(replace(SMALL, interactions=interactions))
    for chance in chances:
        odds = np.log(chance / (1 - chance))
        apart = odds - odds[:1] - odds[:, :1] + odds[0, 0]
        assert bool(np.abs(apart).max() < 1e-9) is not interactions
        assert odds.std() > 0.1, "they differ all the same"


@pytest.mark.parametrize(
    ("dials", "told"),
    [({}, False), ({"kge_informative": False}, True), ({"interactions": False}, True)],
)
def test_without_kge_or_interactions_country_and_format_say_all(
    dials: dict[str, bool], told: bool
) -> None:
    """Who and what share both have the same chances, so nothing that anybody did can add to it."""
    world = replace(SMALL, **dials)
    people, *chances = grid(world)
    cell = countries(world, people)[:, None] * len(FORMATS) + goods_of(world).format[:30]
    for chance in chances:
        spread = max(float(np.ptp(chance[cell == one])) for one in np.unique(cell))
        assert (spread < 1e-12) is told
        assert chance.std() > 0.02 or not told, "cells differ all the same"


def test_without_kge_there_is_still_something_to_match() -> None:
    _, *chances = grid(replace(SMALL, kge_informative=False))
    for chance in chances:
        odds = np.log(chance / (1 - chance))
        assert np.abs(odds - odds[:1] - odds[:, :1] + odds[0, 0]).max() > 0.1
