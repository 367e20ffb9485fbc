"""Rows that are spread over the processes of a group, by TorchRec (extra `distributed`).

Takes row numbers, gives those rows wherever they lie, and moves them by their gradients; never
opens a group: who starts the processes does. Every process of the group looks up, steps and settles
as often as all others, each with rows of its own batch.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ranking.errors import BackendMissing
from ranking.idtables.lazy import EPSILON

_NAME = "ids"


class ShardedAdagrad:
    """As `RowwiseAdagrad`, of float32, by rows over a group; gradients of all processes are summed.

    Differs from TorchRec's own way, in which the backward pass moves rows at once: here a step
    does, so rows travel twice, once without their graph. `weight` is whole in every process after
    `settle`, because a ranker is sealed whole.
    """

    def __init__(self, weight: nn.Parameter, *, rate: float) -> None:
        if not dist.is_initialized():
            raise BackendMissing(
                "torchrec needs a group of processes, received none; start them with torchrun, or "
                "choose backend auto"
            )
        self._weight = weight.detach()
        self._sharded = _spread(len(weight), weight.shape[1], rate)
        self._taken: list[tuple[Tensor, Tensor]] = []
        self._spread_weight()

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any E"]:
        named = rows.flatten()
        with torch.no_grad():
            value = self._values(named).clone()
        value.requires_grad_()
        self._taken.append((named, value))
        return value.view(*rows.shape, self._weight.shape[1])

    def forget(self) -> None:
        self._taken.clear()

    def step(self) -> None:
        """One backward pass over all that was looked up; processes that looked up none join in."""
        looked_up, self._taken = self._taken, []
        rows = torch.cat([torch.empty(0, dtype=torch.int64), *(rows for rows, _ in looked_up)])
        gradients = [
            torch.zeros_like(value) if value.grad is None else value.grad for _, value in looked_up
        ]
        empty = self._weight.new_empty((0, self._weight.shape[1]))
        with torch.enable_grad():
            self._values(rows).backward(torch.cat([empty, *gradients]) * _divided_by())

    @torch.no_grad()
    def settle(self) -> None:
        """Bring all shards together in `weight`, in every process."""
        gathered = torch.zeros_like(self._weight)
        for first, shard in self._shards():
            gathered[first : first + len(shard)] = shard
        dist.all_reduce(gathered)
        self._weight.copy_(gathered)

    def states(self) -> dict[str, Tensor]:
        gathered = torch.zeros(len(self._weight))
        for first, total in self._sums():
            gathered[first : first + len(total)] = total.flatten()
        dist.all_reduce(gathered)
        return {"sum": gathered}

    def resume(self, states: dict[str, Tensor]) -> None:
        """Rows are read anew from `weight`, which somebody may have written to since."""
        self._spread_weight()
        for first, total in self._sums():
            total.copy_(states["sum"][first : first + len(total)].view_as(total))

    def _values(self, rows: Int64[Tensor, "m"]) -> Float[Tensor, "m E"]:
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

        # TorchRec cannot be asked for nothing. One row more, without a gradient, moves nothing.
        rows = torch.cat([rows, rows.new_zeros(1)])
        one_each = torch.ones(len(rows), dtype=torch.int64)
        asked = KeyedJaggedTensor(keys=[_NAME], values=rows, lengths=one_each)
        told = self._sharded(asked).wait()
        found: Tensor = told[_NAME].values()
        return found[:-1]

    def _spread_weight(self) -> None:
        for first, shard in self._shards():
            shard.copy_(self._weight[first : first + len(shard)])

    def _shards(self) -> Iterator[tuple[int, Tensor]]:
        """First row and rows of each shard of this process."""
        for held in self._sharded.state_dict().values():
            for shard in held.local_shards():
                yield shard.metadata.shard_offsets[0], shard.tensor.detach()

    def _sums(self) -> Iterator[tuple[int, Tensor]]:
        """First row and sums of each shard of this process."""
        firsts = (first for first, _ in self._shards())
        yield from zip(firsts, _states(self._sharded.fused_optimizer), strict=True)


def _divided_by() -> int:
    """By how much TorchRec divides gradients on their way to the rows; its default is a mean."""
    from torchrec.distributed.comm_ops import get_gradient_division

    return dist.get_world_size() if get_gradient_division() else 1


def _states(optimizer: Any) -> Iterator[Tensor]:
    """The sums of the shards that lie here, as TorchRec's fused optimizer tells them."""
    for told in optimizer.state_dict()["state"].values():
        for held in told.values():
            for shard in held.local_shards():
                yield shard.tensor.detach()


def _spread(count: int, dim: int, rate: float) -> Any:
    """A collection of one table, by rows over the group that there is."""
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed.embedding import EmbeddingCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
    from torchrec.distributed.types import ShardingEnv, ShardingPlan
    from torchrec.modules.embedding_configs import EmbeddingConfig
    from torchrec.modules.embedding_modules import EmbeddingCollection

    table = EmbeddingConfig(
        name=_NAME, embedding_dim=dim, num_embeddings=count, feature_names=[_NAME]
    )
    whole = EmbeddingCollection(tables=[table], device=torch.device("meta"))
    dials = {"optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD, "learning_rate": rate, "eps": EPSILON}
    sharder = EmbeddingCollectionSharder(fused_params=dials)
    processes = dist.get_world_size()
    plan = construct_module_sharding_plan(
        whole,
        per_param_sharding={_NAME: row_wise(compute_kernel="fused")},
        sharder=sharder,
        local_size=processes,
        world_size=processes,
        device_type="cpu",
    )
    group = dist.group.WORLD
    return DistributedModelParallel(
        whole,
        env=ShardingEnv.from_process_group(group),
        device=torch.device("cpu"),
        plan=ShardingPlan({"": plan}),
        sharders=[sharder],
    )
