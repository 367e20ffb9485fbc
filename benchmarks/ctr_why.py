"""ML-DCN with one thing changed at a time: what its mask owes to which of our readings.

Takes chosen dials and the name of a change, gives dials; never trains. What changes the cost is
made as large as the budget says again; where the rank itself is what changes, it is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ctr_model import CtrDials

from ranking.interactions.budget import nearest

AS_CHOSEN = "as-chosen"
#: change -> (part of the dials, dial, value), all of them at once; a rank's value is a factor
VARIANTS: Mapping[str, Sequence[tuple[str, str, Any]]] = {
    AS_CHOSEN: (),
    "no-mask": (("crossing", "mask", "none"),),
    "constant-mask": (("crossing", "mask", "constant"),),
    "second-block": (("crossing", "mask", "second_block"),),
    "B-drawn-.01": (("crossing", "mask_deviation", 0.01),),
    "B-drawn-.1": (("crossing", "mask_deviation", 0.1),),
    "mask-from-x0": (("crossing", "mask_source", "first"),),
    "mask-on-D": (("crossing", "mask_target", "width"),),
    "mask-bounded": (("crossing", "mask_form", "sigmoid"),),
    "mask-on-D-bounded": (
        ("crossing", "mask_target", "width"),
        ("crossing", "mask_form", "sigmoid"),
    ),
    "rho-quarter": (("crossing", "mask_share", 0.25),),
    "rho-half": (("crossing", "mask_share", 0.5),),
    "rho-one": (("crossing", "mask_share", 1.0),),
    "LN-before": (("crossing", "norm", "before"),),
    "no-LN": (("crossing", "norm", "none"),),
    "half-the-rank": (("rank", "rank_share", 0.5),),
    "twice-the-rank": (("rank", "rank_share", 2.0),),
    "mask-rate-.1": (("training", "mask_rate", 0.1),),
    "mask-rate-.3": (("training", "mask_rate", 0.3),),
    "mask-rate-3": (("training", "mask_rate", 3.0),),
    "mask-rate-10": (("training", "mask_rate", 10.0),),
    "half-precision": (("training", "precision", "bfloat16"),),
}


def varied(variant: str, chosen: CtrDials, fields: int, flops: int) -> CtrDials:
    """The chosen dials with this change."""
    dials, width = chosen, fields * chosen.embedding
    for part, name, value in VARIANTS[variant]:
        change: dict[str, Any] = {name: value}
        if part == "training":
            dials = replace(dials, **change)
            continue
        if part == "rank":
            change = {name: min(1.0, getattr(dials.crossing, name) * value)}
        dials = replace(dials, crossing=replace(dials.crossing, **change))
    if any(part == "crossing" for part, *_ in VARIANTS[variant]):
        sized = nearest(width, dials.crossing, flops, hidden=dials.hidden)
        dials = replace(dials, crossing=sized.config)
    return dials
