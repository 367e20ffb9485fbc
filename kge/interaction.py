"""The score of (h, r, t). The formula and nothing else: it has no weights and makes no choices."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from pykeen.nn.modules import Interaction
from torch import Tensor


class TransRAInteraction(Interaction):
    """TransR's squared distance in a relation's own space, with an optional bias of the tail.

    `s(h, r, t) = -||M_r h + r - M_r t||^2 (+ b_t)`

    Lin et al. 2015 (TransR), equation 8, as the score that TransRA (arXiv 2508.02609) builds on.
    Differs from the paper: projected vectors are not clamped to the unit ball, and b_t is ours.

    Heads are `d`, relations `k` and `k x d`, tails `d` and, with a bias, a scalar.
    """

    relation_shape: Sequence[str] = ("k", "kd")
    #: The score without bias is at most 0; with one it has no bound.
    has_bias: ClassVar[bool] = False

    def forward(
        self,
        h: Float[Tensor, "*batch d"],
        r: tuple[Tensor, Tensor] | list[Tensor],
        t: Float[Tensor, "*tails d"] | tuple[Tensor, Tensor] | list[Tensor],
    ) -> Tensor:
        """Scores of broadcastable heads, relations and tails."""
        shift, matrix = r
        tail, bias = (t, None) if isinstance(t, Tensor) else t
        # M h and M t apart: (h - t) first would build every pair of a head and all tails in d.
        apart = _project(matrix, h) + shift - _project(matrix, tail)
        score = -apart.square().sum(dim=-1)
        return score if bias is None else score + bias


class BiasedTransRAInteraction(TransRAInteraction):
    """`TransRAInteraction` whose entities carry a scalar b beside their vector; tails use it."""

    entity_shape: Sequence[str] = ("d", "")
    _head_indices: Sequence[int] | None = (0,)
    _tail_indices: Sequence[int] | None = (0, 1)
    has_bias: ClassVar[bool] = True


def _project(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("...kd,...d->...k", matrix, vector)
