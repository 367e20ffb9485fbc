"""Which dials are tried for each crossing at each budget: as many for all, drawn alike for all.

Takes an arm, D and a budget of FLOPs, gives dials; never trains. A trial has a shape (layers,
experts, tokens, ...) among those with which the arm can cost what the budget says, the size that
makes it cost that, a learning rate, dropout and weight decay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from ctr_model import CtrDials

from ranking.config import CrossingConfig
from ranking.errors import BudgetUnreachable
from ranking.interactions.budget import UNIT, Sized, at_budget, dense_cost, nearest

_SEED = 977

#: arm -> dials that stay as they are
ARMS: Mapping[str, Mapping[str, Any]] = {
    "ml_dcn": {"kind": "ml_dcn"},
    "ml_dcn-constant": {"kind": "ml_dcn", "mask": "constant"},
    "ml_dcn-second_block": {"kind": "ml_dcn", "mask": "second_block"},
    "dcn_v2": {"kind": "dcn_v2"},
    "dcn_v2_full": {"kind": "dcn_v2_full"},
    "dcn_v2_mixture": {"kind": "dcn_v2_mixture"},
    "mask_net_serial": {"kind": "mask_net_serial"},
    "mask_net_parallel": {"kind": "mask_net_parallel"},
    "wukong": {"kind": "wukong"},
    "rank_mixer": {"kind": "rank_mixer"},
    "mlp": {"kind": "mlp"},
}
_FEW = (0.125, 0.25, 0.5, 1.0)
#: As many tokens as fields: a token is a field.
FIELDS = 0
#: kind -> dial -> what is tried of it
SHAPES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "ml_dcn": {"layers": (3, 1, 2, 4, 6), "mask_share": (0.5, 0.25, 1.0)},
    "dcn_v2": {"layers": (3, 1, 2, 4, 6)},
    "dcn_v2_full": {},
    "dcn_v2_mixture": {"layers": (2, 1, 3), "experts": (4, 2)},
    "mask_net_serial": {"layers": (2, 1, 3), "mask_share": _FEW},
    "mask_net_parallel": {"layers": (2, 1, 3), "mask_share": _FEW},
    "wukong": {"layers": (2, 1, 3), "tokens": (FIELDS, 8), "fm_rank": (8, 4)},
    "rank_mixer": {"layers": (2, 1, 3), "tokens": (FIELDS, 8, 4), "token_share": (1.0, 2.0)},
    "mlp": {"layers": (2, 1, 3)},
}
#: Both ends of what is drawn: evenly in logarithms, and dropout evenly.
LEARNING_RATES, DECAYS, DROPOUTS = (3e-4, 1e-2), (1e-6, 1e-1), (0.0, 0.6)


@dataclass(frozen=True)
class Trial:
    """Dials, and their FLOPs as a multiple of what the budget says."""

    dials: CtrDials
    reached: float


def budget(fields: int, times: float, base: CtrDials) -> int:
    """FLOPs of matrix products per row, from x_0 to the logit."""
    return round(times * dense_cost(fields * base.embedding, UNIT, base.hidden).matrix)


def shapes_of(arm: str, fields: int) -> list[CrossingConfig]:
    """The arm in every shape that is tried over so many fields, each once."""
    own = ARMS[arm]
    varied = SHAPES[own["kind"]]
    shapes = []
    for values in product(*varied.values()):
        dials = {**own, **dict(zip(varied, values, strict=True))}
        if dials.get("tokens") == FIELDS:
            dials["tokens"] = max(2, fields)
        shapes.append(CrossingConfig(**dials))
    return list(dict.fromkeys(shapes))


@cache
def sizes(arm: str, fields: int, flops: int, base: CtrDials) -> tuple[Sized, ...]:
    """The arm in every shape that can cost so much; the nearest one where none can."""
    width, hidden = fields * base.embedding, base.hidden
    shapes = shapes_of(arm, fields)
    found = []
    for shape in shapes:
        try:
            found.append(at_budget(width, shape, flops, hidden=hidden))
        except BudgetUnreachable:
            continue
    if found:
        return tuple(found)
    every = [nearest(width, shape, flops, hidden=hidden) for shape in shapes]
    return (min(every, key=lambda sized: abs(sized.reached - 1)),)


def trial(arm: str, number: int, fields: int, times: float, base: CtrDials) -> Trial:
    """Number 0 is the first shape with the dials of `base`; the others are drawn.

    Draws depend on the number alone, so that all arms try the same rates, dropouts and decays.
    """
    shapes = sizes(arm, fields, budget(fields, times, base), base)
    random = np.random.default_rng([_SEED, number])
    rate, decay = (_log_even(random, *ends) for ends in (LEARNING_RATES, DECAYS))
    dropout, place = random.uniform(*DROPOUTS), random.random()
    if number == 0:
        return Trial(replace(base, crossing=shapes[0].config), shapes[0].reached)
    chosen = shapes[int(place * len(shapes))]
    dials = replace(
        base,
        crossing=chosen.config,
        learning_rate=float(f"{rate:.3g}"),
        weight_decay=float(f"{decay:.3g}"),
        dropout=round(float(dropout), 3),
    )
    return Trial(dials, chosen.reached)


def _log_even(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
