"""Scores of many queries against many candidates, and buckets of candidates by their degree.

Takes arrays, gives arrays; never knows which entity is which. numpy only: serving scores too.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

# Dimensions: b queries, m candidates, k relation space, e what ranges list.

#: Lowest degree of each bucket of training edges: 0 stands alone, since nothing was learned.
BUCKETS = (0, 1, 5, 20, 100, 500)


def distance_scores(
    query_bk: Float[np.ndarray, "b k"],
    point_mk: Float[np.ndarray, "m k"],
    bias_m: Float[np.ndarray, "m"],
    scale: float,
) -> Float[np.ndarray, "b m"]:
    """`-scale ||q - p||^2 + bias` by one matrix product: `-||q - p||^2 = 2 q.p - |q|^2 - |p|^2`."""
    scores_bm = query_bk @ point_mk.T
    scores_bm *= 2.0 * scale
    scores_bm += bias_m - scale * np.einsum("mk,mk->m", point_mk, point_mk)
    scores_bm -= scale * np.einsum("bk,bk->b", query_bk, query_bk)[:, None]
    return scores_bm


def spread(first: Int[np.ndarray, "b"], number: Int[np.ndarray, "b"]) -> Int[np.ndarray, "e"]:
    """The ranges first_i, first_i + 1, ..., first_i + number_i - 1, one after the other."""
    before = np.cumsum(number) - number
    return np.arange(int(number.sum())) + np.repeat(first - before, number)


def buckets(degree: Int[np.ndarray, "b"]) -> Iterator[tuple[str, Bool[np.ndarray, "b"]]]:
    """The name of each bucket of degrees, such as `degree=1-4`, and who lies in it."""
    for low, high in zip(BUCKETS, [*BUCKETS[1:], None], strict=True):
        if high is None:
            yield f"degree={low}+", degree >= low
        else:
            name = f"{low}" if high == low + 1 else f"{low}-{high - 1}"
            yield f"degree={name}", (degree >= low) & (degree < high)
