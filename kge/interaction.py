"""The score of (h, r, t) in each of its forms, which dials name. The formula and no weights."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pykeen.nn.modules import Interaction
from torch import Tensor

from kge.config import TransRAConfig


class TransRAInteraction(Interaction):
    """TransR's squared distance in a relation's own space, with an optional bias of the tail.

    `s(h, r, t) = -||M_r h + r - M_r t||^2 (+ b_t)`

    Lin et al. 2015 (TransR), equation 8, as the score that TransRA (arXiv 2508.02609) builds on.
    Differs from the paper: projected vectors are not clamped to the unit ball, and b_t is ours.

    The score without bias is at most 0; with one it has no bound.

    Heads are `d`, relations `k` and `k x d`, tails `d` and, with a bias, a scalar.
    """

    relation_shape: Sequence[str] = ("k", "kd")

    def forward(
        self,
        h: Float[Tensor, "*batch d"],
        r: tuple[Tensor, ...] | list[Tensor],
        t: Float[Tensor, "*tails d"] | tuple[Tensor, Tensor] | list[Tensor],
    ) -> Tensor:
        """Scores of broadcastable heads, relations and tails."""
        tail, bias = (t, None) if isinstance(t, Tensor) else t
        # M h and M t apart: (h - t) first would build every pair of a head and all tails in d.
        apart = _project(r[1], h) + r[0] - self._tail_point(r, tail)
        score = -apart.square().sum(dim=-1)
        return score if bias is None else score + bias

    def _tail_point(self, r: Sequence[Tensor], tail: Tensor) -> Tensor:
        return _project(r[1], tail)


class BiasedTransRAInteraction(TransRAInteraction):
    """`TransRAInteraction` whose entities carry a scalar b beside their vector; tails use it."""

    entity_shape: Sequence[str] = ("d", "")
    _head_indices: Sequence[int] | None = (0,)
    _tail_indices: Sequence[int] | None = (0, 1)


class _OwnTails(TransRAInteraction):
    """Tails go through a matrix T_r of their own: `-||M_r h + r - T_r t||^2`; our design."""

    relation_shape: Sequence[str] = ("k", "kd", "kd")

    def _tail_point(self, r: Sequence[Tensor], tail: Tensor) -> Tensor:
        return _project(r[2], tail)


class _StillTails(TransRAInteraction):
    """Tails stay where they are: `-||M_r h + r - t||^2`; our design. It needs k = d."""

    relation_shape: Sequence[str] = ("d", "dd")

    def _tail_point(self, r: Sequence[Tensor], tail: Tensor) -> Tensor:  # noqa: ARG002
        return tail


class _BiasedOwnTails(_OwnTails, BiasedTransRAInteraction):
    pass


class _BiasedStillTails(_StillTails, BiasedTransRAInteraction):
    pass


_BY_DIALS: dict[tuple[str, bool], type[TransRAInteraction]] = {
    ("same", False): TransRAInteraction,
    ("same", True): BiasedTransRAInteraction,
    ("own", False): _OwnTails,
    ("own", True): _BiasedOwnTails,
    ("still", False): _StillTails,
    ("still", True): _BiasedStillTails,
}


def interaction_of(config: TransRAConfig) -> TransRAInteraction:
    """The interaction that the dials `tails` and `bias` ask for."""
    return _BY_DIALS[config.tails, config.bias]()


def _project(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("...kd,...d->...k", matrix, vector)
