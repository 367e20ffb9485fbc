"""Losses of one block, with their gradients: positives against negatives that the block shares.

Takes the two factors whose product the scores are, gives a number and how it changes with each
factor; never touches a weight. The gradients are written out, since a b x m table of scores should
exist once: here scores become chances in place, and the chances are the gradient.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Dimensions: b queries, p positive pairs, m shared candidates, k columns, c pairs that are known.

#: Products of half precision are compiled for each new shape, and kept: so sizes go in such steps.
STEP = 64
#: Below every score: what fills a table up to a whole step.
_NOTHING = -1e30
#: Where a score's columns are halved in precision, its base is kept as two of them.
_BASES = {torch.float32: 1, torch.bfloat16: 2}


class Scratch:
    """One piece of memory for the scores of block after block.

    A table of scores is the largest thing in a training; a new one for each block would be asked
    of the system, cleared by it, and scatter what is free.
    """

    def __init__(self) -> None:
        self._held = torch.empty(0)

    def table(self, rows: int, columns: int, precision: torch.dtype) -> Float[Tensor, "b m"]:
        """Room for `rows` x `columns` numbers; what a former table held is overwritten."""
        size = rows * columns
        if self._held.dtype != precision or len(self._held) < size:
            self._held = torch.empty(0)  # give it back before more is taken
            self._held = torch.empty(size, dtype=precision)
        return self._held[:size].view(rows, columns)


class Table(NamedTuple):
    """Scores of b queries against m candidates, `query @ points.T + base`, and of p true pairs."""

    query: Float[Tensor, "b k"]
    points: Float[Tensor, "m k"]
    base: Float[Tensor, "m"]
    positive: Float[Tensor, "p"]


class Pairs(NamedTuple):
    """Which query each positive belongs to, what it weighs, and what is no negative."""

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
    negatives only). What is known to be true of the query is left out, as in filtered ranking.
    With every candidate there, log_expected 0 and one tail per query it is the full softmax.
    `precision` bfloat16 halves the table; sums and gradients of weights stay float32.
    """
    columns = _BASES[precision]
    query, points = _factors(table, log_expected, precision)
    scores_bm = (scratch or Scratch()).table(len(query), len(points), precision)
    torch.mm(query, points.T, out=scores_bm)
    scores_bm[pairs.known] = -torch.inf
    # The top keeps exponentials in range; it cancels out, so its own rounding does no harm.
    top_b = scores_bm.amax(dim=1).float()
    top_b.scatter_reduce_(0, pairs.row, table.positive, "amax")
    top_b = top_b.to(precision)
    scores_bm.sub_(top_b[:, None]).exp_()
    total_b, top_b = scores_bm.sum(dim=1, dtype=torch.float32), top_b.float()
    own_p = (table.positive - top_b.index_select(0, pairs.row)).exp()
    total_p = total_b.index_select(0, pairs.row) + own_p
    loss = (
        pairs.weight * (total_p.log() + top_b.index_select(0, pairs.row) - table.positive)
    ).sum()
    share_b = torch.zeros_like(total_b).index_add_(0, pairs.row, pairs.weight / total_p)
    by_query = (scores_bm @ points[:, :-columns]).float() * share_b[:, None]
    scaled = torch.cat([query[:, :-columns].float() * share_b[:, None], share_b[:, None]], dim=1)
    by_points = (scores_bm.T @ scaled.to(precision)).float()
    by_points = by_points[: len(table.points)]
    return Slopes(
        loss=float(loss),
        query=by_query,
        points=by_points[:, :-1],
        base=by_points[:, -1],
        positive=pairs.weight * (own_p / total_p - 1.0),
    )


def margin_ranking(table: Table, pairs: Pairs, margin: float) -> Slopes:
    """Weighted mean of `max(0, margin + s_j - s+)` over all negatives of each pair.

    The loss of Lin et al. 2015 (TransR), equation 9. A pair's weight is spread evenly over its
    negatives.
    """
    size = len(table.points)
    negative_bm = torch.addmm(table.base, table.query, table.points.T)
    allowed_bm = torch.ones_like(negative_bm)
    allowed_bm[pairs.known] = 0.0
    share_p = pairs.weight / allowed_bm.sum(dim=1).clamp_min(1.0)[pairs.row]
    loss, by_positive = 0.0, torch.zeros_like(table.positive)
    slope_bm = torch.zeros_like(negative_bm)
    # A pair after another one: p x m numbers would be many where queries have many tails.
    for part in torch.arange(len(pairs.row)).split(max(1, (1 << 22) // max(1, size))):
        row = pairs.row[part]
        apart = margin + negative_bm[row] - table.positive[part, None]
        wrong = (apart > 0) * allowed_bm[row] * share_p[part, None]
        loss += float((apart * wrong).sum())
        by_positive[part] = -wrong.sum(dim=1)
        slope_bm.index_add_(0, row, wrong)
    return Slopes(
        loss=loss,
        query=slope_bm @ table.points,
        points=slope_bm.T @ table.query,
        base=slope_bm.sum(dim=0),
        positive=by_positive,
    )


def _factors(
    table: Table, log_expected: Float[Tensor, "m"], precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Query and points with the base as further columns, in the precision of the product.

    In half precision points that nobody scores fill them up to a whole step.
    """
    columns, width = _BASES[precision], table.query.shape[1]
    query = torch.ones(len(table.query), width + columns, dtype=precision)
    query[:, :width] = table.query
    size = len(table.points)
    more = -size % STEP if columns > 1 else 0
    points = torch.zeros(size + more, width + columns, dtype=precision)
    points[:size, :width] = table.points
    base = torch.full((size + more,), _NOTHING)
    torch.sub(table.base, log_expected, out=base[:size])
    points[:, width] = base
    if columns > 1:
        points[:, width + 1] = base - points[:, width].float()
    return query, points
