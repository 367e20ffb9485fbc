"""FedDA's local steps, of all clients of a round at once.

Takes what the server sent and gradients, gives the message; pure, and never holds a thing between
two rounds.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig
from ranking.fedda.flow import FLOWS


class Sent(NamedTuple):
    """What clients get: W_t, M_t and D_t, as far as each holds them."""

    weights: Float[Tensor, "K U"]
    momentum: Float[Tensor, "K U"]
    #: 1 for SGDM, 1 / (sqrt V + tau) for Adam and AdaGrad; it stands still during the round.
    scale: Float[Tensor, "K U"]


class Message(NamedTuple):
    """What a client answers: a and S. Its weights, and what they would give away, stay with it."""

    #: a: its own part of the momentum after its last step.
    last: Float[Tensor, "K U"]
    #: S: the sum of a over its steps.
    total: Float[Tensor, "K U"]


def local_steps(sent: Sent, cohort: Cohort, config: MethodConfig) -> Message:
    """T_k steps of each client, by the equations of `Flow`.

    A client holds what its rows touch. Elsewhere g = 0, so a = S = 0, and what the server's
    momentum does there the server knows: nothing has to be sent. Valid for h and b that do not
    change within a round, without clipping and without weight decay.
    """
    flow, b = FLOWS[config.reading], config.momentum
    kept, gain = flow.kept(b), flow.gain(b)
    w_KU = sent.weights.clone()
    last_KU, total_KU = torch.zeros_like(w_KU), torch.zeros_like(w_KU)
    for step in range(int(cohort.steps.max())):
        goes_on_K1 = (step < cohort.steps)[:, None]
        new_KU = kept * last_KU + gain * cohort.gradients(w_KU, step)
        last_KU = torch.where(goes_on_K1, new_KU, last_KU)
        total_KU = torch.where(goes_on_K1, total_KU + new_KU, total_KU)
        move_KU = flow.inherited(b, step) * sent.momentum
        if flow.follows:
            move_KU = move_KU + new_KU
        w_KU = torch.where(goes_on_K1, w_KU - config.rate * sent.scale * move_KU, w_KU)
    return Message(last_KU, total_KU)
