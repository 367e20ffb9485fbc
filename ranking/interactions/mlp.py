"""A plain MLP, which crosses nothing: what every crossing has to beat.

Takes x_0, gives its last hidden numbers; never looks at a feature's name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise
from ranking.interactions.norms import norm_of

# Single-letter dimensions: B rows, D width, I width of what a layer reads, H hidden width.


def hidden_width(width: int, config: CrossingConfig) -> int:
    """H."""
    return max(1, round(config.hidden_share * width))


class MlpLayer(nn.Module):
    """One hidden layer.

    x' = LN(relu(W x + b))

    `norm` before: relu(W LN(x) + b); none: no LN. Our design. FLOPs of matrix products per row:
    2 D h of the first layer, 2 h^2 of each further one; other ones: 2 h for b and relu; 7 h of LN
    (7 times the width that it reads before). Parameters: D h + h, h^2 + h, and 2 h of LN.
    """

    def __init__(self, width: int, out: int, config: CrossingConfig) -> None:
        super().__init__()
        self.place = config.norm
        self.map = nn.Linear(width, out)
        self.norm = norm_of(width if config.norm == "before" else out, config.norm)

    def forward(self, x_BI: Float[Tensor, "B I"]) -> Float[Tensor, "B H"]:
        if self.place == "before":
            return torch.relu(self.map(self.norm(x_BI)))
        hidden_BH = torch.relu(self.map(x_BI))
        return self.norm(hidden_BH) if self.place == "after" else hidden_BH


class MlpStack(nn.Sequential):
    """Hidden layers one behind the other."""

    def __init__(self, width: int, config: CrossingConfig) -> None:
        out = hidden_width(width, config)
        super().__init__(*(MlpLayer(each, out, config) for each in _read(width, config)))


def cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers."""
    out, whole = hidden_width(width, config), Cost()
    for each in _read(width, config):
        whole += linear(each, out) + pointwise(out)
        whole += layer_norm(each if config.norm == "before" else out, config.norm)
    return whole


def _read(width: int, config: CrossingConfig) -> list[int]:
    """What each layer reads: x_0, then what the layer before gave."""
    return [width] + [hidden_width(width, config)] * (config.layers - 1)
