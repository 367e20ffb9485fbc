"""Adagrad by row, in plain torch: one number of state per row.

Takes row numbers, gives those rows, and moves them by their gradients; never builds a gradient of
the whole table, nor touches a row that is not named.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from ranking.idtables.lazy import EPSILON, Numbering

# Dimensions: N rows of the table, U distinct rows of a batch, E numbers of a row.

#: Bits by which float32 is longer than bfloat16.
_TAIL = 16


class _Taken(NamedTuple):
    rows: Int64[Tensor, "U"]
    value: Float32[Tensor, "U E"]


class RowwiseAdagrad:
    """`s = s + mean(g^2);  x = x - a g / (sqrt(s) + 1e-8)`, with one s per row.

    Adagrad (Duchi et al., 2011) with one sum for all numbers of a row, as FBGEMM and TorchRec have
    it under the name of EXACT_ROWWISE_ADAGRAD; a step falls as a row is seen more often. A table of
    bfloat16 is moved in float32 and rounded by chance, so that steps that are smaller than its
    grain still add up: the mean of what is stored is what was computed. Our design.
    """

    def __init__(self, weight: nn.Parameter, *, rate: float) -> None:
        self.rate = rate
        self._weight = weight.detach()
        self._sum = torch.zeros(len(weight))
        self._numbered = Numbering(len(weight))
        self._taken: list[_Taken] = []

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any E"]:
        """Rows as of now, in float32; what becomes of the result moves them in the next `step`."""
        if not rows.numel():
            return self._sum.new_zeros((*rows.shape, self._weight.shape[1]))
        distinct, place = self._numbered(rows.flatten())
        taken = _Taken(distinct, self._values(distinct))
        taken.value.requires_grad_()
        self._taken.append(taken)
        return nn.functional.embedding(place.view(rows.shape), taken.value)

    def forget(self) -> None:
        self._taken.clear()

    @torch.no_grad()
    def step(self) -> None:
        looked_up, self._taken = self._taken, []
        if not looked_up:
            return
        rows, gradient = self._joined(looked_up)
        total = self._sum.index_select(0, rows).add_(gradient.square().mean(dim=1))
        self._sum[rows] = total
        scale = (self.rate / total.sqrt().add_(EPSILON)).unsqueeze(1)
        moved = self._values(rows).addcmul_(gradient, scale, value=-1.0)
        self._weight[rows] = _rounded(moved) if self._weight.dtype == torch.bfloat16 else moved

    def settle(self) -> None:
        """Nothing to do: a row that is not named does not move."""

    def states(self) -> dict[str, Tensor]:
        return {"sum": self._sum}

    def resume(self, states: dict[str, Tensor]) -> None:
        self._sum.copy_(states["sum"])

    def _values(self, rows: Int64[Tensor, "U"]) -> Float32[Tensor, "U E"]:
        return self._weight.index_select(0, rows).float()

    def _joined(self, looked_up: list[_Taken]) -> tuple[Int64[Tensor, "U"], Float32[Tensor, "U E"]]:
        """All rows of a step, each once, and their gradients, summed over the lookups."""
        gradients = [
            torch.zeros_like(taken.value) if taken.value.grad is None else taken.value.grad
            for taken in looked_up
        ]
        if len(looked_up) == 1:
            return looked_up[0].rows, gradients[0]
        rows, place = self._numbered(torch.cat([taken.rows for taken in looked_up]))
        summed = torch.ops.aten.embedding_dense_backward(
            torch.cat(gradients), place, len(rows), -1, False
        )
        return rows, summed


def _rounded(value: Float32[Tensor, "U E"]) -> Tensor:
    """float32 as bfloat16, up or down by chance, the nearer the likelier: its mean is the value.

    A bfloat16 is the first 16 bits of a float32; adding a random number of the other 16 carries
    into them as often as the rest that is cut off says. Sign and size are apart, so it holds below
    zero, too.
    """
    bits = value.contiguous().view(torch.int32)
    chance = torch.randint(0, 1 << _TAIL, value.shape, dtype=torch.int32)
    kept = (bits + chance) & -(1 << _TAIL)
    return kept.view(torch.float32).to(torch.bfloat16)
