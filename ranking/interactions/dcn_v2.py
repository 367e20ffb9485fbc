"""DCNv2 in its low-rank form: the crossing layer that ML-DCN has to beat.

Takes x_0 and x_l, gives x_{l+1}; never looks at a feature's name.
"""

from jaxtyping import Float
from torch import Tensor, nn

# Single-letter dimensions: B rows, D width, R rank.


class LowRankCrossing(nn.Module):
    """One low-rank crossing layer.

    x_{l+1} = LN(x_l + x_0 * (U (V x_l) + b))

    Implements the idea of DCN V2 (arXiv 2008.13535, equation 2). Differs from the paper: LN, which
    every rival of ML-DCN gets too; `layer_norm=False` leaves it out.
    """

    def __init__(self, width: int, rank: int, *, layer_norm: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)
        self.norm = nn.LayerNorm(width) if layer_norm else None

    def forward(
        self, first_BD: Float[Tensor, "B D"], x_BD: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        crossed_BD = x_BD + first_BD * self.up(self.down(x_BD))
        return crossed_BD if self.norm is None else self.norm(crossed_BD)


def matrix_flops(width: int, rank: int) -> int:
    """Matrix-product FLOPs per row and layer, 2 per multiply-add: 4 D r."""
    return 4 * width * rank
