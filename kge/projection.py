"""The matrices M_r: full, of low rank, or block-diagonal, as PyKEEN representations.

Takes sizes and a seed, gives representations whose values are k x d matrices; knows no score.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pykeen.nn.representation import Representation
from torch import Tensor, nn

from kge.config import TransRAConfig
from kge.errors import ConfigError

# Dimensions: n relations (both directions), k and d as in TransRA, q rank, g blocks.


class Matrices(Representation):
    """One k x d matrix per relation, made from that relation's own rows of a few parameters.

    `mirrored`: a relation and the one after it, its reciprocal, share their rows, and the second
    one's matrix is the transpose of the first one's.
    """

    def __init__(
        self,
        starts: Sequence[Float[Tensor, "n ..."]],
        shape: tuple[int, int],
        *,
        mirrored: bool = False,
    ) -> None:
        count = len(starts[0]) * (2 if mirrored else 1)
        super().__init__(max_id=count, shape=shape, unique=False)
        self.starts, self.mirrored = list(starts), mirrored
        self.parts = nn.ParameterList([nn.Parameter(start.clone()) for start in starts])

    def reset_parameters(self) -> None:
        with torch.no_grad():
            for part, start in zip(self.parts, self.starts, strict=True):
                part.copy_(start)

    def _plain_forward(self, indices: Tensor | None = None) -> Tensor:
        relations = torch.arange(self.max_id) if indices is None else indices
        if not self.mirrored:
            return self.compose([part[relations] for part in self.parts])
        made = self.compose([part[relations // 2] for part in self.parts])
        return torch.where((relations % 2 == 1)[..., None, None], made.mT, made)

    def row(self, relation: int) -> int:
        """Which row of the parameters a relation's matrix is made from."""
        return relation // 2 if self.mirrored else relation

    def matrix(self, relation: int) -> Float[Tensor, "k d"]:
        """One relation's matrix."""
        made = self.compose(self._own(relation))
        return made.mT if self._turned(relation) else made

    def slopes(self, relation: int, slope: Float[Tensor, "k d"]) -> list[Tensor]:
        """The gradient by a relation's row of each parameter, from that by its matrix."""
        return self.pull(self._own(relation), slope.mT if self._turned(relation) else slope)

    def _own(self, relation: int) -> list[Tensor]:
        return [part[self.row(relation)] for part in self.parts]

    def _turned(self, relation: int) -> bool:
        return self.mirrored and relation % 2 == 1

    @abstractmethod
    def compose(self, parts: Sequence[Tensor]) -> Float[Tensor, "*n k d"]:
        """Matrices from rows of the parameters."""

    @abstractmethod
    def pull(self, parts: Sequence[Tensor], slope: Float[Tensor, "k d"]) -> list[Tensor]:
        """The gradient by one relation's rows of the parameters, from that by its matrix."""


class FullMatrices(Matrices):
    """Every number of M_r is free: k d per relation."""

    def compose(self, parts: Sequence[Tensor]) -> Float[Tensor, "*n k d"]:
        return parts[0]

    def pull(self, parts: Sequence[Tensor], slope: Float[Tensor, "k d"]) -> list[Tensor]:  # noqa: ARG002
        return [slope]


class LowRankMatrices(Matrices):
    """`M_r = diag(s_r) + U_r V_r`: k + q (k + d) numbers per relation; our design."""

    def compose(self, parts: Sequence[Tensor]) -> Float[Tensor, "*n k d"]:
        scale, left, right = parts
        return scale[..., None] * torch.eye(*self.shape) + left @ right

    def pull(self, parts: Sequence[Tensor], slope: Float[Tensor, "k d"]) -> list[Tensor]:
        _, left, right = parts
        return [(slope * torch.eye(*self.shape)).sum(dim=1), slope @ right.T, left.T @ slope]


class BlockMatrices(Matrices):
    """`M_r = diag(B_r1, ..., B_rg)`: k d / g numbers per relation; our design."""

    def compose(self, parts: Sequence[Tensor]) -> Float[Tensor, "*n k d"]:
        [blocks] = parts
        count, height, width = blocks.shape[-3:]
        spaced = torch.zeros(*blocks.shape[:-3], count, height, count, width)
        every = torch.arange(count)
        spaced[..., every, :, every, :] = blocks.movedim(-3, 0)
        return spaced.reshape(*blocks.shape[:-3], count * height, count * width)

    def pull(self, parts: Sequence[Tensor], slope: Float[Tensor, "k d"]) -> list[Tensor]:
        count, height, width = parts[0].shape
        every = torch.arange(count)
        return [slope.view(count, height, count, width)[every, :, every, :]]


def build_matrices(
    count: int,
    config: TransRAConfig,
    draw: torch.Generator,
    reflected: NDArray[np.bool_] | None = None,
) -> Matrices:
    """`count` matrices of the configured kind, near `matrix_gain` times the identity.

    `reflected`: bool [count], those that begin near a reflection instead: `matrix_flips` of their
    rows are negated, in a relation and its reciprocal alike.
    """
    gain, dim, width = config.matrix_gain, config.dim, config.relation_dim
    mirrored = config.inverse == "transpose"
    if mirrored:
        count, reflected = count // 2, None if reflected is None else reflected[::2]
    noise = config.matrix_noise / math.sqrt(dim)
    signs = torch.ones(count, width)
    if reflected is not None and reflected.any():
        signs[torch.from_numpy(reflected)] = _signs(int(reflected.sum()), config, draw)
    if config.projection == "low_rank":
        rank = config.projection_rank
        # The product's entries are to be as large as the noise of a full matrix.
        spread = math.sqrt(gain * noise) / rank**0.25
        left = torch.randn(count, width, rank, generator=draw) * spread
        right = torch.randn(count, rank, dim, generator=draw) * spread
        return LowRankMatrices([gain * signs, left, right], (width, dim), mirrored=mirrored)
    if config.projection == "block":
        number = config.projection_blocks
        if width % number or dim % number:
            raise ConfigError(
                f"projection_blocks should divide dim and relation_dim, received {number} for "
                f"{dim} and {width}"
            )
        height, length = width // number, dim // number
        blocks = torch.randn(count, number, height, length, generator=draw) * noise
        blocks += signs.view(count, number, height, 1) * torch.eye(height, length)
        return BlockMatrices([gain * blocks], (width, dim), mirrored=mirrored)
    full = torch.randn(count, width, dim, generator=draw) * noise
    full += signs[..., None] * torch.eye(width, dim)
    return FullMatrices([gain * full], (width, dim), mirrored=mirrored)


def _signs(count: int, config: TransRAConfig, draw: torch.Generator) -> Float[Tensor, "n k"]:
    """1 or -1 for each row of each matrix; with reciprocals of their own, two and two are alike."""
    together = 2 if config.reciprocal and config.inverse == "own" else 1
    drawn = torch.rand(count // together, config.relation_dim, generator=draw)
    return torch.where(drawn < config.matrix_flips, -1.0, 1.0).repeat_interleave(together, dim=0)
