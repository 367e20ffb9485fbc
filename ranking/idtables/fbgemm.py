"""Adagrad by row in FBGEMM's fused kernel, where it is installed (extra `fbgemm`).

Takes row numbers, gives those rows, and moves them by their gradients; never holds a copy of the
table: FBGEMM's memory becomes the table's.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ranking.idtables.lazy import EPSILON

#: FBGEMM reads numbers of a row by so many at once.
GROUP = 4


class FusedAdagrad:
    """As `RowwiseAdagrad`, of float32: sorting, summing and moving are one pass in C++.

    Differs from FBGEMM's own way, in which the backward pass moves rows at once: here a step does,
    so that a batch may go through the model in pieces, and what is forgotten moves nothing. Its
    price is that rows are gathered twice.
    """

    def __init__(self, weight: nn.Parameter, *, rate: float) -> None:
        self._bags = _bags(len(weight), weight.shape[1], rate)
        [held] = self._bags.split_embedding_weights()
        held.copy_(weight.detach())
        weight.data = held
        self._weight = held
        self._taken: list[tuple[Tensor, Tensor]] = []

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any E"]:
        if not rows.numel():
            return self._weight.new_zeros((*rows.shape, self._weight.shape[1]))
        named = rows.flatten()
        value = self._weight.index_select(0, named).requires_grad_()
        self._taken.append((named, value))
        return value.view(*rows.shape, -1)

    def forget(self) -> None:
        self._taken.clear()

    def step(self) -> None:
        looked_up, self._taken = self._taken, []
        told = [(rows, value.grad) for rows, value in looked_up if value.grad is not None]
        if not told:
            return
        rows = torch.cat([rows for rows, _ in told])
        gradient = torch.cat([gradient for _, gradient in told])
        with torch.enable_grad():
            # One row a bag: FBGEMM has no other way to ask for single rows on every processor.
            found = self._bags(rows, torch.arange(len(rows) + 1))
            found.backward(gradient)

    def settle(self) -> None:
        """Nothing to do: a row that is not named does not move, and memory is shared."""

    def states(self) -> dict[str, Tensor]:
        return {"sum": self._sum()}

    def resume(self, states: dict[str, Tensor]) -> None:
        self._sum().copy_(states["sum"])

    def _sum(self) -> Tensor:
        [states] = self._bags.split_optimizer_states()
        found: Tensor = states[0]
        return found


def _bags(count: int, dim: int, rate: float) -> Any:
    from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    return SplitTableBatchedEmbeddingBagsCodegen(
        [(count, dim, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=rate,
        eps=EPSILON,
        weights_precision=SparseType.FP32,
        output_dtype=SparseType.FP32,
        pooling_mode=PoolingMode.SUM,
        device=torch.device("cpu"),
    )
