"""The rows themselves, in plain torch.

Takes row numbers, gives vectors; never sees an id. Other backends keep this interface.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class IdTable(nn.Module):
    """A table whose vectors are the mean of an id's two rows.

    y = (W[i] + W[j]) / 2

    Rows start at zero, so an id that training never saw adds nothing. Our design.
    """

    def __init__(self, row_count: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(row_count, dim))

    def forward(self, rows: Int64[Tensor, "batch 2"]) -> Float[Tensor, "batch dim"]:
        return nn.functional.embedding(rows, self.weight).mean(dim=1)
