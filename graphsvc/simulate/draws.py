"""Numbers by chance that belong to a thing, and not to the moment at which somebody asks.

Takes a seed, what is drawn, and the numbers of things; gives the same every time, in any order, so
that a market needs no table of the people it will ever have.
"""

from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Of(IntEnum):
    """What is drawn."""

    NEED_CATEGORY = auto()
    NEED_STYLE = auto()
    NEED_STRENGTH = auto()
    NEED_SITE = auto()
    BUDGET = auto()
    BUDGET_ANGLE = auto()
    PHASE = auto()
    EAGER = auto()
    SPENDING = auto()
    CONSENT = auto()
    OPT_OUT = auto()
    OPT_OUT_TIME = auto()
    COUNTRY = auto()
    GENDER = auto()
    AGE = auto()
    STYLE = auto()
    PRICE = auto()
    PRICE_ANGLE = auto()
    ADVERTISER = auto()
    CAMPAIGN = auto()
    FORMAT = auto()
    BAIT = auto()
    SHARPNESS = auto()
    SEASON = auto()
    TABLE_CLICK = auto()
    TABLE_PURCHASE = auto()
    ANY_ADVERTISER = auto()
    SIDELINE = auto()


def uniform(seed: int, what: Of, keys: Numbers) -> Floats:
    """A number in [0, 1) for each key.

    SplitMix64 of Steele, Lea and Flood 2014: the finalizer over key * golden + a start that follows
    from seed and `what`.
    """
    start = np.uint64(_mixed(_mixed(seed) + int(what)))
    x = keys.astype(np.uint64) * np.uint64(_GOLDEN) + start
    x ^= x >> np.uint64(30)
    x *= np.uint64(_FIRST)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_SECOND)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, what: tuple[Of, Of], keys: Numbers) -> Floats:
    """A normal number for each key (Box and Muller)."""
    radius, angle = (uniform(seed, one, keys) for one in what)
    return np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)


def below(seed: int, what: Of, keys: Numbers, most: int) -> Numbers:
    """A whole number from 0 to `most` - 1 for each key."""
    return (uniform(seed, what, keys) * most).astype(np.int64)


def _mixed(value: int) -> int:
    """The same finalizer over one number."""
    x = (value + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)
