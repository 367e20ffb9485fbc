"""ML-DCN: a low-rank crossing layer whose directions are chosen per example.

Takes x_0 and x_l, gives x_{l+1}; never looks at a feature's name.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise
from ranking.interactions.norms import norm_of

# Single-letter dimensions: B rows, D width, R rank, Q hidden width of the mask, T what it
# multiplies (R, or D), S rank of the second block.


class Sizes(NamedTuple):
    """Widths that follow from D and the dials."""

    #: r
    rank: int
    #: q = rho r
    hidden: int
    #: r, or D
    masked: int
    #: s: 2 D s is as near to the mask's D q + q + q t + t parameters as it can be.
    second: int


def sizes(width: int, config: CrossingConfig) -> Sizes:
    """Of each layer over D = `width` numbers."""
    rank = max(1, round(config.rank_share * width))
    hidden = max(1, round(config.mask_share * rank))
    masked = rank if config.mask_target == "rank" else width
    mask = linear(width, hidden) + linear(hidden, masked)
    return Sizes(rank, hidden, masked, max(1, round(mask.parameters / (2 * width))))


class MaskedCrossing(nn.Module):
    """One masked low-rank crossing layer.

    z = V x + b_z
    m = B relu(A s + a) + b_m,   s = x or x_0
    x' = LN(x + x_0 * (U (z * m) + b_u))

    Implements the idea of ML-DCN (arXiv 2602.09194). Differs from the paper: its text was not at
    hand, so the mask's source (x), its two linear maps without a squashing function, what it
    multiplies and the place of LN are our reading, and each is a dial. B starts at 0 and b_m at 1:
    the layer starts as low-rank DCNv2.

    `mask_source` first: s = x_0. `mask_target` width: x' = LN(x + x_0 * (m * (U z + b_u))).
    `mask_form` sigmoid: m = 2 sigmoid(B relu(A s + a) + b_m), b_m = 0 at the start. `norm` before:
    x' = x + x_0 * (...) where x is LN(x) within the brackets; none: no LN. `mask` constant: m is a
    trained vector, 1 at the start, the same for every row; second_block: m = 1, and U' (V' x) is
    added within the brackets, U' = 0 at the start, at a rank with as many parameters as the mask;
    none: m = 1.

    FLOPs of matrix products per row: 4 D r + 2 D q + 2 q r; other ones: r + 2 q + r + r + 3 D for
    b_z, a and relu, b_m, the product with m, and b_u, the product with x_0, the sum with x; 7 D of
    LN. Parameters: D r + r + D q + q + q r + r + r D + D, and 2 D of LN.
    """

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        rank, hidden, masked, second = sizes(width, config)
        self.config = config
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        instance, blocks = config.mask == "instance", config.mask == "second_block"
        self.mask_in = nn.Linear(width, hidden) if instance else None
        self.mask_out = nn.Linear(hidden, masked) if instance else None
        self.mask_constant = nn.Parameter(torch.ones(masked)) if config.mask == "constant" else None
        self.second_down = nn.Linear(width, second, bias=False) if blocks else None
        self.second_up = nn.Linear(second, width, bias=False) if blocks else None
        self.norm = norm_of(width, config.norm)
        if self.mask_out is not None:
            if config.mask_deviation:
                nn.init.normal_(self.mask_out.weight, std=config.mask_deviation)
            else:
                nn.init.zeros_(self.mask_out.weight)
            nn.init.constant_(self.mask_out.bias, 1.0 if config.mask_form == "linear" else 0.0)
        if self.second_up is not None:
            nn.init.zeros_(self.second_up.weight)

    def mask(
        self, first_BD: Float[Tensor, "B D"], x_BD: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B T"] | Float[Tensor, "T"] | None:
        """M of each row, or the one of all rows; None where it is 1."""
        if self.mask_in is None or self.mask_out is None:
            return self.mask_constant
        source_BD = x_BD if self.config.mask_source == "layer" else first_BD
        m_BT = self.mask_out(torch.relu(self.mask_in(source_BD)))
        return m_BT if self.config.mask_form == "linear" else 2 * torch.sigmoid(m_BT)

    def forward(
        self, first_BD: Float[Tensor, "B D"], x_BD: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        before, after = self.config.norm == "before", self.config.norm == "after"
        read_BD = self.norm(x_BD) if before else x_BD
        m = self.mask(first_BD, read_BD)
        z_BR = self.down(read_BD)
        if m is not None and self.config.mask_target == "rank":
            z_BR = z_BR * m
        weighted_BD = self.up(z_BR)
        if m is not None and self.config.mask_target == "width":
            weighted_BD = weighted_BD * m
        if self.second_down is not None and self.second_up is not None:
            weighted_BD = weighted_BD + self.second_up(self.second_down(read_BD))
        crossed_BD = x_BD + first_BD * weighted_BD
        return self.norm(crossed_BD) if after else crossed_BD


def cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers."""
    return _layer_cost(width, config) * config.layers


def _layer_cost(width: int, config: CrossingConfig) -> Cost:
    rank, hidden, masked, second = sizes(width, config)
    crossing = linear(width, rank) + linear(rank, width) + pointwise(2 * width)
    crossing += layer_norm(width, config.norm)
    if config.mask == "instance":
        crossing += linear(width, hidden) + pointwise(hidden) + linear(hidden, masked)
        crossing += pointwise(masked * (1 if config.mask_form == "linear" else 3))
    if config.mask == "constant":
        crossing += Cost(other=masked, parameters=masked)
    if config.mask == "second_block":
        crossing += linear(width, second, bias=False) + linear(second, width, bias=False)
        crossing += pointwise(width)
    return crossing
