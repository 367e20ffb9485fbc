"""Adagrad that moves only what a block touched.

Takes gradients of gathered rows, moves those rows of a table in place; never builds a dense
gradient of a table.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_TINY = 1e-10


@dataclass(frozen=True)
class RowwiseAdagrad:
    """One step size per row: `s_i += mean_j g_ij^2;  x_i -= rate g_i / (sqrt(s_i) + 1e-10)`.

    The row-wise form of Duchi et al. 2011 that embedding tables use: N numbers of state, not N d.
    """

    table: Float[Tensor, "n d"]
    #: [n], starts at 0
    state: Float[Tensor, "n"]

    @classmethod
    def of(cls, table: Float[Tensor, "n d"]) -> "RowwiseAdagrad":
        return cls(table, torch.zeros(len(table)))

    @torch.no_grad()
    def move(
        self,
        rows: Int[Tensor, "m"],
        now: Float[Tensor, "m d"],
        gradient: Float[Tensor, "m d"],
        rate: float,
    ) -> Float[Tensor, "m d"]:
        """The new values of distinct rows that stand at `now`; the caller writes them back."""
        total = self.state[rows] + gradient.square().mean(dim=1)
        self.state[rows] = total
        return now - gradient * (rate / (total.sqrt() + _TINY))[:, None]


@dataclass(frozen=True)
class Adagrad:
    """Plain Adagrad on a slice of a parameter: `s += g^2;  x -= rate g / (sqrt(s) + 1e-10)`."""

    table: Tensor
    state: Tensor

    @classmethod
    def of(cls, table: Tensor) -> "Adagrad":
        return cls(table, torch.zeros_like(table))

    @torch.no_grad()
    def step(self, place: int | slice | Tensor, gradient: Tensor, rate: float) -> None:
        """Move `table[place]` in place; rows given by a tensor have to be distinct."""
        total = self.state[place] + gradient.square()
        self.state[place] = total
        self.table[place] -= rate * gradient / (total.sqrt() + _TINY)
