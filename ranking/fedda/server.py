"""FedDA's server: messages become the next state.

Takes messages, gives weights, momentum and squares; pure, and never sees a client's weights.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ranking.fedda.client import Message, Sent, local_steps
from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig
from ranking.fedda.flow import FADING, FLOWS, HELD


class State(NamedTuple):
    """What a server keeps between two rounds."""

    #: W
    weights: Float[Tensor, "P"]
    #: M: FedDA's momentum; FedAvgM's v, Reddi's m, FedCM's Delta, MimeLite's m, SCAFFOLD's c.
    momentum: Float[Tensor, "P"]
    #: V: squares of mean gradients (FedDA) or of mean moves (Reddi).
    square: Float[Tensor, "P"]
    #: SCAFFOLD's c_k of each of N clients, as far as it holds shared numbers; else no client.
    controls: Float[Tensor, "N U"]


class Summed(NamedTuple):
    """What the messages of a round add up to. Floats are sums over clients, weighted by p_k."""

    #: sum p_k (v_0 + ... + v_{T_k - 1}): how often M_t was gone along.
    inherited: float
    #: sum p_k S^k
    total: Float[Tensor, "P"]
    #: What is left of M_t, and what is added to it.
    kept: float
    added: Float[Tensor, "P"]
    #: gbar, the mean of all gradients of the round.
    gradient: Float[Tensor, "P"]


def begin(weights: Float[Tensor, "P"], config: MethodConfig) -> State:
    """Before the first round: no momentum, squares at tau^2."""
    return State(
        weights=weights.clone(),
        momentum=torch.zeros_like(weights),
        square=torch.full_like(weights, config.floor**2),
        controls=weights.new_zeros((0, 0)),
    )


def sum_up(message: Message, cohort: Cohort, config: MethodConfig, *, size: int) -> Summed:
    """Messages of K clients as sums over clients.

    gbar = sum (p_k / T_k) (S^k + b / (1 - b) a^k)

    which is the mean of each client's gradients, since (1 - b) sum g = (1 - b) S + b a.
    """
    flow, b = FLOWS[config.reading], config.momentum
    shares_K = cohort.shares(message.total)
    # Client after client takes part by its mean gradient, however many steps it took.
    per_step_K = shares_K / cohort.steps
    if flow.remembers:
        gradients_KU = message.total + b / (1.0 - b) * message.last
    else:
        gradients_KU = message.total / flow.gain(b)
    gradient = cohort.summed(gradients_KU, per_step_K, size)
    inherited_K = flow.inherited_sum(b, cohort.steps, message.total)
    kept, added = 0.0, torch.zeros_like(gradient)
    if flow.inherits == FADING:
        kept = float(shares_K @ b ** cohort.steps.to(shares_K))
        added = cohort.summed(message.last, shares_K, size)
    elif flow.inherits == HELD:
        kept, added = b, (1.0 - b) * gradient
    total = cohort.summed(message.total, shares_K, size)
    return Summed(float(shares_K @ inherited_K), total, kept, added, gradient)


def advance(state: State, summed: Summed, config: MethodConfig) -> State:
    """The server's step, in this order.

    V <- b2 V + (1 - b2) gbar^2 (Adam), V + gbar^2 (AdaGrad);   D' = 1 / (sqrt V + tau)
    W <- W - alpha h D' sum p_k (s_b(T_k) M_t + S^k)
    M <- sum p_k (b^{T_k} M_t + a^k)

    W moves by the new D', as a centralized optimizer does: with the old one a round of one step
    would be another optimizer. V is the square of the mean gradient; squares of single clients are
    never averaged.
    """
    square = state.square
    if config.optimizer == "adam":
        square = config.memory * square + (1.0 - config.memory) * summed.gradient.square()
    elif config.optimizer == "adagrad":
        square = square + summed.gradient.square()
    reach = config.server_rate * config.rate
    move = summed.inherited * state.momentum + summed.total
    return state._replace(
        weights=state.weights - reach * scale(square, config) * move,
        momentum=summed.kept * state.momentum + summed.added,
        square=square,
    )


def scale(square: Float[Tensor, "P"], config: MethodConfig) -> Float[Tensor, "P"]:
    """D: 1 for SGDM, 1 / (sqrt V + tau) for Adam and AdaGrad."""
    if not config.adaptive:
        return torch.ones_like(square)
    return 1.0 / (square.sqrt() + config.floor)


def fedda_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """A round of FedDA: W, M, D down; T_k local steps; a, S up; one step of the server."""
    held = (state.weights, state.momentum, scale(state.square, config))
    message = local_steps(Sent(*(cohort.held(values) for values in held)), cohort, config)
    summed = sum_up(message, cohort, config, size=len(state.weights))
    return advance(state, summed, config)


def central_step(
    state: State, gradient: Float[Tensor, "P"], config: MethodConfig, *, end_rate: float = 1.0
) -> State:
    """One step of the same optimizer, by a gradient that is known in one place.

    M <- b M + (1 - b) g;   W <- W - h D' M

    without bias correction. At rest g = 0 for all clients together, wherever each of them alone
    would go: rounds of it end where centralized training does.
    """
    b = config.own_momentum
    own = (1.0 - b) * gradient
    summed = Summed(inherited=b, total=own, kept=b, added=own, gradient=gradient)
    plain = config if config.method == "fedda" else replace(config, optimizer="sgdm")
    return advance(state, summed, replace(plain, server_rate=1.0, rate=config.rate * end_rate))


def mean_whole_gradient(state: State, cohort: Cohort) -> Float[Tensor, "P"]:
    """One gradient of all rows of each client, at the server's weights: `sum p_k grad f_k(W)`."""
    gradients_KU = cohort.whole(cohort.held(state.weights))
    return cohort.summed(gradients_KU, cohort.shares(state.weights), len(state.weights))
