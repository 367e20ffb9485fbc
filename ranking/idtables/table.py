"""The rows themselves.

Takes row numbers, gives vectors; never sees an id. Who moves the rows is the table's `mover`, the
one interface of all backends (`moving.py`); a small table has none and is moved as a whole, as any
other weight.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ranking.idtables.moving import Mover


class RowTable(nn.Embedding):
    """A table of rows, of which a batch names some.

    While it is trained row by row, its `weight` has no gradient, and is as of now only after the
    `settle` of who moves it. What it stores in bfloat16 it gives in float32.
    """

    #: Who moves its rows one by one; None where `weight` is moved as a whole, or not at all.
    mover: Mover | None = None

    def forward(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        if self.mover is None or not torch.is_grad_enabled():
            found = super().forward(rows)
            return found.float() if found.dtype == torch.bfloat16 else found
        return self.mover.look_up(rows)


class IdTable(RowTable):
    """A table whose vectors are the mean of an id's two rows.

    y = (W[i] + W[j]) / 2

    Rows start at zero, so an id that training never saw adds nothing. Our design.
    """

    def __init__(self, row_count: int, dim: int, precision: str = "float32") -> None:
        stored = torch.bfloat16 if precision == "bfloat16" else torch.float32
        super().__init__(row_count, dim, _weight=torch.zeros(row_count, dim, dtype=stored))

    def forward(self, rows: Int64[Tensor, "batch 2"]) -> Float[Tensor, "batch dim"]:
        return super().forward(rows).mean(dim=1)


def each_once(table: IdTable, rows: Int64[Tensor, "batch 2"]) -> Float[Tensor, "batch dim"]:
    """What a table has of a batch; of one id beside many others it is looked up once."""
    if rows.stride(0) or not len(rows):
        found: Tensor = table(rows)
        return found
    one: Tensor = table(rows[:1])
    return one.expand(len(rows), -1)
