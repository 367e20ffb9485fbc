"""Which part of an optimizer's flow runs on clients between two synchronizations.

Takes a reading's name, gives what its steps add up to; never sees a gradient.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

NOTHING, FADING, HELD = "nothing", "fading", "held"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """How a client's step i = 0, 1, ... is made of the server's momentum M and of its gradient g.

    a <- m a + c g;   S <- S + a;   w <- w - h D (v_i M + a)

    Without `follows`, a is left out of the last one. SGDM is an Euler step of M' = r (g - M),
    W' = -M, and since it is linear, its momentum on a client is b^i M_t + a_i: what comes from the
    server and what is a client's own part without a rest. Readings differ in what they let run.

    Implements the idea of arXiv 2207.07223, of which the abstract could be read and the body could
    not: the readings are our design.
    """

    #: Whether a client averages its own gradients (m = b, c = 1 - b), or has each for itself.
    remembers: bool
    #: v_i: nothing (0), fading (b^{i+1}) or held (b).
    inherits: str
    #: Whether a client's own gradients move it.
    follows: bool = True
    #: c where it does not remember: whether it is 1, or 1 - b.
    damped: bool = True

    def kept(self, b: float) -> float:
        """m: what is left of a client's own average after a step."""
        return b if self.remembers else 0.0

    def gain(self, b: float) -> float:
        """c: what a gradient counts."""
        return 1.0 - b if self.damped else 1.0

    def inherited(self, b: float, step: int) -> float:
        """v_i: what the server's momentum counts in a step."""
        return {NOTHING: 0.0, FADING: b ** (step + 1), HELD: b}[self.inherits]

    def inherited_sum(
        self, b: float, steps_K: Int64[Tensor, "K"], like: Float[Tensor, "*any"]
    ) -> Float[Tensor, "K"]:
        """v_0 + ... + v_{T-1} of each client: s_b(T) = b (1 - b^T) / (1 - b) where it fades."""
        steps = steps_K.to(like)
        if self.inherits == NOTHING:
            return torch.zeros_like(steps)
        if self.inherits == HELD:
            return b * steps
        return b * (1.0 - b**steps) / (1.0 - b)


FLOWS: dict[str, Flow] = {
    # FedAvg's local steps: no momentum anywhere.
    "none": Flow(remembers=False, inherits=NOTHING, damped=False),
    # Momentum that begins at 0 in each round.
    "restart": Flow(remembers=True, inherits=NOTHING),
    # A: the server's momentum goes on on clients, fading as their own grows.
    "carried": Flow(remembers=True, inherits=FADING),
    # B: the server's momentum stands still for a round.
    "frozen": Flow(remembers=False, inherits=HELD),
    # C: it alone moves clients, who all go the same way; gradients drive the next momentum.
    "drive": Flow(remembers=True, inherits=FADING, follows=False),
}
