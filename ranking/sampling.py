"""Fewer negatives, and the probabilities as if all had been there.

Takes labels and a share, gives rows to learn from, and corrects logits for what was left out; never
looks at a feature.
"""

import math

import numpy as np
from jaxtyping import Float64, Int8, Int64


def kept_rows(
    labels: Int8[np.ndarray, "n"], share: float, generator: np.random.Generator
) -> Int64[np.ndarray, "m"]:
    """All rows with label 1 and, each by its own chance, that share of the others, in order.

    Whether a row is kept depends on its label alone: that is what makes the correction exact.
    """
    if share >= 1:
        return np.arange(len(labels))
    return np.flatnonzero((labels == 1) | (generator.random(len(labels)) < share))


def corrected(logits: Float64[np.ndarray, "n"], share: float) -> Float64[np.ndarray, "n"]:
    """Logits of what was learned from all ones and a share w of the zeros, for all rows.

    p' = p / (p + (1 - p) / w),   that is   logit' = logit + log w

    With w of the zeros kept the odds are 1 / w times as high at every point, since label 0 is the
    only thing that the choice depends on; so the correction is exact, not a fit.
    """
    return logits + math.log(share)
