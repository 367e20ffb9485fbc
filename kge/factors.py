"""The two factors of a table of scores, in whole or half precision, and their gradients.

Takes queries, points and a base, gives scores of some queries at a time and adds up what the table
changes with; knows no loss. A table is the largest thing in a training, so how it is laid out
decides how fast a training is.
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

# Dimensions: b queries, n of them at a time, p true pairs, m shared candidates, k columns.

#: Products of half precision are compiled for each new shape, and kept: so sizes go in such steps.
STEP = 64
#: Rows of a table of whole precision begin where the processor's vectors do.
LINE = 16
#: Queries whose scores are there at once. A table of all of a block's would leave the processor's
#: cache, and each pass over it would wait for memory.
ROWS = 512
#: Below every score: what fills a table up to a whole step.
LEAST = -1e30


class Scratch:
    """One piece of memory for the scores of block after block.

    A new table for each block would be asked of the system, cleared by it, and scatter what is
    free.
    """

    def __init__(self) -> None:
        self._held = torch.empty(0)

    def table(self, rows: int, columns: int, precision: torch.dtype) -> Float[Tensor, "n m"]:
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
    #: of one further negative per query; -inf where there is none
    further: Float[Tensor, "b"] | None = None


class Factors(Protocol):
    """A table's factors in one precision; with points that nobody scores, up to a whole step."""

    #: queries whose scores are there at once
    rows: int

    def scores(self, rows: slice, scratch: Scratch) -> Float[Tensor, "n m"]:
        """Scores of some queries, in memory that the next call overwrites."""

    def pull(
        self, rows: slice, slope_nm: Float[Tensor, "n m"], share_n: Float[Tensor, "n"]
    ) -> Float[Tensor, "n k"]:
        """The gradient by some queries, from `share slope` by their scores; adds up the others."""

    def added(self, count: int) -> tuple[Float[Tensor, "m k"], Float[Tensor, "m"]]:
        """The gradients by the first points and their base."""


class Whole:
    """Factors of float32."""

    rows = ROWS

    def __init__(self, table: Table, log_expected: Float[Tensor, "m"]) -> None:
        self._query, (size, width) = table.query, table.points.shape
        self._points = torch.zeros(size + -size % LINE, width)
        self._points[:size] = table.points
        self._base = torch.full((len(self._points),), LEAST)
        torch.sub(table.base, log_expected, out=self._base[:size])
        self._by_points = torch.zeros_like(self._points)
        self._by_base = torch.zeros_like(self._base)

    def scores(self, rows: slice, scratch: Scratch) -> Float[Tensor, "n m"]:
        query = self._query[rows]
        made = scratch.table(len(query), len(self._points), torch.float32)
        return torch.addmm(self._base, query, self._points.T, out=made)

    def pull(
        self, rows: slice, slope_nm: Float[Tensor, "n m"], share_n: Float[Tensor, "n"]
    ) -> Float[Tensor, "n k"]:
        self._by_points.addmm_(slope_nm.T, self._query[rows] * share_n[:, None])
        self._by_base.addmv_(slope_nm.T, share_n)
        return (slope_nm @ self._points).mul_(share_n[:, None])

    def added(self, count: int) -> tuple[Float[Tensor, "m k"], Float[Tensor, "m"]]:
        return self._by_points[:count], self._by_base[:count]


class Half:
    """Factors of bfloat16, all queries at once; each product is rounded when it is summed up.

    The base is two further columns: what half precision keeps of it, and of the rest.
    """

    def __init__(self, table: Table, log_expected: Float[Tensor, "m"]) -> None:
        self.rows, (size, width) = len(table.query), table.points.shape
        self._width = width
        self._query = torch.ones(self.rows, width + 2, dtype=torch.bfloat16)
        self._query[:, :width] = table.query
        self._points = torch.zeros(size + -size % STEP, width + 2, dtype=torch.bfloat16)
        self._points[:size, :width] = table.points
        base = torch.full((len(self._points),), LEAST)
        torch.sub(table.base, log_expected, out=base[:size])
        self._points[:, width] = base
        self._points[:, width + 1] = base - self._points[:, width].float()
        self._by_points = torch.zeros(len(self._points), width + 1)

    def scores(self, rows: slice, scratch: Scratch) -> Float[Tensor, "n m"]:
        query = self._query[rows]
        made = scratch.table(len(query), len(self._points), torch.bfloat16)
        return torch.mm(query, self._points.T, out=made)

    def pull(
        self, rows: slice, slope_nm: Float[Tensor, "n m"], share_n: Float[Tensor, "n"]
    ) -> Float[Tensor, "n k"]:
        scaled = self._query[rows, : self._width].float() * share_n[:, None]
        scaled = torch.cat([scaled, share_n[:, None]], dim=1)
        self._by_points += slope_nm.T @ scaled.bfloat16()
        return (slope_nm @ self._points[:, : self._width]).float() * share_n[:, None]

    def added(self, count: int) -> tuple[Float[Tensor, "m k"], Float[Tensor, "m"]]:
        return self._by_points[:count, :-1], self._by_points[:count, -1]
