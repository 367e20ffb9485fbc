"""A small market that several tests look at, and how far a count may be from its chances."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphsvc.simulate import CODE, Chunk, Market, World

DAY = 86_400
SMALL = World(
    people=300,
    ads=120,
    products=80,
    advertisers=10,
    campaigns=20,
    categories=8,
    pages_per_day=3000.0,
    turnover_days=60.0,
    opt_outs=0.5,
)
#: So far from what is expected a figure may be, in standard errors: once in 1.7 million.
FAR = 5.0


def run(world: World, *, chunk: int = 50_000, **how: Any) -> Chunk:
    """A whole stream."""
    parts = list(Market(world).stream(chunk=chunk, **how))
    assert all(len(part.events) == chunk for part in parts[:-1])
    return Chunk(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@cache
def twelve_days() -> Chunk:
    return run(SMALL, days=12)


def of_kind(chunk: Chunk, *names: str) -> NDArray[Any]:
    return chunk.events[np.isin(chunk.events["kind"], [CODE[name] for name in names])]


def far(found: float, chances: NDArray[np.float64]) -> bool:
    """Whether a count is far from what independent chances lead to."""
    spread = float(np.sqrt((chances * (1 - chances)).sum()))
    return abs(found - float(chances.sum())) > FAR * spread
