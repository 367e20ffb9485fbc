"""DCNv2: full, low-rank, and as a mixture of low-rank experts; what ML-DCN has to beat.

Takes x_0 and x_l, gives x_{l+1}; never looks at a feature's name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise, softmax
from ranking.interactions.norms import norm_of

# Single-letter dimensions: B rows, D width, R rank, K experts.


def rank_of(width: int, config: CrossingConfig) -> int:
    """R of a layer, or of each expert."""
    return max(1, round(config.rank_share * width))


class FullCrossing(nn.Module):
    """One crossing layer with a whole matrix.

    x_{l+1} = LN(x_l + x_0 * (W x_l + b))

    Implements the idea of DCN V2 (arXiv 2008.13535, equation 1). Differs from the paper: LN, which
    every rival of ML-DCN gets too, at the place that `norm` names: before is
    x_l + x_0 * (W LN(x_l) + b).

    FLOPs of matrix products per row: 2 D^2; other ones: 3 D for b, the product with x_0, the sum
    with x_l; 7 D of LN. Parameters: D^2 + D, and 2 D of LN.
    """

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        self.place = config.norm
        self._matrices(width, config)
        self.norm = norm_of(width, config.norm)

    def _matrices(self, width: int, _config: CrossingConfig) -> None:
        self.whole = nn.Linear(width, width)

    def weights(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """What x_0 is multiplied by."""
        return self.whole(x_BD)

    def forward(
        self, first_BD: Float[Tensor, "B D"], x_BD: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        read_BD = self.norm(x_BD) if self.place == "before" else x_BD
        crossed_BD = x_BD + first_BD * self.weights(read_BD)
        return self.norm(crossed_BD) if self.place == "after" else crossed_BD


class LowRankCrossing(FullCrossing):
    """One crossing layer whose matrix is a product of two narrow ones.

    x_{l+1} = LN(x_l + x_0 * (U (V x_l) + b))

    Implements the idea of DCN V2 (arXiv 2008.13535, equation 2); LN as in `FullCrossing`.

    FLOPs of matrix products per row: 4 D r; other ones: 3 D, and 7 D of LN. Parameters: 2 D r + D,
    and 2 D of LN.
    """

    def _matrices(self, width: int, config: CrossingConfig) -> None:
        rank = rank_of(width, config)
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)

    def weights(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return self.up(self.down(x_BD))


class MixtureCrossing(FullCrossing):
    """One crossing layer of K low-rank experts, mixed by a gate.

    x_{l+1} = LN(x_l + sum_k g_k x_0 * (U_k tanh(C_k tanh(V_k x_l)) + b)),   g = softmax(G x_l)

    Implements the idea of DCN V2 (arXiv 2008.13535, equations 3 and 4); LN as in `FullCrossing`.
    The g_k add up to 1, so b is added once, and all U_k are one matrix behind the weighted experts.

    FLOPs of matrix products per row: 4 D K r + 2 K r^2 + 2 D K; other ones: 3 K r for two tanh and
    the product with g, 3 K of the softmax, 3 D, and 7 D of LN. Parameters:
    2 D K r + K r^2 + D K + D, and 2 D of LN.
    """

    def _matrices(self, width: int, config: CrossingConfig) -> None:
        rank, experts = rank_of(width, config), config.experts
        self.down = nn.Linear(width, experts * rank, bias=False)
        self.inner = nn.Parameter(torch.empty(experts, rank, rank))
        bound = rank**-0.5  # as torch draws a square Linear
        nn.init.uniform_(self.inner, -bound, bound)
        self.up = nn.Linear(experts * rank, width)
        self.gate = nn.Linear(width, experts, bias=False)

    def weights(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        experts, rank, _ = self.inner.shape
        z_BKR = torch.tanh(self.down(x_BD)).unflatten(1, (experts, rank))
        z_KBR = torch.bmm(z_BKR.transpose(0, 1), self.inner.transpose(1, 2))
        z_BKR = torch.tanh(z_KBR).transpose(0, 1)
        gate_BK = torch.softmax(self.gate(x_BD), dim=1)
        return self.up((z_BKR * gate_BK[:, :, None]).flatten(1))


def full_cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers of `FullCrossing`."""
    return (_around(width, config) + linear(width, width)) * config.layers


def low_rank_cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers of `LowRankCrossing`."""
    rank = rank_of(width, config)
    matrices = linear(width, rank, bias=False) + linear(rank, width)
    return (_around(width, config) + matrices) * config.layers


def mixture_cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers of `MixtureCrossing`."""
    rank, experts = rank_of(width, config), config.experts
    whole = experts * rank
    matrices = linear(width, whole, bias=False) + linear(whole, width)
    matrices += linear(rank, rank, bias=False) * experts
    matrices += linear(width, experts, bias=False) + softmax(experts) + pointwise(3 * whole)
    return (_around(width, config) + matrices) * config.layers


def _around(width: int, config: CrossingConfig) -> Cost:
    """What all three have: the product with x_0, the sum with x_l, LN."""
    return pointwise(2 * width) + layer_norm(width, config.norm)
