"""A table that begins with what another one knows: by id, in whatever slots.

Takes rows of a table of before, or of one that was pretrained, gives those of a new table; never
decides who has which slot. Ids that the other does not know begin among those that it knows.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ranking.errors import TableMismatch
from ranking.idtables.beginning import anchor_mixture
from ranking.idtables.placement import Placement
from ranking.idtables.succession import succession
from ranking.idtables.table import IdTable

#: Known ids that a new one is compared with, the first slots: those of the most frequent ids.
_ANCHORS = 4096


class KnownRows(NamedTuple):
    """Who has which row of another table, and the rows, [placement.row_count, E]."""

    placement: Placement
    rows: Tensor
    #: What an optimizer remembers of them, as its mover names it: [placement.row_count, ...].
    states: Mapping[str, Tensor] = MappingProxyType({})


@torch.no_grad()
def begin_with(
    table: IdTable,
    placement: Placement,
    known: KnownRows,
    *,
    vectors: Float[Tensor, "own d"] | None = None,
) -> None:
    """Let the rows of a table begin where those of the same ids ended in another.

    `vectors`: of the ids with a row of their own, in order of their slots, zero where none is
    known. With them an id that the other table does not know begins at the mixture of its anchors
    there (`anchor_mixture`); without them it stays where it is. Raises `TableMismatch` for rows of
    another width, or another number of them than ids say.
    """
    count, width = known.rows.shape
    if (count, width) != (known.placement.row_count, table.embedding_dim):
        raise TableMismatch(
            f"known rows should be {known.placement.row_count} of {table.embedding_dim} numbers, "
            f"received {count} of {width}; rows go on in tables of the same ids.dim alone"
        )
    step = succession(known.placement, placement)
    now = torch.from_numpy(step.now)
    table.weight[now] = known.rows[torch.from_numpy(step.before)].to(table.weight.dtype)
    if vectors is None or not len(step.admitted):
        return
    own = now[now < len(placement.exclusive)].sort().values[:_ANCHORS]
    seen = own[vectors[own].abs().sum(dim=1) > 0]
    new = torch.from_numpy(step.admitted)
    begun = anchor_mixture(vectors[new], vectors[seen], table.weight[seen].float())
    table.weight[new] = begun.to(table.weight.dtype)
