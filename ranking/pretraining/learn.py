"""The loop: pairs move a table, whatever its objectives are.

Takes a graph, objectives and dials, yields `Progress` after every step, gives the rows; never reads
a clock, writes a file or sees a label.
"""

from collections.abc import Generator, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batches
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.objective import Objective
from ranking.pretraining.progress import Progress

# Dimensions: N entities, D numbers of a vector.


def begun(graph: FacetGraph, dim: int, seed: int) -> Float[Tensor, "N D"]:
    """Rows before the first step: normal numbers, about 1 long."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(graph.entity_count, dim, generator=generator) * dim**-0.5


def learn(
    graph: FacetGraph,
    objectives: Sequence[Objective],
    config: PretrainingConfig,
    rows: Float[Tensor, "N D"],
    *,
    note: str,
) -> Generator[Progress, None, Float[Tensor, "N D"]]:
    """Move rows by the sum of the objectives' losses, and give them; `rows` stay as they are.

    The same graph, rows, dials and number of threads give the same result. Raises
    `FacetUnavailable` where there are no pairs.
    """
    table = RowTable(len(rows), rows.shape[1], _weight=rows.clone())
    weight = cast(nn.Parameter, table.weight)
    mover = table.mover = LazyAdamW(weight, rate=config.learning_rate, decay=0.0)
    others = [one for objective in objectives for one in objective.parameters()]
    rest = torch.optim.Adam(others, lr=config.weight_rate) if others else None
    batches = Batches(graph, config)
    for step, batch in enumerate(batches, start=1):
        mover.forget()
        if rest is not None:
            rest.zero_grad(set_to_none=True)
        loss = torch.stack([objective(table, batch) for objective in objectives]).sum()
        loss.backward()
        mover.step()
        if rest is not None:
            rest.step()
        for objective in objectives:
            objective.keep()
        yield Progress(step, batches.total, float(loss.detach()), note)
    mover.settle()
    table.mover = None
    return weight.detach()
