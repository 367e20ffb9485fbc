"""Between features and answers: crossing stacks that heads share, and a tower for each head.

Takes x_0, gives one logit per head; never looks up an embedding, and never asks what a head means.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Single-letter dimensions: B rows, D width of x_0, W width of what a stack gives, H heads,
# E experts (crossing stacks).


class Experts(nn.Module):
    """What each head is given of some crossing stacks.

    one stack:  x_h = f(x_0)                                        (shared bottom)
    several:    x_h = sum_e softmax(W_h x_0 + b_h)_e f_e(x_0)       (a gate per head)

    Implements the idea of MMoE (Ma et al., 2018, Modeling Task Relationships in Multi-task Learning
    with Multi-gate Mixture-of-Experts, equations 5 to 7). Differs from the paper: experts are whole
    crossing stacks (ML-DCN by default) instead of an MLP, and a gate has a bias. Gates start at 0,
    so that at first every head reads the mean of all experts.
    """

    def __init__(
        self, make: Callable[[], nn.Module], *, width: int, stacks: int, heads: int
    ) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(make() for _ in range(stacks))
        self.heads = heads
        gates = [nn.Linear(width, stacks) for _ in range(heads)] if stacks > 1 else []
        for gate in gates:
            nn.init.zeros_(gate.weight)
            nn.init.zeros_(gate.bias)
        self.gates = nn.ModuleList(gates)

    def forward(self, x_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B H W"]:
        if not self.gates:
            return self.stacks[0](x_BD)[:, None].expand(-1, self.heads, -1)
        crossed_BEW = torch.stack([stack(x_BD) for stack in self.stacks], dim=1)
        shares_BHE = torch.stack([torch.softmax(gate(x_BD), dim=1) for gate in self.gates], dim=1)
        return shares_BHE @ crossed_BEW


class Tower(nn.Module):
    """One head's own part.

    logit = a_1 rate_head + a_2 rate_tail + w relu(W x + b) + c

    Our design. w is 0 at the start, and a what `starts_at` says: 1 for clicks, so that training
    starts where the counting rivals are (naive Bayes over the two smoothed rates); 0 for a head
    that those rates, which count clicks, say little about.
    """

    def __init__(self, width: int, hidden: int, dropout: float, *, starts_at: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.last = nn.Linear(hidden, 1)
        nn.init.zeros_(self.last.weight)
        self.dropout = nn.Dropout(dropout)
        self.additive = nn.Parameter(torch.full((2,), starts_at))

    def forward(
        self, x_BW: Float[Tensor, "B W"], rates_B2: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B"]:
        deep_B = self.last(self.dropout(torch.relu(self.hidden(x_BW)))).squeeze(1)
        return rates_B2 @ self.additive + deep_B
