"""What there is to be seen and bought: categories, products, advertisers, campaigns and ads.

Takes a world, gives columns about its products and ads; knows nothing of people. What belongs to
what follows from the numbers: product j is of category j mod C, ad a is of product a mod J, where J
products have ads.
"""

from dataclasses import dataclass

import numpy as np

from graphsvc.simulate.draws import Floats, Numbers, Of, below, normal, uniform
from graphsvc.simulate.people import Needs
from graphsvc.simulate.world import World

FORMATS = ("image", "video", "carousel", "story", "collection")
#: How near a style has to be to one's own, as the concentration of a bell over angles.
_NARROW = 2.0
#: How far a price may be from one's budget, as its deviation.
_TOLERANCE = 0.8
#: Share of the products that are not of their advertiser's categories.
_SIDELINE = 0.2
#: Products that are looked at before the one that suits best is taken.
COMPARED = 4


@dataclass(frozen=True)
class Goods:
    """Products and ads as columns."""

    world: World
    #: of products: an angle
    style: Floats
    #: of products: the level of price, about normal
    level: Floats
    #: of products
    advertiser: Numbers
    #: of ads
    campaign: Numbers
    #: of ads: a place in `FORMATS`
    format: Numbers
    #: of ads: how many click it whom it does not interest
    bait: Floats
    #: of ads: above 1, it speaks to the very interested alone
    sharpness: Floats

    def product_of(self, ads: Numbers) -> Numbers:
        return ads % self.world.advertised

    def category_of(self, products: Numbers) -> Numbers:
        return products % self.world.categories

    def prices(self, products: Numbers) -> Floats:
        """In EUR."""
        return np.round(20 * np.exp(0.8 * self.level[products]), 2)

    def ad_for(self, products: Numbers, chance: Floats) -> Numbers:
        """One of the ads of each product."""
        each = self.world.advertised
        count = (self.world.ads - products + each - 1) // each
        return products + each * (count * chance).astype(np.int64)

    def popular(self, places: Numbers, chance: Floats) -> Numbers:
        """An ad for each place of a page, low numbers more often, another for each place."""
        slots, ads = self.world.slots, self.world.ads
        count = (ads - places + slots - 1) // slots
        return (count * chance**self.world.popularity).astype(np.int64) * slots + places

    def suiting(self, needs: Needs, which: Numbers, chance: Floats, *, advertised: bool) -> Numbers:
        """A product for one need of each person: of its category, the best of a few.

        `which`: the need. `chance`: [n, 4] numbers in [0, 1).
        """
        rows = np.arange(len(which))
        category, style = needs.category[rows, which], needs.style[rows, which]
        limit = self.world.advertised if advertised else self.world.products
        each = self.world.categories
        count = (limit - category + each - 1) // each
        found = category[:, None] + each * (count[:, None] * chance).astype(np.int64)
        fits = nearness(style[:, None] - self.style[found])
        fits *= within(self.level[found] - needs.budget[:, None])
        return found[rows, fits.argmax(axis=1)]


def goods_of(world: World) -> Goods:
    """The products and ads of a world."""
    seed = world.seed
    products, ads = np.arange(world.products), np.arange(world.ads)
    advertiser = _advertisers(world, products)
    each = world.campaigns_each
    campaign = advertiser[ads % world.advertised] * each + below(seed, Of.CAMPAIGN, ads, each)
    return Goods(
        world=world,
        style=2 * np.pi * uniform(seed, Of.STYLE, products),
        level=normal(seed, (Of.PRICE, Of.PRICE_ANGLE), products),
        advertiser=advertiser,
        campaign=campaign,
        format=below(seed, Of.FORMAT, ads, len(FORMATS)),
        bait=0.005 + 0.055 * uniform(seed, Of.BAIT, ads) ** 2,
        sharpness=0.7 + 0.8 * uniform(seed, Of.SHARPNESS, ads),
    )


def _advertisers(world: World, products: Numbers) -> Numbers:
    """Who sells each product: one of its category's own advertisers, or now and then any."""
    seed, count = world.seed, world.advertisers
    each = max(1, count // world.categories)
    nth = below(seed, Of.ADVERTISER, products, each)
    own = (products % world.categories + world.categories * nth) % count
    anybody = below(seed, Of.ANY_ADVERTISER, products, count)
    return np.where(uniform(seed, Of.SIDELINE, products) < _SIDELINE, anybody, own)


def nearness(angle: Floats) -> Floats:
    """1 at 0, falling with the angle: e^(k (cos angle - 1))."""
    return np.exp(_NARROW * (np.cos(angle) - 1))


def within(distance: Floats) -> Floats:
    """1 at 0, falling on both sides: too cheap is as wrong as too dear."""
    return np.exp(-((distance / _TOLERANCE) ** 2) / 2)
