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
#: What is drawn for chances that follow from attributes: of a click, of a purchase.
_TABLES = (Of.TABLE_CLICK, Of.TABLE_PURCHASE)


class Truth(NamedTuple):
    """Probabilities, [n, P] for n people and P ads each."""

    #: of a click, given that the ad is looked at
    click: Floats
    #: of a purchase, given a click and all the time in the world
    purchase: Floats


def truth(world: World, goods: Goods, people: Numbers, needs: Needs, ads: Numbers) -> Truth:
    """What n people think of P ads each; `needs` are those of the moment."""
    if world.interactions and world.kge_informative:
        found = _by_needs(world, goods, people, needs, ads)
    else:
        found = _by_attributes(world, goods, people, ads)
    if world.offsite_informative:
        return found
    return Truth(found.click, np.full_like(found.click, BY_CHANCE))


def _by_needs(world: World, goods: Goods, people: Numbers, needs: Needs, ads: Numbers) -> Truth:
    eager = np.exp(1.4 * uniform(world.seed, Of.EAGER, people) - 0.7)[:, None]
    spending = np.exp(uniform(world.seed, Of.SPENDING, people) - 0.5)[:, None]
    bait = goods.bait[ads]
    interest, wanted = _met(world, goods, needs, ads)
    click = bait + (_TOP - bait) * interest ** goods.sharpness[ads]
    return Truth(1 - (1 - click) ** eager, 1 - (1 - (_LEAST + _MOST * wanted)) ** spending)


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


def _by_attributes(world: World, goods: Goods, people: Numbers, ads: Numbers) -> Truth:
    """Chances by country and format alone, which every ranker reads.

    With interactions a table of cells, least + most u^2; without, log odds -4 + 2 (u_who + u_what).
    Nobody has habits of their own here: closeups and carts would tell of them, and no counter does.
    """
    who, what = countries(world, people)[:, None], goods.format[ads]
    if world.interactions:
        cells, cell = np.arange(len(COUNTRIES) * len(FORMATS)), who * len(FORMATS) + what
        tables = [uniform(world.seed, of, cells) for of in _TABLES]
        return Truth(*(_LEAST + _MOST * table[cell] ** 2 for table in tables))
    both = np.arange(len(COUNTRIES) + len(FORMATS))
    parts = [uniform(world.seed, of, both) for of in _TABLES]
    odds = (-4 + 2 * (part[who] + part[len(COUNTRIES) + what]) for part in parts)
    return Truth(*(1 / (1 + np.exp(-one)) for one in odds))
