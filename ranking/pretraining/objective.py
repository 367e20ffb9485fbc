"""What a facet teaches a table: a loss of a batch of pairs.

Takes a table and a batch, gives a loss; never moves anything.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batch
from ranking.pretraining.softmax import Temperature, contrast

# Dimensions: N entities, D numbers of a vector.


class Objective(nn.Module, ABC):
    """One facet's loss on a table of N rows, and how its vectors are read off the table."""

    @abstractmethod
    def forward(self, table: RowTable, batch: Batch) -> Float[Tensor, ""]:
        """The loss of a batch of pairs."""

    def read(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The vectors that a table's rows stand for: the rows themselves, unless told otherwise."""
        return rows

    def keep(self) -> None:
        """Bring weights back to their bounds, after a step."""


class Contrastive(Objective):
    """Heads near their tails, by cosine: `contrast` on the rows themselves.

    Implements the idea of the user-item contrastive facet of multi-faceted pretraining; see
    `softmax.py`.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = Temperature(temperature)

    def forward(self, table: RowTable, batch: Batch) -> Float[Tensor, ""]:
        return contrast(table, batch, self.temperature)

    @torch.no_grad()
    def keep(self) -> None:
        self.temperature.keep()
