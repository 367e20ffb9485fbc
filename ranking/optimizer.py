"""Who moves a ranker's weights: AdamW, row by row where a table is large, or Adagrad on ID rows.

Takes a model and dials, gives what steps it; never sees a batch or a loss.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from ranking.config import RankerConfig
from ranking.idtables.backends import by_adagrad
from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.moving import Mover
from ranking.idtables.table import IdTable, RowTable
from ranking.model import RankerModel

#: Rows of a table, by rows of a batch, from which on it is moved row by row. Below, the arithmetic
#: of a whole table costs less than finding out which rows were named.
LARGE = 16


class RankerOptimizer:
    """AdamW over all weights of a model, large tables row by row; a step costs what it touches."""

    def __init__(self, whole: torch.optim.AdamW, tables: Sequence[RowTable]) -> None:
        #: Moves everything but the rows of `tables`, each of which has a mover.
        self.whole = whole
        self.tables = tables

    def zero_grad(self) -> None:
        self.whole.zero_grad(set_to_none=True)
        for mover in self._movers():
            mover.forget()

    def step(self) -> None:
        self.whole.step()
        for mover in self._movers():
            mover.step()

    def settle(self) -> None:
        """Bring every row up to now: before weights are read, copied or judged."""
        for mover in self._movers():
            mover.settle()

    def release(self) -> None:
        """Leave the model as any other: tables forget who moved them, and give back that memory."""
        self.settle()
        for table in self.tables:
            table.mover = None

    def _movers(self) -> list[Mover]:
        return [table.mover for table in self.tables if table.mover is not None]


def make_optimizer(model: RankerModel, config: RankerConfig) -> RankerOptimizer:
    """AdamW in three groups: ID tables (slow, no decay), matrices (decay), the rest (no decay).

    Each keeps its rate and decay where its table is moved row by row; `table_share` times the rate
    is what ID tables have, unless `ids.optimizer` says that Adagrad moves them, however small.
    """
    dials = config.training
    slow = dials.learning_rate * dials.table_share
    by_row: list[RowTable] = []
    ids: list[nn.Parameter] = []
    for table in model.modules():
        if not isinstance(table, RowTable):
            continue
        weight = cast(nn.Parameter, table.weight)
        is_ids = isinstance(table, IdTable)
        table.mover = None
        if weight.requires_grad and is_ids and config.ids.optimizer == "adagrad":
            table.mover = by_adagrad(weight, config.ids)
        elif weight.requires_grad and table.num_embeddings > LARGE * dials.batch:
            rate = slow if is_ids else dials.learning_rate
            decay = 0.0 if is_ids else dials.learning_rate * dials.weight_decay
            table.mover = LazyAdamW(weight, rate=rate, decay=decay)
        elif is_ids:
            ids.append(weight)
        if table.mover is not None:
            by_row.append(table)
    taken = {id(weight) for weight in [*ids, *(table.weight for table in by_row)]}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    groups = [
        {"params": ids, "lr": slow, "weight_decay": 0.0},
        {"params": [p for p in others if p.ndim > 1], "weight_decay": dials.weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over a weight instead of a dozen, which is most of a small step.
    whole = torch.optim.AdamW(groups, lr=dials.learning_rate, fused=True)
    return RankerOptimizer(whole, by_row)
