"""A block of the market: some pages, what came of them, and what people did elsewhere meanwhile.

Takes the number of a block, gives its events and the truth about its impressions; events that
follow later come with the block that they follow from. Every block has draws of its own.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.simulate.clock import Clock
from graphsvc.simulate.draws import Floats, Numbers
from graphsvc.simulate.goods import COMPARED, Goods
from graphsvc.simulate.pages import NOBODY, Recent, Shown, fresh, pages
from graphsvc.simulate.people import (
    NEVER,
    choose,
    comes,
    consent_ends,
    entered,
    needs_of,
    there,
)
from graphsvc.simulate.rows import (
    AD,
    CODE,
    EVENT,
    EXPOSED,
    IMPRESSION,
    OWN_ACCORD,
    PRODUCT,
    STANDING,
    TRUTH,
    USER,
    Rows,
    happened,
)
from graphsvc.simulate.world import DAY, World

#: How long after an impression a purchase belongs to it, as answers are joined by default.
WINDOW = 7 * DAY
#: The longest way from a click to its purchase.
_LONGEST = 14 * DAY
#: The last second of a click after its impression.
_SLOWEST_CLICK = 60
#: Of offsite acts of one's own accord, up to which draw they are what.
_VISIT, _CART = 0.75, 0.9
#: Share of them that have nothing to do with any need.
_WANDER = 0.2
#: Additions to a cart per purchase that follows a click.
_CARTS = 1.6


class Drawn(NamedTuple):
    """A block: its events in no order, and the truth by time."""

    events: Rows
    truth: Rows
    #: the first second that belongs to the next block
    end: int


class Blocks:
    """The blocks of a world, one after the other: the first one also has all that stands."""

    def __init__(self, world: World, goods: Goods) -> None:
        self.world, self.goods, self.clock = world, goods, Clock(world)
        self._recent: Recent = NOBODY
        self._next = 0

    def next(self) -> Drawn:
        world, block = self.world, self._next
        self._next += 1
        draw = np.random.default_rng((world.seed, block))
        shown = pages(world, self.goods, self.clock, block, draw)
        kept, self._recent = fresh(world, shown, self._recent)
        events, told = _followed(world, shown.take(kept), draw)
        first, end = self.clock.times(
            np.array([block, block + 1], dtype=np.float64) * world.pages_per_block
        ).tolist()
        parts = [events, self._elsewhere(block, draw), _people(world, first, end, block == 0)]
        if block == 0:
            parts.append(_standing(self.goods))
        return Drawn(np.concatenate(parts), told, end)

    def _elsewhere(self, block: int, draw: np.random.Generator) -> Rows:
        """Offsite acts of people's own accord; advertised products are bought through ads alone.

        So every purchase of an advertised product has an ad for a cause, and its chance is known.
        """
        world, goods, count = self.world, self.goods, self.world.pages_per_block
        first, last = (int(world.organic * count * n) for n in (block, block + 1))
        many = last - first
        at = block * count + (np.arange(many) + draw.random(many)) * count / max(many, 1)
        time = self.clock.times(at)
        user, other = (there(world, time, draw.random(many)) for _ in range(2))
        minded = needs_of(world, user if world.offsite_informative else other, time)
        which = choose(minded, draw.random(many), offsite=True)
        product = goods.suiting(minded, which, draw.random((many, COMPARED)), advertised=False)
        anything = (world.products * draw.random(many) ** world.popularity).astype(np.int64)
        product = np.where(draw.random(many) < _WANDER, anything, product)
        act, buys = draw.random(many), draw.random(many) < 0.5
        kind = np.where(act < _VISIT, CODE["page_visit"], CODE["sign_up"])
        bought = buys & (product >= world.advertised)
        carts = np.where(bought, CODE["checkout"], CODE["add_to_cart"])
        kind = np.where((act >= _VISIT) & (act < _CART), carts, kind)
        tail = np.where(kind == CODE["sign_up"], goods.advertiser[product], product)
        rows = happened(kind, (user, tail), time, 4 * np.arange(first, last) + OWN_ACCORD)
        return rows[consent_ends(world, user) > time]


def _followed(world: World, shown: Shown, draw: np.random.Generator) -> tuple[Rows, Rows]:
    """Impressions and what came of them, and the truth about each."""
    n, origin, time = len(shown.time), 4 * shown.number + EXPOSED, shown.time
    looked_at = np.where(shown.bot, 1.0, (shown.position + 1.0) ** -world.examination)
    looked = draw.random(n) < looked_at
    clicked = looked & (draw.random(n) < shown.click)
    clicked_at = time + 1 + (_SLOWEST_CLICK * draw.random(n)).astype(np.int64)
    ends = consent_ends(world, shown.user)
    bought, purchases, seen = _purchases(world, shown, (clicked, clicked_at, ends), draw)
    person, passed = ~shown.bot, looked & ~clicked
    likes = draw.random((4, n))
    made = [
        ("click", clicked, clicked_at),
        ("long_click", clicked & person & (likes[0] < 0.2 + 0.6 * shown.click), clicked_at + 30),
        ("save", clicked & person & (likes[1] < 0.3 * shown.click), clicked_at + 10),
        ("closeup", passed & person & (likes[2] < 0.5 * shown.click), time + 2),
        ("hide", passed & person & (likes[3] < 0.01 * (1 - shown.click)), time + 3),
    ]
    impressions = happened(IMPRESSION, (shown.user, shown.ad), time, origin)
    impressions["position"] = shown.position
    rows = [impressions, purchases]
    for name, chosen, when in made:
        ends_of = (shown.user[chosen], shown.ad[chosen])
        rows.append(happened(name, ends_of, when[chosen], origin[chosen]))
    told = np.empty(n, dtype=TRUTH)
    told["origin"], told["time"], told["user"], told["ad"] = origin, time, shown.user, shown.ad
    told["position"], told["looked_at"], told["click"] = shown.position, looked_at, shown.click
    told["purchase"], told["consent_ends"], told["bot"] = seen, ends, shown.bot
    told["was_looked_at"], told["was_clicked"], told["was_bought"] = looked, clicked, bought
    return np.concatenate(rows), told


def _purchases(
    world: World,
    shown: Shown,
    acts: tuple[NDArray[np.bool_], Numbers, Numbers],
    draw: np.random.Generator,
) -> tuple[NDArray[np.bool_], Rows, Floats]:
    """Whether a purchase is within the window, carts and purchases, and how likely that was.

    delay = -D log(1 - U (1 - e^(-L / D))), exponential of mean D and cut at L = 14 days; so a
    purchase lies within s seconds of its click with chance (1 - e^(-s / D)) / (1 - e^(-L / D)).
    """
    (clicked, clicked_at, ends), n = acts, len(shown.time)
    mean = world.delay_hours * 3600
    whole = -np.expm1(-_LONGEST / mean)
    delay = 1 + np.floor(-mean * np.log1p(-draw.random(n) * whole)).astype(np.int64)
    early, luck = draw.random(n), draw.random(n)
    fills = clicked & (luck < np.minimum(_CARTS * shown.purchase, 1.0))
    buys = clicked & (luck < shown.purchase)
    filled_at = clicked_at + 1 + (early * (delay - 1)).astype(np.int64)
    bought_at = clicked_at + delay
    product = shown.ad % world.advertised
    rows = []
    for kind, chosen, when in (("add_to_cart", fills, filled_at), ("checkout", buys, bought_at)):
        seen = chosen & (when < ends)
        origin = 4 * shown.number[seen] + EXPOSED
        rows.append(happened(kind, (shown.user[seen], product[seen]), when[seen], origin))
    # One second and the whole ones of the delay are in time where the delay is below what is left.
    left = WINDOW - (clicked_at - shown.time)
    in_time = -np.expm1(-np.minimum(left, _LONGEST) / mean) / whole
    likely = np.where(ends > shown.time, shown.purchase * in_time, np.nan)
    bought = buys & (delay <= left) & (bought_at < ends)
    return bought, np.concatenate(rows), likely


def _people(world: World, first: int, end: int, at_start: bool) -> Rows:
    """Attributes of those who come from `first` on and before `end`, and when they opt out.

    At the start these are also all who are there already.
    """
    before, after = entered(world, np.array([first, end])).tolist()
    new = np.arange(0 if at_start else before + world.people, after + world.people)
    came = np.maximum(comes(world, new), world.start)
    ends = consent_ends(world, new)
    leaves = (ends > 0) & (ends < NEVER)
    origin = 4 * new + STANDING
    attributes = happened(USER, (new, -1), came, origin)
    opt_outs = happened("opt_out", (new[leaves], -1), ends[leaves], origin[leaves])
    return np.concatenate([attributes, opt_outs])


def _standing(goods: Goods) -> Rows:
    """What there is of the catalog, all of it at the start."""
    world = goods.world
    ads, products = np.arange(world.ads), np.arange(world.products)
    advertised = goods.product_of(ads)
    facts: list[tuple[str | int, Numbers, Numbers | int]] = [
        (AD, ads, -1),
        (PRODUCT, products, -1),
        ("product_in_category", products, goods.category_of(products)),
        ("product_of_advertiser", products, goods.advertiser),
        ("ad_of_product", ads, advertised),
        ("ad_of_advertiser", ads, goods.advertiser[advertised]),
        ("ad_of_campaign", ads, goods.campaign),
    ]
    rows = [
        happened(kind, (head, tail), np.full(len(head), world.start), 4 * head + STANDING)
        for kind, head, tail in facts
    ]
    return np.concatenate([np.empty(0, dtype=EVENT), *rows])
