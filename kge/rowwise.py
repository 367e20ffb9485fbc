"""Optimizers that move only what a batch touched.

Takes gradients of gathered rows, gives their new values; never builds a dense gradient of a table
and never moves a row that no gradient named. A row's state counts its own steps.
"""

from typing import Protocol

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

_TINY = 1e-10
#: Adam's decay of the mean and of the mean square, as its authors propose.
_BETA_1, _BETA_2 = 0.9, 0.999

# Dimensions: n rows of a table, m distinct rows that move; a row may have any shape.


def take(table: Shaped[Tensor, "n ..."], rows: Int[Tensor, "m"] | slice) -> Tensor:
    """`table[rows]`, which for a tensor of rows takes several times as long."""
    return table.index_select(0, rows) if isinstance(rows, Tensor) else table[rows]


class RowOptimizer(Protocol):
    """State beside a table, one entry or one row per row of it."""

    def move(
        self,
        rows: Int[Tensor, "m"] | slice,
        now: Float[Tensor, "m ..."],
        gradient: Float[Tensor, "m ..."],
        rate: float,
    ) -> Float[Tensor, "m ..."]:
        """The new values of distinct rows that stand at `now`; the caller writes them back."""

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, to be saved, or to be overwritten by what was saved."""


class Adagrad:
    """`s += g^2;  x -= rate g / (sqrt(s) + 1e-10)`, Duchi et al. 2011.

    Row-wise: one s per row, the mean of g^2 over the row, which is N numbers instead of N d. For
    tables of one number per row both are the same.
    """

    def __init__(self, table: Float[Tensor, "n ..."], *, rowwise: bool) -> None:
        self._rowwise = rowwise and table.ndim > 1
        shape = (len(table),) if self._rowwise else tuple(table.shape)
        self._sum = torch.zeros(shape)

    @torch.no_grad()
    def move(
        self,
        rows: Int[Tensor, "m"] | slice,
        now: Float[Tensor, "m ..."],
        gradient: Float[Tensor, "m ..."],
        rate: float,
    ) -> Float[Tensor, "m ..."]:
        square = gradient.square()
        total = take(self._sum, rows) + (_row_mean(square) if self._rowwise else square)
        self._sum[rows] = total
        return now - gradient * _like(rate / (total.sqrt() + _TINY), now)

    def state(self) -> dict[str, Tensor]:
        return {"sum": self._sum}


class Adam:
    """`m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  x -= rate m^ / (sqrt(v^) + 1e-10)`.

    Kingma & Ba 2015, with the bias corrections m^ and v^ counted per row: a row that is touched
    rarely is a young one. Row-wise: one v per row, the mean of g^2 over the row.
    """

    def __init__(self, table: Float[Tensor, "n ..."], *, rowwise: bool) -> None:
        self._rowwise = rowwise and table.ndim > 1
        shape = (len(table),) if self._rowwise else tuple(table.shape)
        self._mean = torch.zeros(tuple(table.shape))
        self._square = torch.zeros(shape)
        self._steps = torch.zeros(len(table))

    @torch.no_grad()
    def move(
        self,
        rows: Int[Tensor, "m"] | slice,
        now: Float[Tensor, "m ..."],
        gradient: Float[Tensor, "m ..."],
        rate: float,
    ) -> Float[Tensor, "m ..."]:
        mean = take(self._mean, rows).lerp_(gradient, 1.0 - _BETA_1)
        square = gradient.square()
        if self._rowwise:
            square = _row_mean(square)
        square = take(self._square, rows).lerp_(square, 1.0 - _BETA_2)
        steps = take(self._steps, rows) + 1.0
        self._mean[rows], self._square[rows], self._steps[rows] = mean, square, steps
        spread = (square / _like(1.0 - _BETA_2**steps, square)).sqrt_().add_(_TINY)
        scale = _like(rate / (1.0 - _BETA_1**steps), spread) / spread
        return now - mean * _like(scale, now)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self._mean, "square": self._square, "steps": self._steps}


def _row_mean(values: Float[Tensor, "m ..."]) -> Float[Tensor, "m"]:
    return values.flatten(1).mean(dim=1)


def _like(values: Tensor, wider: Tensor) -> Tensor:
    """One number per row, in a shape that spreads over rows of any shape."""
    return values.view(*values.shape, *([1] * (wider.ndim - values.ndim)))
