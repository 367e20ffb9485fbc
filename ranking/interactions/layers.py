"""Crossing layers one behind the other, each beside x_0.

Takes x_0, gives x_L of the same width; never knows which crossing its layers are.
"""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn


class CrossingLayers(nn.ModuleList):
    """x_{l+1} = layer_l(x_0, x_l). A list of modules, so that weights are named by their number."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers)

    def forward(self, first_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        x_BD = first_BD
        for layer in self:
            x_BD = layer(first_BD, x_BD)
        return x_BD
