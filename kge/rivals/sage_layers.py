"""One layer of a relational GraphSAGE, on PyTorch Geometric or on DGL.

Takes vectors of sources, gives vectors of targets; never samples and never trains.

    x_v' = W_self x_v + W_near mean_{(u, s) -> v} (x_u * c_s) + b

Hamilton et al. 2017 (GraphSAGE), algorithm 1 with the mean aggregator; c_s, one vector per side of
a relation, is our design: it tells relations apart without a matrix for each.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from kge.errors import ConfigError
from kge.rivals.neighbors import Layer

# Dimensions: u sources, v targets, e edges, d.

#: Mean message per target.
Aggregate = Callable[[Tensor, Tensor, Layer], Tensor]


class SageLayer(nn.Module):
    """The layer; `aggregate` is the library's part of it."""

    def __init__(
        self, dim: int, sides: int, aggregate: Aggregate, generator: torch.Generator
    ) -> None:
        super().__init__()
        scale = dim**-0.5
        self.own = nn.Parameter(torch.randn(dim, dim, generator=generator) * scale)
        self.near = nn.Parameter(torch.randn(dim, dim, generator=generator) * scale)
        self.side = nn.Parameter(1.0 + 0.1 * torch.randn(sides, dim, generator=generator))
        self.bias = nn.Parameter(torch.zeros(dim))
        self._aggregate = aggregate

    def forward(self, vectors: Float[Tensor, "u d"], layer: Layer) -> Float[Tensor, "v d"]:
        factor = self.side[torch.from_numpy(layer.side)]
        near = self._aggregate(vectors, factor, layer)
        return vectors[: layer.targets] @ self.own + near @ self.near + self.bias


class _PygMean(MessagePassing):
    def __init__(self) -> None:
        super().__init__(aggr="mean")

    def forward(self, vectors: Tensor, factor: Tensor, layer: Layer) -> Tensor:
        edges = torch.stack([torch.from_numpy(layer.source), torch.from_numpy(layer.target)])
        size = (len(vectors), layer.targets)
        return self.propagate(edges, x=(vectors, None), factor=factor, size=size)

    def message(self, x_j: Tensor, factor: Tensor) -> Tensor:
        return x_j * factor


def _pyg() -> Aggregate:
    return _PygMean()


def _dgl() -> Aggregate:
    """Raises `ConfigError` where DGL is not installed or does not load."""
    try:
        import dgl
        from dgl import function
    except Exception as error:  # a wheel for another torch fails in many ways
        raise ConfigError(
            "backend should be pyg where DGL does not load; install the extra `dgl` to use it"
        ) from error

    def mean(vectors: Tensor, factor: Tensor, layer: Layer) -> Tensor:
        ends = (torch.from_numpy(layer.source), torch.from_numpy(layer.target))
        block: Any = dgl.create_block(ends, len(vectors), layer.targets)
        with block.local_scope():
            block.srcdata["x"] = vectors
            block.edata["c"] = factor
            block.update_all(function.u_mul_e("x", "c", "m"), function.mean("m", "n"))
            return block.dstdata["n"]

    return mean


#: By name, for those who choose one.
BACKENDS: dict[str, Callable[[], Aggregate]] = {"pyg": _pyg, "dgl": _dgl}
