"""Chosen weights of any network under noise: its smoothed scores, loss and gradient, by draws.

Takes a network, the names of its weights and rows, gives scores and losses of any such weights;
never changes the network. Where the weights are those of a linear last layer, `linear.py` needs no
draws.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

# Single-letter dimensions: B rows, P smoothed weights, M draws of noise.

#: Rows that go through the network at once, with every draw; and with a draw of their own each.
_BLOCK, _BLOCK_OF_DRAWS = 1024, 256
_EDGE = 1e-12


@dataclass(frozen=True)
class Smoothable:
    """A network of which some weights are smoothed: it takes rows and gives a logit for each.

    The network is copied, and used in double precision, without dropout. `names` are those of its
    parameters that are smoothed, in the order in which they stand in a row of numbers.
    """

    network: nn.Module
    names: Sequence[str]

    def __post_init__(self) -> None:
        alone = copy.deepcopy(self.network).double().eval().requires_grad_(requires_grad=False)
        object.__setattr__(self, "network", alone)

    @property
    def weights(self) -> Float64[np.ndarray, "P"]:
        """The smoothed weights as they are, in one row."""
        parameters = dict(self.network.named_parameters())
        return np.concatenate([parameters[name].numpy().ravel() for name in self.names])

    def logits(
        self, theta: Float64[Tensor, "P"], inputs: tuple[Tensor, ...]
    ) -> Float64[Tensor, "B"]:
        """Logits of rows under weights that take the place of the smoothed ones."""
        parameters, first = dict(self.network.named_parameters()), 0
        taken: dict[str, Tensor] = {}
        for name in self.names:
            shape = parameters[name].shape
            taken[name] = theta[first : first + shape.numel()].reshape(shape)
            first += shape.numel()
        return functional_call(self.network, taken, inputs)


def mirrored_noise(size: int, draws: int, scale: float, seed: int) -> Float64[Tensor, "M P"]:
    """Draws of e ~ N(0, s^2 I), the second half of them the first half's mirror images.

    What is odd in e then has no error at all (antithetic variates).
    """
    generator = torch.Generator().manual_seed(seed)
    half = scale * torch.randn(draws // 2, size, generator=generator, dtype=torch.float64)
    return torch.cat([half, -half])


def mean_scores(
    smoothable: Smoothable,
    theta: NDArray[np.float64],
    inputs: tuple[Tensor, ...],
    noise: Float64[Tensor, "M P"],
) -> Float64[np.ndarray, "B"]:
    """The mean score of each row over some draws: what a service with fixed draws answers."""
    with torch.no_grad():
        weights = torch.tensor(theta)
        found = [_means(smoothable, weights, part, noise) for part in _parts(inputs, _BLOCK)]
    return torch.cat(found).numpy()


def single_scores(
    smoothable: Smoothable,
    theta: NDArray[np.float64],
    inputs: tuple[Tensor, ...],
    *,
    scale: float,
    seed: int,
) -> Float64[np.ndarray, "B"]:
    """The score of each row under a draw of its own: independent, each with mean g(x).

    What is drawn by these scores once more is a yes with chance g(x), exactly: see
    `certificates.count`.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(theta)

    def one(noise: Tensor, *row: Tensor) -> Tensor:
        alone = tuple(column[None] for column in row)
        return smoothable.logits(weights + noise, alone)[0]

    found = []
    with torch.no_grad():
        for part in _parts(inputs, _BLOCK_OF_DRAWS):
            shape = (len(part[0]), len(theta))
            noise = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
            found.append(torch.sigmoid(vmap(one)(noise, *part)))
    return torch.cat(found).numpy()


class NetworkObjective:
    """The mean log loss of smoothed scores over fixed draws, as a function of smoothed weights.

    L(theta) = sum_i w_i l(mean_m f_{theta + e_m}(x_i), y_i) / sum_i w_i

    The draws are the same for every theta, so that it is an ordinary function with a gradient. Our
    design.
    """

    def __init__(
        self,
        smoothable: Smoothable,
        inputs: tuple[Tensor, ...],
        labels: Int64[np.ndarray, "B"],
        weight: Float64[np.ndarray, "B"],
        noise: Float64[Tensor, "M P"],
    ) -> None:
        self.size = noise.shape[1]
        self._smoothable, self._inputs, self._noise = smoothable, inputs, noise
        self._labels = torch.from_numpy(labels.astype(np.float64))
        self._share = torch.from_numpy(weight / weight.sum())

    def loss(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its gradient, rows a block at a time."""
        total, gradient = 0.0, np.zeros(self.size)
        for part in _parts((*self._inputs, self._labels, self._share), _BLOCK):
            *inputs, labels, share = part
            weights = torch.tensor(theta, requires_grad=True)
            means = _means(self._smoothable, weights, tuple(inputs), self._noise)
            score = means.clamp(_EDGE, 1.0 - _EDGE)
            losses = nn.functional.binary_cross_entropy(score, labels, reduction="none")
            loss = share @ losses
            (found,) = torch.autograd.grad(loss, weights)
            total += float(loss.detach())
            gradient += found.numpy()
        return total, gradient


def _means(
    smoothable: Smoothable,
    theta: Float64[Tensor, "P"],
    inputs: tuple[Tensor, ...],
    noise: Float64[Tensor, "M P"],
) -> Float64[Tensor, "B"]:
    logits_MB = vmap(lambda e: smoothable.logits(theta + e, inputs))(noise)
    return torch.sigmoid(logits_MB).mean(dim=0)


def _parts(columns: tuple[Tensor, ...], size: int) -> Iterator[tuple[Tensor, ...]]:
    for first in range(0, len(columns[0]), size):
        yield tuple(column[first : first + size] for column in columns)
