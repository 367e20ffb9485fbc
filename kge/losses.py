"""Losses of one block: positives against negatives that the whole block shares.

Takes scores, or the two factors whose product they are, gives one number; never touches a weight.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Dimensions: b positives of the block, m shared negatives, f = k + 2 columns of the factors,
# c collisions.


class Scores(NamedTuple):
    """Scores of one block; those of the negatives as factors, `negative = query @ other.T`."""

    positive: Float[Tensor, "b"]
    query: Float[Tensor, "b f"]
    other: Float[Tensor, "m f"]


class Collisions(NamedTuple):
    """Pairs (positive, negative) where the negative is the positive's own tail."""

    row: Int[Tensor, "c"]
    column: Int[Tensor, "c"]


def sampled_softmax(
    scores: Scores,
    log_expected: Float[Tensor, "m"],
    collisions: Collisions,
    weight: Float[Tensor, "b"],
) -> Float[Tensor, ""]:
    """Weighted mean of `-s+ + log(e^s+ + sum_j e^(s_j - log(m q_j)))`.

    `log_expected` = log(m q_j), how often candidate j is expected among the m drawn ones, so the
    sum over the drawn estimates the sum over all without bias (logQ correction, Bengio & Senecal
    2008; on the negatives only). A negative that is the positive itself (`collisions`) is left
    out. With every candidate drawn once and log_expected 0 it is the full softmax.
    """
    # The last column of the factors is 1 in query, so the correction rides in the product.
    other = torch.cat([scores.other[:, :-1], (scores.other[:, -1] - log_expected)[:, None]], 1)
    share = weight / weight.sum()
    return _SharedSoftmax.apply(scores.positive, scores.query, other, collisions, share)


def margin_ranking(
    scores: Scores, collisions: Collisions, weight: Float[Tensor, "b"], margin: float
) -> Float[Tensor, ""]:
    """Weighted mean of `max(0, margin + s_j - s+)` over all pairs that are no collision.

    The loss of Lin et al. 2015 (TransR), equation 9.
    """
    kept = weight[:, None].repeat(1, len(scores.other))
    kept[collisions.row, collisions.column] = 0.0
    negative = scores.query @ scores.other.T
    return (kept * (margin + negative - scores.positive[:, None]).relu()).sum() / kept.sum()


class _SharedSoftmax(torch.autograd.Function):
    """`sum_i share_i (log(e^s+_i + sum_j e^(q_i . o_j)) - s+_i)` with one b x m buffer.

    Autograd would write six such buffers; here the scores become exponentials, then gradients, in
    place.
    """

    @staticmethod
    def forward(
        ctx: Any,
        positive: Tensor,
        query: Tensor,
        other: Tensor,
        collisions: Collisions,
        share: Tensor,
    ) -> Tensor:
        scores_bm = query @ other.T
        scores_bm[collisions.row, collisions.column] = -torch.inf
        top_b = torch.maximum(scores_bm.amax(dim=1), positive)
        scores_bm.sub_(top_b[:, None]).exp_()
        own_b = (positive - top_b).exp()
        total_b = scores_bm.sum(dim=1) + own_b
        ctx.save_for_backward(scores_bm, query, other, own_b / total_b, share / total_b, share)
        return (share * (total_b.log() + top_b - positive)).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        chance_bm, query, other, own_b, scale_b, share = ctx.saved_tensors
        chance_bm.mul_((gradient * scale_b)[:, None])
        positive = gradient * share * (own_b - 1.0)
        return positive, chance_bm @ other, chance_bm.T @ query, None, None
