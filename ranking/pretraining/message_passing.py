"""Sums over edges, by PyTorch Geometric or by DGL.

Takes vectors of sources, gives vectors of targets; never samples and never trains.

    y_v = sum_{u -> v} f_uv x_u
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from ranking.errors import ConfigError
from ranking.pretraining.neighbors import Layer

#: Weighted sum per target: vectors of sources [u, D], factor per edge [e] -> [v, D].
Aggregate = Callable[[Tensor, Tensor, Layer], Tensor]


class _PygSum(MessagePassing):
    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, vectors: Tensor, factor: Tensor, layer: Layer) -> Tensor:
        edges = torch.stack([torch.from_numpy(layer.source), torch.from_numpy(layer.target)])
        size = (len(vectors), layer.targets)
        return self.propagate(edges, x=(vectors, None), factor=factor[:, None], size=size)

    def message(self, x_j: Tensor, factor: Tensor) -> Tensor:
        return x_j * factor


def _pyg() -> Aggregate:
    return _PygSum()


def _dgl() -> Aggregate:
    """Raises `ConfigError` where DGL is not installed or does not load."""
    try:
        import dgl
        from dgl import function
    except Exception as error:  # a wheel for another torch fails in many ways
        raise ConfigError(
            "backend should be pyg where DGL does not load; install the extra `dgl` to use it"
        ) from error

    def summed(vectors: Tensor, factor: Tensor, layer: Layer) -> Tensor:
        ends = (torch.from_numpy(layer.source), torch.from_numpy(layer.target))
        block: Any = dgl.create_block(ends, len(vectors), layer.targets)
        with block.local_scope():
            block.srcdata["x"] = vectors
            block.edata["f"] = factor[:, None]
            block.update_all(function.u_mul_e("x", "f", "m"), function.sum("m", "y"))
            return block.dstdata["y"]

    return summed


#: By name, for those who choose one.
AGGREGATES: dict[str, Callable[[], Aggregate]] = {"pyg": _pyg, "dgl": _dgl}
