"""MaskNet: hidden layers of what a mask made from x_0 has weighted, in a row or side by side.

Takes x_0, gives what the last block gives, or what all of them give; never looks at a feature's
name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise
from ranking.interactions.norms import norm_of

# Single-letter dimensions: B rows, D width, M width of what is masked, H width of a block's output,
# N blocks.


def block_width(width: int, config: CrossingConfig) -> int:
    """H."""
    return max(1, round(config.hidden_share * width))


def _mask_width(masked: int, config: CrossingConfig) -> int:
    """Q: of the mask's hidden layer."""
    return max(1, round(config.mask_share * masked))


class MaskBlock(nn.Module):
    """One block.

    m = B relu(A x_0 + a) + b
    y = relu(LN(W (m * v)))

    Implements the idea of MaskNet (arXiv 2102.07619, section 3). Differs from the paper:
    `norm` before is y = relu(W LN(m * v)), none leaves LN out; and x_0 is one LayerNorm'd
    concatenation, from which the mask is made as well, where the paper normalizes each field for v
    and makes the mask from raw ones.

    FLOPs of matrix products per row: 2 D q + 2 q M + 2 M h; other ones: 2 q for a and relu, M for
    b, M for the product, h for relu; 7 h of LN (7 M before). Parameters: D q + q + q M + M + M h,
    and 2 h of LN (2 M before).
    """

    def __init__(self, width: int, masked: int, config: CrossingConfig) -> None:
        super().__init__()
        hidden, out = _mask_width(masked, config), block_width(width, config)
        self.place = config.norm
        self.mask_in = nn.Linear(width, hidden)
        self.mask_out = nn.Linear(hidden, masked)
        self.out = nn.Linear(masked, out, bias=False)
        self.norm = norm_of(masked if config.norm == "before" else out, config.norm)

    def forward(
        self, first_BD: Float[Tensor, "B D"], v_BM: Float[Tensor, "B M"]
    ) -> Float[Tensor, "B H"]:
        m_BM = self.mask_out(torch.relu(self.mask_in(first_BD)))
        masked_BM = m_BM * v_BM
        if self.place == "before":
            masked_BM = self.norm(masked_BM)
        y_BH = self.out(masked_BM)
        return torch.relu(self.norm(y_BH) if self.place == "after" else y_BH)


class SerialMaskNet(nn.Module):
    """Blocks one behind the other: v_1 = x_0, v_{l+1} = block_l(x_0, v_l), gives v_{L+1}.

    FLOPs of matrix products per row: 4 rho D^2 + 2 D h of the first block, 2 D q + 2 q h + 2 h^2 of
    each further one, q = rho h; the rest as in `MaskBlock`.
    """

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        masked = _masked(width, config)
        self.blocks = nn.ModuleList(MaskBlock(width, each, config) for each in masked)

    def forward(self, first_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        v_BM = first_BD
        for block in self.blocks:
            v_BM = block(first_BD, v_BM)
        return v_BM


class ParallelMaskNet(nn.Module):
    """N blocks side by side: gives [block_1(x_0, x_0) ; ... ; block_n(x_0, x_0)].

    FLOPs of matrix products per row: n (4 rho D^2 + 2 D h); the rest as in `MaskBlock`.
    """

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MaskBlock(width, width, config) for _ in range(config.layers))

    def forward(self, first_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B NH"]:
        return torch.cat([block(first_BD, first_BD) for block in self.blocks], dim=1)


def serial_cost(width: int, config: CrossingConfig) -> Cost:
    """Of all blocks of `SerialMaskNet`."""
    whole = Cost()
    for masked in _masked(width, config):
        whole += _block_cost(width, masked, config)
    return whole


def parallel_cost(width: int, config: CrossingConfig) -> Cost:
    """Of all blocks of `ParallelMaskNet`."""
    return _block_cost(width, width, config) * config.layers


def _masked(width: int, config: CrossingConfig) -> list[int]:
    """What each of the blocks in a row masks: x_0, then what the block before gave."""
    return [width] + [block_width(width, config)] * (config.layers - 1)


def _block_cost(width: int, masked: int, config: CrossingConfig) -> Cost:
    hidden, out = _mask_width(masked, config), block_width(width, config)
    mask = linear(width, hidden) + pointwise(hidden) + linear(hidden, masked)
    return (
        mask
        + pointwise(masked)
        + linear(masked, out, bias=False)
        + layer_norm(masked if config.norm == "before" else out, config.norm)
        + pointwise(out)
    )
