"""Losses of one block, with their gradients: positives against negatives that the block shares.

Takes the two factors whose product the scores are, gives a number and how it changes with each
factor; never touches a weight. The gradients are written out, since a b x m table of scores should
exist once: here scores become chances in place, and the chances are the gradient.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kge.factors import LEAST, Half, Scratch, Table, Whole

# Dimensions: b queries, n of them at a time, p positive pairs, m shared candidates, k columns,
# c pairs that are known.


#: Numbers of pairs times negatives that the margin loss looks at together.
SLICE = 1 << 22
#: Half precision may round a top to below its score: where scores are very large, by a lot.
_MOST = 80.0


class Pairs(NamedTuple):
    """Which query each positive belongs to, what it weighs, and what is no negative.

    Both ascend by query.
    """

    row: Int[Tensor, "p"]
    #: sums to 1 over a batch
    weight: Float[Tensor, "p"]
    #: (query, candidate) of known tails among the candidates
    known: tuple[Int[Tensor, "c"], Int[Tensor, "c"]]


class Slopes(NamedTuple):
    """The loss, and its gradient by each part of the table."""

    loss: float
    query: Float[Tensor, "b k"]
    points: Float[Tensor, "m k"]
    base: Float[Tensor, "m"]
    positive: Float[Tensor, "p"]
    #: 0 where there is none
    further: Float[Tensor, "b"]


def sampled_softmax(
    table: Table,
    pairs: Pairs,
    log_expected: Float[Tensor, "m"],
    precision: torch.dtype = torch.float32,
    scratch: Scratch | None = None,
) -> Slopes:
    """Weighted sum of `-s+ + log(e^s+ + sum_j e^(s_j - log pi_j))`, j over the pair's negatives.

    `log_expected` = log pi_j, the chance that candidate j is among the m, so the sum over the
    drawn estimates the sum over all without bias (logQ correction, Bengio & Senecal 2008; on the
    negatives only); a further negative is certain, and counts as it is. What is known to be true
    of the query is left out, as in filtered ranking.
    With every candidate there, log_expected 0 and one tail per query it is the full softmax.
    `precision` bfloat16 halves the table; what sums over a table is rounded once it is summed.
    """
    factors = (Half if precision == torch.bfloat16 else Whole)(table, log_expected)
    held, loss = scratch or Scratch(), 0.0
    by_query, by_positive = torch.empty_like(table.query), torch.empty_like(table.positive)
    further, by_further = _further(table), torch.empty(len(table.query))
    for rows, own, part in _parts(pairs, len(table.query), factors.rows):
        positive, scores_nm = table.positive[own], factors.scores(rows, held)
        scores_nm[part.known] = -torch.inf
        # The top keeps exponentials in range; it cancels out, so its own rounding does no harm.
        top_n = scores_nm.amax(dim=1).float()
        top_n.scatter_reduce_(0, part.row, positive, "amax")
        top_n = torch.maximum(top_n, further[rows]).to(precision)
        scores_nm.sub_(top_n[:, None]).exp_()
        total_n, top_n = scores_nm.sum(dim=1, dtype=torch.float32), top_n.float()
        further_n = (further[rows] - top_n).clamp_max_(_MOST).exp_()
        total_n += further_n
        top_p = top_n.index_select(0, part.row)
        own_p = (positive - top_p).clamp_max_(_MOST).exp_()
        total_p = total_n.index_select(0, part.row) + own_p
        loss += float((part.weight * (total_p.log() + top_p - positive)).sum())
        by_positive[own] = part.weight * (own_p / total_p - 1.0)
        share_n = torch.zeros_like(total_n).index_add_(0, part.row, part.weight / total_p)
        by_query[rows] = factors.pull(rows, scores_nm, share_n)
        by_further[rows] = share_n * further_n
    by_points, by_base = factors.added(len(table.points))
    return Slopes(loss, by_query, by_points, by_base, by_positive, by_further)


def margin_ranking(table: Table, pairs: Pairs, margin: float) -> Slopes:
    """Weighted mean of `max(0, margin + s_j - s+)` over all negatives of each pair.

    The loss of Lin et al. 2015 (TransR), equation 9. A pair's weight is spread evenly over its
    negatives.
    """
    size, further = len(table.points) + 1, _further(table)[:, None]
    negative_bm = further.clamp_min(LEAST).repeat(1, size)
    torch.addmm(table.base, table.query, table.points.T, out=negative_bm[:, :-1])
    allowed_bm = torch.ones_like(negative_bm)
    allowed_bm[:, -1:] = further.isfinite()
    allowed_bm[pairs.known] = 0.0
    share_p = pairs.weight / allowed_bm.sum(dim=1).clamp_min(1.0)[pairs.row]
    loss, by_positive = 0.0, torch.zeros_like(table.positive)
    slope_bm = torch.zeros_like(negative_bm)
    # A pair after another one: p x m numbers would be many where queries have many tails.
    for part in torch.arange(len(pairs.row)).split(max(1, SLICE // size)):
        row = pairs.row[part]
        apart = margin + negative_bm[row] - table.positive[part, None]
        wrong = (apart > 0) * allowed_bm[row] * share_p[part, None]
        loss += float((apart * wrong).sum())
        by_positive[part] = -wrong.sum(dim=1)
        slope_bm.index_add_(0, row, wrong)
    slope_bm, by_further = slope_bm[:, :-1], slope_bm[:, -1]
    return Slopes(
        loss=loss,
        query=slope_bm @ table.points,
        points=slope_bm.T @ table.query,
        base=slope_bm.sum(dim=0),
        positive=by_positive,
        further=by_further,
    )


def _further(table: Table) -> Float[Tensor, "b"]:
    return torch.full((len(table.query),), -torch.inf) if table.further is None else table.further


def _parts(pairs: Pairs, count: int, rows: int) -> Iterator[tuple[slice, slice, Pairs]]:
    """Some queries after the others: their rows, their positives, and these as `Pairs`."""
    if rows >= count:
        yield slice(0, count), slice(0, len(pairs.row)), pairs
        return
    starts = torch.arange(0, count + rows, rows)
    bounds = [torch.searchsorted(each, starts).tolist() for each in (pairs.row, pairs.known[0])]
    for n, first in enumerate(range(0, count, rows)):
        own, known = (slice(*bound[n : n + 2]) for bound in bounds)
        row, column = pairs.known
        yield (
            slice(first, min(first + rows, count)),
            own,
            Pairs(pairs.row[own] - first, pairs.weight[own], (row[known] - first, column[known])),
        )
