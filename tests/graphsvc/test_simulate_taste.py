"""How likely clicks and purchases are, and how much is wanted when: one by one, by the formulas."""

from dataclasses import replace
from math import cos, exp

import numpy as np
import pytest
from simulated import DAY, SMALL

from graphsvc.simulate.draws import Of, uniform
from graphsvc.simulate.goods import goods_of
from graphsvc.simulate.people import Needs, needs_of
from graphsvc.simulate.taste import truth
from graphsvc.simulate.world import MOST_NEEDS

PEOPLE = np.array([3, 17])
ADS = np.array([[0, 5, 61], [7, 90, 119]])
NEEDS = Needs(
    category=np.array([[0, 3, 7], [1, 1, 6]]),
    style=np.array([[0.1, 2.0, 4.0], [5.0, 0.5, 1.0]]),
    strength=np.array([[0.9, 0.5, 0.7], [0.4, 1.0, 0.6]]),
    offsite=np.zeros((2, 3), dtype=bool),
    budget=np.array([0.2, -0.5]),
)


def of_one(what: Of, key: int) -> float:
    return float(uniform(SMALL.seed, what, np.array([key]))[0])


def test_chances_equal_a_slow_twin() -> None:
    goods = goods_of(SMALL)
    found = truth(SMALL, goods, PEOPLE, NEEDS, ADS)
    for i, person in enumerate(PEOPLE.tolist()):
        eager, spending = exp(1.4 * of_one(Of.EAGER, person) - 0.7), of_one(Of.SPENDING, person)
        for j, ad in enumerate(ADS[i].tolist()):
            product = ad % SMALL.advertised
            window = exp(-(((goods.level[product] - NEEDS.budget[i]) / 0.8) ** 2) / 2)
            unmet = unwanted = 1.0
            for category, style, strength in zip(
                NEEDS.category[i], NEEDS.style[i], NEEDS.strength[i], strict=True
            ):
                around = abs(int(category) - product % SMALL.categories)
                like = exp(-min(around, SMALL.categories - around) / 1.5)
                bell = exp(2 * (cos(style - goods.style[product]) - 1))
                unmet *= 1 - strength * like * bell * window
                unwanted *= 1 - strength * like * bell * window**2
            click = goods.bait[ad] + (0.6 - goods.bait[ad]) * (1 - unmet) ** goods.sharpness[ad]
            assert found.click[i, j] == pytest.approx(1 - (1 - click) ** eager, rel=1e-9)
            buys = 1 - (1 - (0.02 + 0.5 * (1 - unwanted))) ** exp(spending - 0.5)
            assert found.purchase[i, j] == pytest.approx(buys, rel=1e-9)


def wanted(person: int, need: int) -> float:
    """How much, before turns and seasons."""
    return 0.35 + 0.6 * of_one(Of.NEED_STRENGTH, person * MOST_NEEDS + need)


def test_needs_take_turns() -> None:
    """With a drift of 1 each is silent once in ten days, and as loud as ever five days later."""
    world = replace(SMALL, drift=1.0, drift_days=10.0, season=0.0)
    for need in range(3):
        silent = (0.5 - need / 3 - of_one(Of.PHASE, 5)) % 1.0
        times = world.start + np.array([round(10 * DAY * (silent + later)) for later in (0.0, 0.5)])
        strength = needs_of(world, np.array([5, 5]), times).strength[:, need]
        assert strength == pytest.approx([0.0, wanted(5, need)], abs=1e-6)


def test_categories_have_seasons() -> None:
    """A quarter of the way round a category stands 30 % above, three quarters 30 % below."""
    world = replace(SMALL, drift=0.0, season=0.3)
    for need in range(3):
        start = needs_of(world, np.array([5]), np.array([world.start]))
        shift = of_one(Of.SEASON, int(start.category[0, need]))
        days = [365.25 * ((part - shift) % 1.0) for part in (0.25, 0.75)]
        times = world.start + np.array([round(DAY * day) for day in days])
        strength = needs_of(world, np.array([5, 5]), times).strength[:, need]
        plain = wanted(5, need)
        assert strength == pytest.approx([min(1.3 * plain, 1.0), 0.7 * plain], abs=1e-6)
