"""What people are shown: pages of ads, and what the market believes that they like.

Takes a block of pages, gives impressions with the truth about each; never what came of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.simulate.clock import Clock
from graphsvc.simulate.draws import Floats, Numbers
from graphsvc.simulate.goods import COMPARED, Goods
from graphsvc.simulate.people import FIRST_BOT, Needs, choose, needs_of, there
from graphsvc.simulate.taste import BOT_CLICKS, truth
from graphsvc.simulate.world import World

#: So long after an ad was shown to somebody it is not shown to them again: the window of the label,
#: so that no click belongs to two impressions.
COOL_DOWN = 1800
#: How far off the order of a sorted page is, in log odds or so.
_NOISE = 0.7


class Shown(NamedTuple):
    """n impressions by time."""

    time: Numbers
    user: Numbers
    ad: Numbers
    #: the impression's number among all that the world ever has
    number: Numbers
    position: NDArray[np.int32]
    bot: NDArray[np.bool_]
    click: Floats
    purchase: Floats

    def take(self, rows: NDArray[np.bool_]) -> "Shown":
        """Some of them."""
        columns: tuple[Any, ...] = self
        return Shown(*(column[rows] for column in columns))


class Recent(NamedTuple):
    """Who was shown what within the last half hour."""

    pair: Numbers
    time: Numbers


NOBODY = Recent(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def pages(world: World, goods: Goods, clock: Clock, block: int, draw: np.random.Generator) -> Shown:
    """All ads on a block of pages, also those that were shown to the same person just now."""
    count, slots = world.pages_per_block, world.slots
    time = clock.times(block * count + np.arange(count) + draw.random(count))
    bot = draw.random(count) < world.bots
    program = FIRST_BOT + (world.bot_count * draw.random(count)).astype(np.int64)
    user = np.where(bot, program, there(world, time, draw.random(count)))
    needs = needs_of(world, user, time)
    ads = _chosen(world, goods, needs, ~bot, draw)
    found = truth(world, goods, user, needs, ads)
    click = np.where(bot[:, None], BOT_CLICKS, found.click)
    purchase = np.where(bot[:, None], 0.0, found.purchase)
    is_sorted = draw.random(count) < world.sorting
    believed = click * np.exp(_NOISE * draw.standard_normal((count, slots)))
    at_random = draw.random((count, slots))
    order = np.where(is_sorted[:, None], -believed, at_random).argsort(axis=1, kind="stable")
    ads, click, purchase = (
        np.take_along_axis(column, order, axis=1) for column in (ads, click, purchase)
    )
    place = np.tile(np.arange(slots, dtype=np.int32), count)
    return Shown(
        time=np.repeat(time, slots),
        user=np.repeat(user, slots),
        ad=ads.ravel(),
        number=block * count * slots + np.arange(count * slots),
        position=place,
        bot=np.repeat(bot, slots),
        click=click.ravel(),
        purchase=purchase.ravel(),
    )


def fresh(world: World, shown: Shown, recent: Recent) -> tuple[NDArray[np.bool_], Recent]:
    """Which impressions are no repetition within the cool-down, and what is recent behind them.

    One that was left out counts as if it had been shown.
    """
    pair = np.concatenate([recent.pair, shown.user * world.ads + shown.ad])
    time = np.concatenate([recent.time, shown.time])
    order = np.lexsort((time, pair))
    same = pair[order[1:]] == pair[order[:-1]]
    soon = time[order[1:]] - time[order[:-1]] <= COOL_DOWN
    repeats = np.zeros(len(pair), dtype=np.bool_)
    repeats[order[1:]] = same & soon
    kept = time > time.max() - COOL_DOWN - 1
    return ~repeats[len(recent.pair) :], Recent(pair[kept], time[kept])


def _chosen(
    world: World, goods: Goods, needs: Needs, people: NDArray[np.bool_], draw: np.random.Generator
) -> Numbers:
    """[n, slots] ads: the popular ones, and in their stead some for needs that show onsite."""
    count, slots = len(people), world.slots
    places = np.broadcast_to(np.arange(slots), (count, slots))
    ads = goods.popular(places, draw.random((count, slots)))
    aimed = (draw.random((count, slots)) < world.targeting) & people[:, None]
    page, place = np.nonzero(aimed)
    own = needs.take(page)
    which = choose(own, draw.random(len(page)), offsite=False)
    product = goods.suiting(own, which, draw.random((len(page), COMPARED)), advertised=True)
    ads[page, place] = goods.ad_for(product, draw.random(len(page)))
    return ads
