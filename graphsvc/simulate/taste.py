"""The truth: how likely a click is, given that an ad is looked at, and a purchase, given a click.

Takes people, ads and moments, gives probabilities; never draws an event.

    x = 1 - prod_m (1 - w_m(t) K(c_m, c_j) N(s_m - s_j) B(q_j - b))           a need is met, by any
    p(click | looked at) = 1 - (1 - (bait + (top - bait) x^sharp))^eager
    y = the same as x with B squared,   p(purchase | click) = 1 - (1 - (least + most y))^spending

w_m(t): how much need m is wanted now. K: categories beside each other on a ring are alike. N: a
bell over angles of style. B: a window of prices around a budget. Our design. An or over several
narrow needs has several peaks: nobody likes what lies between two things they are after, so neither
one place per person (distances, dot products) nor a sum over fields can be it; and a price can be
wrong on both sides. No model that is compared has this form: TransR is one distance, factorization
one dot product, DCN and MLPs polynomials and hinges of fields, logistic regression a sum.
"""

from typing import NamedTuple

import numpy as np

from graphsvc.simulate.draws import Floats, Numbers, Of, uniform
from graphsvc.simulate.goods import FORMATS, Goods, nearness, within
from graphsvc.simulate.people import COUNTRIES, Needs, countries
from graphsvc.simulate.world import World

#: What somebody whose need is wholly met clicks and buys.
_TOP, _LEAST, _MOST = 0.6, 0.02, 0.5
#: Steps on the ring of categories after which likeness is 1 / e.
_REACH = 1.5
#: Chances of programs that click at random, and of purchases where they follow clicks by chance.
BOT_CLICKS, BY_CHANCE = 0.3, 0.12


class Truth(NamedTuple):
    """Probabilities, [n, P] for n people and P ads each."""

    #: of a click, given that the ad is looked at
    click: Floats
    #: of a purchase, given a click and all the time in the world
    purchase: Floats


def truth(world: World, goods: Goods, people: Numbers, needs: Needs, ads: Numbers) -> Truth:
    """What n people think of P ads each; `needs` are those of the moment."""
    eager = np.exp(1.4 * uniform(world.seed, Of.EAGER, people) - 0.7)[:, None]
    spending = np.exp(uniform(world.seed, Of.SPENDING, people) - 0.5)[:, None]
    bait = goods.bait[ads]
    if not world.interactions:
        return _apart(world, goods, (eager, spending), ads)
    if world.kge_informative:
        interest, purchase = _met(world, goods, needs, ads)
    else:
        interest, purchase = _by_attributes(world, goods, people, ads)
    click = bait + (_TOP - bait) * interest ** goods.sharpness[ads]
    click = 1 - (1 - click) ** eager
    if not world.offsite_informative:
        return Truth(click, np.full_like(click, BY_CHANCE))
    return Truth(click, 1 - (1 - (_LEAST + _MOST * purchase)) ** spending)


def _met(world: World, goods: Goods, needs: Needs, ads: Numbers) -> tuple[Floats, Floats]:
    """How far a need is met, x, and how far for a purchase, y."""
    product = goods.product_of(ads)
    category, style = goods.category_of(product), goods.style[product]
    window = within(goods.level[product] - needs.budget[:, None])
    unmet, unwanted = np.ones(ads.shape), np.ones(ads.shape)
    likeness = np.exp(-np.arange(world.categories) / _REACH)
    for m in range(world.needs):
        steps = np.abs(needs.category[:, m, None] - category)
        like = likeness[np.minimum(steps, world.categories - steps)]
        like *= nearness(needs.style[:, m, None] - style) * window
        like *= needs.strength[:, m, None]
        unmet *= 1 - like
        unwanted *= 1 - like * window
    return 1 - unmet, 1 - unwanted


def _by_attributes(
    world: World, goods: Goods, people: Numbers, ads: Numbers
) -> tuple[Floats, Floats]:
    """Interest and purchase by a table of country and format: what every ranker reads."""
    cells = np.arange(len(COUNTRIES) * len(FORMATS))
    cell = countries(world, people)[:, None] * len(FORMATS) + goods.format[ads]
    interest = 0.6 * uniform(world.seed, Of.TABLE_CLICK, cells) ** 2
    purchase = 0.6 * uniform(world.seed, Of.TABLE_PURCHASE, cells) ** 2
    return interest[cell], purchase[cell]


def _apart(world: World, goods: Goods, habits: tuple[Floats, Floats], ads: Numbers) -> Truth:
    """Log odds that are a sum of who and what: there is nothing to match."""
    eager, spending = (np.log(habit) for habit in habits)
    lure = 20 * goods.bait[ads] - 0.5
    click = _sigmoid(-2.8 + 1.5 * eager + 1.5 * lure)
    if not world.offsite_informative:
        return Truth(click, np.full_like(click, BY_CHANCE))
    return Truth(click, _sigmoid(-2.0 + 2 * spending + 2 * (goods.sharpness[ads] - 1.1)))


def _sigmoid(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))
