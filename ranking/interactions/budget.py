"""How large a family has to be to cost so much: its axis, solved by its own formula.

Takes D, dials, the head's width and a number of FLOPs, gives dials; never builds a layer and never
estimates. FLOPs are those of matrix products per row, from x_0 to the logit: of the stack and of
the MLP head above it, since families give the head more or fewer numbers.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from ranking.config import CROSSINGS, SHARES, CrossingConfig, RankerConfig
from ranking.errors import BudgetUnreachable
from ranking.interactions.cost import Cost, head
from ranking.interactions.registry import crossing_cost, out_width

#: What budgets are multiples of.
UNIT = CrossingConfig(kind="dcn_v2", layers=3, rank_share=0.125)
#: Most layers that are tried where layers are the axis.
_MOST_LAYERS = 64
#: So near to a budget, as a share of it, is as asked.
_NEAR = 0.05


class Sized(NamedTuple):
    """Dials, and what they cost."""

    config: CrossingConfig
    cost: Cost
    #: FLOPs of matrix products as a multiple of those that were asked for.
    reached: float


def sized(width: int, config: RankerConfig) -> CrossingConfig:
    """The crossing dials as large as the ranker's budget says; as they are where it has none.

    Where no size of the family comes near with so many layers, it is the nearest number of them
    with which one does; where none does at all, what comes nearest.
    """
    if not config.budget:
        return config.crossing
    flops = round(config.budget * dense_cost(width, UNIT, config.hidden).matrix)
    begin = config.crossing.layers
    every = []
    for layers in sorted(range(1, _MOST_LAYERS + 1), key=lambda n: (abs(n - begin), n)):
        crossing = replace(config.crossing, layers=layers)
        found = nearest(width, crossing, flops, hidden=config.hidden)
        if abs(found.reached - 1) <= _NEAR:
            return found.config
        every.append(found)
    return min(every, key=lambda one: abs(one.reached - 1)).config


def crossing_metrics(width: int, config: RankerConfig) -> dict[str, float]:
    """What is sealed of the cost: `crossing_flops`, and `budget_reached` where there is a budget.

    FLOPs of matrix products per row, of one stack and one tower; reached: as a share of the budget.
    """
    flops = dense_cost(width, config.crossing, config.hidden).matrix
    told = {"crossing_flops": float(flops)}
    if config.budget:
        told["budget_reached"] = flops / dense_cost(width, UNIT, config.hidden).matrix
        told["budget_reached"] /= config.budget
    return told


def dense_cost(width: int, config: CrossingConfig, hidden: int) -> Cost:
    """From x_0 to the logit: the stack and its head with `hidden` numbers."""
    return crossing_cost(width, config) + head(out_width(width, config), hidden)


def nearest(width: int, config: CrossingConfig, flops: int, *, hidden: int) -> Sized:
    """The dials whose FLOPs are nearest to `flops`, of two equally near ones the smaller.

    All dials stay but the family's axis. A share is tried at n / D for every whole n, so that it
    is a whole number of ranks or hidden numbers; cost rises with it, so halving finds the place.
    """
    axis = CROSSINGS[config.kind]
    most = _MOST_LAYERS if axis == "layers" else round(SHARES[axis] * width)

    def at(size: int) -> CrossingConfig:
        changed: dict[str, Any] = {axis: size if axis == "layers" else size / width}
        return replace(config, **changed)

    def costs(size: int) -> int:
        return dense_cost(width, at(size), hidden).matrix

    low, high = 1, most
    while low < high:  # the largest size that is not above the budget, or 1
        middle = (low + high + 1) // 2
        low, high = (middle, high) if costs(middle) <= flops else (low, middle - 1)
    size = min((low, min(low + 1, most)), key=lambda one: (abs(costs(one) - flops), one))
    cost = dense_cost(width, at(size), hidden)
    return Sized(at(size), cost, cost.matrix / flops)


def at_budget(
    width: int, config: CrossingConfig, flops: int, *, hidden: int, tolerance: float = _NEAR
) -> Sized:
    """`nearest`, where it is within `tolerance` of the budget.

    Raises `BudgetUnreachable` where the family, with its other dials as they are, is not.
    """
    sized = nearest(width, config, flops, hidden=hidden)
    if abs(sized.reached - 1) > tolerance:
        axis = CROSSINGS[config.kind]
        raise BudgetUnreachable(
            f"FLOPs of {config.kind} over {width} numbers should be {flops:,} within "
            f"{tolerance:.0%}, the nearest are {sized.cost.matrix:,} at {axis} "
            f"{getattr(sized.config, axis):.4g}"
        )
    return sized
