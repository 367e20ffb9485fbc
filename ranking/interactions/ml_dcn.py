"""ML-DCN: a low-rank crossing layer whose directions are chosen per example.

Takes x_0 and x_l, gives x_{l+1}; never looks at a feature's name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Single-letter dimensions: B rows, D width, R rank, Q hidden width of the mask.


class MaskedCrossing(nn.Module):
    """One masked low-rank crossing layer.

    z = V x_l + b_z
    m = B relu(A x_l + a) + b_m
    x_{l+1} = LN(x_l + x_0 * (U (z * m) + b_u))

    Implements the idea of ML-DCN (arXiv 2602.09194). Differs from the paper: its text was not at
    hand, so the mask's source (x_l), its two linear maps without a squashing function and the place
    of LN are our reading. B starts at 0 and b_m at 1: the layer starts as low-rank DCNv2. With
    `mask=False`, m = 1 and A, B, a, b_m do not exist; `layer_norm=False` leaves LN out.
    """

    def __init__(
        self, width: int, rank: int, hidden: int, *, mask: bool = True, layer_norm: bool = True
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        self.mask_in = nn.Linear(width, hidden) if mask else None
        self.mask_out = nn.Linear(hidden, rank) if mask else None
        self.norm = nn.LayerNorm(width) if layer_norm else None
        if self.mask_out is not None:
            nn.init.zeros_(self.mask_out.weight)
            nn.init.ones_(self.mask_out.bias)

    def mask(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B R"] | None:
        """M of each row, None where the mask is switched off."""
        if self.mask_in is None or self.mask_out is None:
            return None
        return self.mask_out(torch.relu(self.mask_in(x_BD)))

    def forward(
        self, first_BD: Float[Tensor, "B D"], x_BD: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        z_BR = self.down(x_BD)
        m_BR = self.mask(x_BD)
        if m_BR is not None:
            z_BR = z_BR * m_BR
        crossed_BD = x_BD + first_BD * self.up(z_BR)
        return crossed_BD if self.norm is None else self.norm(crossed_BD)


def matrix_flops(width: int, rank: int, hidden: int) -> int:
    """Matrix-product FLOPs per row and layer, 2 per multiply-add: 4 D r + 2 D q + 2 q r."""
    return 4 * width * rank + 2 * width * hidden + 2 * hidden * rank
