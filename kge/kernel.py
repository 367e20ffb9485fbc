"""One block: its loss, and how the loss changes with everything that went into it.

Takes plain tensors, gives plain tensors; holds no weights and knows no entity. The gradients of
`kge/interaction.py` are written out here, so that heads, tails and shared candidates go through a
relation's matrix in one product each and meet in another: O((b + p + m) d k + b m k) a block, where
PyKEEN's own loop gathers a matrix per triple. Our design; a test compares it with autograd.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kge.config import TransRAConfig
from kge.factors import STEP, Scratch, Table
from kge.losses import Pairs, Slopes, margin_ranking, sampled_softmax

# Dimensions: b queries, p pairs, x = p or p + b, m candidates, d and k as in TransRA.

_PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Maps(NamedTuple):
    """A side's maps: a query is `head h + shift`, a tail's point `tail t`; None = the identity."""

    shift: Float[Tensor, "k"]
    head: Float[Tensor, "k d"] | None
    tail: Float[Tensor, "k d"] | None


class Ends(NamedTuple):
    """What meets in a block; biases are absent where the model has none."""

    head: Float[Tensor, "b d"]
    #: of pairs; where heads are tempted, of these as well
    tail: Float[Tensor, "x d"]
    other: Float[Tensor, "m d"]
    tail_bias: Float[Tensor, "x"] | None
    other_bias: Float[Tensor, "m"] | None
    log_expected: Float[Tensor, "m"]
    #: which heads are negatives of their own queries; None: none
    tempted: Bool[Tensor, "b"] | None = None


class Kept(NamedTuple):
    """What dropout multiplies queries with before and after their matrix; None = by 1."""

    head: Float[Tensor, "b d"] | None
    query: Float[Tensor, "b k"] | None


class Gradients(NamedTuple):
    """The loss of a block, and its gradients; those of biases are there even without any."""

    loss: float
    head: Float[Tensor, "b d"]
    tail: Float[Tensor, "x d"]
    other: Float[Tensor, "m d"]
    tail_bias: Float[Tensor, "x"]
    other_bias: Float[Tensor, "m"]
    maps: Maps


@dataclass(frozen=True)
class Kernel:
    """Loss and regularizers of one training."""

    config: TransRAConfig
    _scratch: Scratch = field(default_factory=Scratch)

    def block(self, ends: Ends, maps: Maps, pairs: Pairs, kept: Kept) -> Gradients:
        """`s = -||head h + shift - tail t||^2 (+ b_t)`, less `||query||^2`, which all share.

        Losses compare scores of one query, so what all of its scores have in common cancels out.
        """
        precision = _PRECISION[self.config.precision]
        dropped_bd = _times(ends.head, kept.head)
        query_bk = _times(_through(maps.head, dropped_bd, precision) + maps.shift, kept.query)
        tail_xk = _through(maps.tail, ends.tail, precision)
        other_mk = _through(maps.tail, ends.other, precision)
        row_x, count = _rows(ends, pairs), len(pairs.row)
        own_xk = query_bk.index_select(0, row_x)
        score_x = (own_xk * tail_xk).sum(dim=1).mul_(2.0) - _lengths(tail_xk)
        base_m = _lengths(other_mk).neg_()
        if ends.tail_bias is not None and ends.other_bias is not None:
            score_x += ends.tail_bias
            base_m += ends.other_bias
        further = None
        if ends.tempted is not None:
            further = score_x[count:].masked_fill(~ends.tempted, -torch.inf)
        table = Table(2.0 * query_bk, other_mk, base_m, score_x[:count], further)
        found = self._loss(table, pairs, ends.log_expected, precision)

        slope_x = found.positive
        if ends.tempted is not None:
            slope_x = torch.cat([found.positive, found.further])
        by_own_xk = 2.0 * slope_x[:, None] * tail_xk
        by_tail_xk = 2.0 * slope_x[:, None] * (own_xk - tail_xk)
        loss = found.loss
        if self.config.projected_l2 > 0:
            weight_p = 2.0 * self.config.projected_l2 * pairs.weight[:, None]
            by_own_xk[:count] += weight_p * own_xk[:count]
            by_tail_xk[:count] += weight_p * tail_xk[:count]
        by_query_bk = (2.0 * found.query).index_add_(0, row_x, by_own_xk)
        by_query_bk = _times(by_query_bk, kept.query)
        by_other_mk = found.points.addcmul_(found.base[:, None], other_mk, value=-2.0)
        by_maps = Maps(
            shift=by_query_bk.sum(dim=0),
            head=None if maps.head is None else by_query_bk.T @ dropped_bd,
            tail=None
            if maps.tail is None
            else _outer(by_other_mk, ends.other, precision).addmm_(by_tail_xk.T, ends.tail),
        )
        # From here on these may be the same memory as those by queries and points.
        by_head_bd = _times(_back(maps.head, by_query_bk, precision), kept.head)
        by_tail_xd = _back(maps.tail, by_tail_xk, precision)
        if self.config.n3 > 0:
            by_tail_xd[:count] += _n3_slope(ends.tail[:count], self.config.n3 * pairs.weight)
            share_b = torch.zeros(len(ends.head)).index_add_(0, pairs.row, pairs.weight)
            by_head_bd += _n3_slope(ends.head, self.config.n3 * share_b)
        return Gradients(
            loss=loss,
            head=by_head_bd,
            tail=by_tail_xd,
            other=_back(maps.tail, by_other_mk, precision),
            tail_bias=slope_x,
            other_bias=found.base,
            maps=by_maps,
        )

    def _loss(
        self, table: Table, pairs: Pairs, log_expected: Tensor, precision: torch.dtype
    ) -> Slopes:
        if self.config.loss == "margin":
            return margin_ranking(table, pairs, self.config.margin)
        return sampled_softmax(table, pairs, log_expected, precision, self._scratch)


def _rows(ends: Ends, pairs: Pairs) -> Int[Tensor, "x"]:
    """Which query each of `ends.tail` is met by."""
    if ends.tempted is None:
        return pairs.row
    return torch.cat([pairs.row, torch.arange(len(ends.head))])


def _lengths(rows: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """`||row||^2` without a copy of the rows."""
    return torch.linalg.vector_norm(rows, dim=1).square_()


def _times(values: Tensor, factor: Tensor | None) -> Tensor:
    return values if factor is None else values * factor


def _through(matrix: Tensor | None, rows: Tensor, precision: torch.dtype) -> Tensor:
    """`matrix x` of every row."""
    if matrix is None:
        return rows
    return (_laid_out(rows, precision) @ matrix.to(precision).T)[: len(rows)].float()


def _back(matrix: Tensor | None, rows: Tensor, precision: torch.dtype) -> Tensor:
    """The gradient by x from that by `matrix x`."""
    if matrix is None:
        return rows
    return (_laid_out(rows, precision) @ matrix.to(precision))[: len(rows)].float()


def _outer(left: Tensor, right: Tensor, precision: torch.dtype) -> Tensor:
    return (_laid_out(left, precision).T @ _laid_out(right, precision)).float()


def _laid_out(rows: Tensor, precision: torch.dtype) -> Tensor:
    """Rows as a product of this precision takes them: half in whole steps, by rows of zeros."""
    more = -len(rows) % STEP if precision == torch.bfloat16 else 0
    if not more:
        return rows.to(precision)
    made = torch.zeros(len(rows) + more, rows.shape[1], dtype=precision)
    made[: len(rows)] = rows
    return made


def _n3_slope(rows: Tensor, weight: Tensor) -> Tensor:
    return 3.0 * weight[:, None] * rows * rows.abs()
