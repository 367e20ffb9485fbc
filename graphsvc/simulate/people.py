"""The people of a market: what each is after, when each is there, and what each has agreed to.

Takes numbers of people, gives columns about them; holds nothing, so there may be any number of
them. At any moment the people n + 0 .. n + `world.people` - 1 are there, where n have left.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.simulate.draws import Floats, Numbers, Of, below, normal, uniform
from graphsvc.simulate.world import DAY, MOST_NEEDS, World

COUNTRIES = ("DE", "FR", "IT", "ES", "NL", "PL", "SE", "AT")
GENDERS = ("female", "male", "other")
_YOUNGEST, _OLDEST = 16, 85
#: From here on numbers are of programs, which have an id like everybody else.
FIRST_BOT = 1 << 36
#: When the consent of somebody ends who never takes it back.
NEVER = 2**62
#: Share of a need that shows where it is not at home.
LEAK = 0.25
#: Strengths of needs lie between these.
_WEAKEST, _STRONGEST = 0.35, 0.95


class Needs(NamedTuple):
    """What n people are after, M things each, at one moment each."""

    category: Numbers  # [n, M]
    #: an angle
    style: Floats  # [n, M]
    #: how much they want it at the moment, in [0, 1]
    strength: Floats  # [n, M]
    #: whether it shows offsite
    offsite: NDArray[np.bool_]  # [n, M]
    #: the level of price that they look for, about normal
    budget: Floats  # [n]

    def take(self, rows: Numbers) -> "Needs":
        """The needs of some of the people."""
        columns: tuple[Any, ...] = self
        return Needs(*(column[rows] for column in columns))


def entered(world: World, times: Numbers) -> Numbers:
    """How many people have come since the start, and so how many have left, at each second."""
    return (times - world.start) * world.people // world.lifetime


def comes(world: World, people: Numbers) -> Numbers:
    """The first second of each person; of those who are there at the start, one before it."""
    return world.start - (-(people - world.people + 1) * world.lifetime // world.people)


def there(world: World, times: Numbers, chance: Floats) -> Numbers:
    """A person who is there at each of these seconds; few are often drawn, most seldom."""
    slot = (world.people * chance**world.popularity).astype(np.int64)
    left = entered(world, times)
    return left + (slot - left) % world.people


def needs_of(world: World, people: Numbers, times: Numbers) -> Needs:
    """What people are after at a moment.

    strength = min(1, s * turn * season),   turn = 1 - drift (1 - cos 2 pi (t / T + m / M + p)) / 2

    with need m of M, a phase p of one's own, and the season of the need's category.
    """
    seed, count = world.seed, world.needs
    key = people[:, None] * MOST_NEEDS + np.arange(count)
    category = below(seed, Of.NEED_CATEGORY, key, world.categories)
    days = ((times - world.start) / DAY)[:, None]
    phase = uniform(seed, Of.PHASE, people)[:, None] + np.arange(count) / count
    turn = 1 - world.drift * (1 - np.cos(2 * np.pi * (days / world.drift_days + phase))) / 2
    shift = uniform(seed, Of.SEASON, category)
    season = 1 + world.season * np.sin(2 * np.pi * (days / 365.25 + shift))
    wanted = _WEAKEST + (_STRONGEST - _WEAKEST) * uniform(seed, Of.NEED_STRENGTH, key)
    return Needs(
        category=category,
        style=2 * np.pi * uniform(seed, Of.NEED_STYLE, key),
        strength=np.minimum(wanted * turn * season, 1.0),
        offsite=uniform(seed, Of.NEED_SITE, key) < world.offsite_needs,
        budget=0.8 * normal(seed, (Of.BUDGET, Of.BUDGET_ANGLE), people),
    )


def choose(needs: Needs, chance: Floats, *, offsite: bool) -> Numbers:
    """One of each person's needs, by strength, most often one that shows there."""
    shown = np.where(needs.offsite == offsite, 1.0, LEAK) * needs.strength
    edge = np.cumsum(shown, axis=1)
    return (edge < chance[:, None] * edge[:, -1:]).sum(axis=1)


def consent_ends(world: World, people: Numbers) -> Numbers:
    """Until when offsite events of people may be used: 0 never, `NEVER` always.

    Programs agree to nothing.
    """
    seed = world.seed
    agrees = (uniform(seed, Of.CONSENT, people) < world.consent) & (people < FIRST_BOT)
    takes_back = uniform(seed, Of.OPT_OUT, people) < world.opt_outs
    person = np.where(people < FIRST_BOT, people, 0)  # whose dates would be beyond all bounds
    after = (uniform(seed, Of.OPT_OUT_TIME, people) * world.lifetime).astype(np.int64)
    end = comes(world, person) + after
    end = np.where(end > world.start, end, 0)
    return np.where(agrees, np.where(takes_back, end, NEVER), 0)


def countries(world: World, people: Numbers) -> Numbers:
    """A place in `COUNTRIES` for each."""
    return below(world.seed, Of.COUNTRY, people, len(COUNTRIES))


def genders(world: World, people: Numbers) -> Numbers:
    """A place in `GENDERS` for each."""
    return below(world.seed, Of.GENDER, people, len(GENDERS))


def ages(world: World, people: Numbers) -> Numbers:
    """Years, for each."""
    return _YOUNGEST + below(world.seed, Of.AGE, people, _OLDEST - _YOUNGEST + 1)
