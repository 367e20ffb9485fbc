"""What slow twins of crossing layers share: rows, weights, LayerNorm, counted operations."""

from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
#: One operation for each number that comes out.
_EACH = {aten.add, aten.mul, aten.relu, aten.tanh, aten.sigmoid, aten.gelu}
#: A product of matrices and a sum with a bias.
_BIASED = {aten.addmm, aten.baddbmm}
#: What moves numbers, and products of matrices, which torch's own counter counts.
_FREE = {
    aten.mm,
    aten.bmm,
    aten.t,
    aten.transpose,
    aten.permute,
    aten.view,
    aten._unsafe_view,
    aten.reshape,
    aten.expand,
    aten.unsqueeze,
    aten.squeeze,
    aten.slice,
    aten.select,
    aten.clone,
    aten.cat,
    aten.constant_pad_nd,
    aten.detach,
    aten.alias,
}


class OtherFlops(TorchDispatchMode):
    """Counts what torch's FlopCounterMode does not: everything but products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, name = func(*args, **(kwargs or {})), func.overloadpacket
        if name in _EACH or name in _BIASED:
            self.count += out.numel()
        elif name is aten.native_layer_norm:
            self.count += 7 * out[0].numel()
        elif name is aten._softmax:
            self.count += 3 * out.numel()
        elif name is aten.mean:
            self.count += args[0].numel()
        else:
            assert name in _FREE, f"{name} costs nobody knows what"
        return out


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, dtype=torch.float64, generator=generator)


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    """Every weight drawn, so that none hides behind a 0 or a 1 that it starts as."""
    torch.manual_seed(7)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.double()


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def normalized(x: np.ndarray, norm: torch.nn.Module) -> np.ndarray:
    """LayerNorm of one row by hand; the row itself where there is none."""
    if not isinstance(norm, torch.nn.LayerNorm):
        return x
    centered = x - x.mean()
    scaled = centered / np.sqrt((centered**2).mean() + norm.eps)
    return scaled * array(norm.weight) + array(norm.bias)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def affine(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    """W x + b of one row, a number at a time."""
    weight = array(layer.weight)
    shift = np.zeros(len(weight)) if layer.bias is None else array(layer.bias)
    return (
        np.array([sum(w * v for w, v in zip(line, x, strict=True)) for line in weight.tolist()])
        + shift
    )
