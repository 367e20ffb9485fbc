"""The loss of pairs: a head is to prefer its tail to what was drawn.

Takes vectors, gives a loss; never draws and never looks a row up.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ranking.pretraining.batches import Batch

# Dimensions: B pairs, C candidates, D numbers of a vector.

#: exp(tau) never exceeds this: beyond it a loss of cosines only learns by heart.
STEEPEST = 100.0


class Temperature(nn.Module):
    """exp(tau), by which cosines are multiplied; learned."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.tensor(-math.log(start)))

    def forward(self) -> Float[Tensor, ""]:
        return self.tau.clamp(max=math.log(STEEPEST)).exp()

    @torch.no_grad()
    def keep(self) -> None:
        """Bring tau back to its bound: beyond it there is no gradient that would."""
        self.tau.clamp_(max=math.log(STEEPEST))


def sampled_softmax(
    positive: Float[Tensor, "B"],
    others: Float[Tensor, "B C"],
    log_expected: Float[Tensor, "C"],
    taken: Bool[Tensor, "B C"],
) -> Float[Tensor, "B"]:
    """Loss of each pair against C candidates.

    z_j = s_j - log Q_j,   loss = log(exp s_own + sum_j exp z_j) - s_own,   j not taken

    with Q_j how often j is expected among the candidates: so what is drawn often is not pushed away
    more than it should be, and the sum is, on the mean, that over all tails that are not taken.
    Bengio and Senecal 2008, as recommenders use it (Yi et al. 2019). The own tail is not corrected:
    it is there whatever is drawn.
    """
    logits = (others - log_expected).masked_fill(taken, -torch.inf)
    return torch.logsumexp(torch.cat([positive[:, None], logits], dim=1), dim=1) - positive


def contrast(
    vectors_of: Callable[[Tensor], Tensor], batch: Batch, temperature: Temperature
) -> Float[Tensor, ""]:
    """The loss of a batch by cosines, those against the batch and against random tails added.

    s = exp(tau) <u, v> / (|u| |v|)

    The form of the contrastive loss of methods known from public code of the papers' authors; which
    of it their rankers use was not found.
    """
    rows = [batch.heads, batch.tails, *(drawn.rows for drawn in batch.candidates)]
    whole = nn.functional.normalize(vectors_of(torch.cat(rows)), dim=1)
    head, tail, *others = whole.split([len(part) for part in rows])
    steep = temperature()
    positive = steep * (head * tail).sum(dim=1)
    each = torch.zeros_like(positive)
    for drawn, vectors in zip(batch.candidates, others, strict=True):
        scores = steep * head @ vectors.T
        each = each + sampled_softmax(positive, scores, drawn.log_expected, drawn.taken)
    return (batch.weights * each).sum()
