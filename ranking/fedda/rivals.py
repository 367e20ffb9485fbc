"""What FedDA is compared with, in the same frame: one function per method, a round each.

Takes state and clients, gives the next state; pure. Every method is written in decoupled form: what
the server's vector does on clients has a closed form, and only a client's own part is summed. So
rows that no row of a client touches need not be sent, to none of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig
from ranking.fedda.server import State, mean_whole_gradient

#: (weights, gradients) -> what a client's own step is made of
Own = Callable[[Tensor, Tensor], Tensor]


class Walked(NamedTuple):
    """What K clients did: the sums of their own steps, in units of the rate."""

    own: Float[Tensor, "K U"]


def local_walk(
    begin_KU: Float[Tensor, "K U"],
    along_KU: Float[Tensor, "K U"],
    cohort: Cohort,
    rate: float,
    own: Own,
) -> Walked:
    """`w <- w - h (along + own(w, g))`, T_k times, from the server's weights on."""
    w_KU, sum_KU = begin_KU.clone(), torch.zeros_like(begin_KU)
    for step in range(int(cohort.steps.max())):
        goes_on_K1 = (step < cohort.steps)[:, None]
        own_KU = own(w_KU, cohort.gradients(w_KU, step))
        sum_KU = torch.where(goes_on_K1, sum_KU + own_KU, sum_KU)
        w_KU = torch.where(goes_on_K1, w_KU - rate * (along_KU + own_KU), w_KU)
    return Walked(sum_KU)


def mean_move(
    walked: Walked, along: Float[Tensor, "P"], cohort: Cohort, rate: float
) -> Float[Tensor, "P"]:
    """`sum p_k (W - w_k) = h (sum p_k T_k along + sum p_k own_k)`."""
    shares_K = cohort.shares(along)
    steps = float(shares_K @ cohort.steps.to(along))
    return rate * (steps * along + cohort.summed(walked.own, shares_K, len(along)))


def _plain_move(state: State, cohort: Cohort, config: MethodConfig) -> Float[Tensor, "P"]:
    """FedAvg's: local steps by gradients alone."""
    begin_KU = cohort.held(state.weights)
    still_KU = torch.zeros_like(begin_KU)
    walked = local_walk(begin_KU, still_KU, cohort, config.rate, lambda _, g_KU: g_KU)
    return mean_move(walked, torch.zeros_like(state.weights), cohort, config.rate)


def fedavg_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """`W <- W - alpha sum p_k (W - w_k)`; alpha = 1 is the mean of the clients' weights.

    FedAvg (arXiv 1602.05629).
    """
    move = _plain_move(state, cohort, config)
    return state._replace(weights=state.weights - config.server_rate * move)


def fedavgm_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """`v <- b v + sum p_k (W - w_k);   W <- W - alpha v`. FedAvgM (arXiv 1909.06335)."""
    momentum = config.momentum * state.momentum + _plain_move(state, cohort, config)
    weights = state.weights - config.server_rate * momentum
    return state._replace(weights=weights, momentum=momentum)


def _reddi_round(
    state: State, cohort: Cohort, config: MethodConfig, squares: Callable[[Tensor, Tensor], Tensor]
) -> State:
    """`m <- b m + (1 - b) D;   W <- W + alpha m / (sqrt v + tau)`, D = sum p_k (w_k - W).

    Algorithm 2 of arXiv 2003.00295: no bias correction, v begins at tau^2.
    """
    change = -_plain_move(state, cohort, config)
    momentum = config.momentum * state.momentum + (1.0 - config.momentum) * change
    square = squares(state.square, change.square())
    step = momentum / (square.sqrt() + config.floor)
    weights = state.weights + config.server_rate * step
    return state._replace(weights=weights, momentum=momentum, square=square)


def fedadam_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """`v <- b2 v + (1 - b2) D^2`, see `_reddi_round`."""
    b2 = config.memory
    return _reddi_round(state, cohort, config, lambda v, d2: b2 * v + (1.0 - b2) * d2)


def fedyogi_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """`v <- v - (1 - b2) D^2 sign(v - D^2)`, see `_reddi_round`."""
    b2 = config.memory
    return _reddi_round(state, cohort, config, lambda v, d2: v - (1.0 - b2) * d2 * (v - d2).sign())


def fedadagrad_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """`v <- v + D^2`, see `_reddi_round`."""
    return _reddi_round(state, cohort, config, lambda v, d2: v + d2)


def fedprox_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """FedAvg with `g + mu (w - W)` for g: clients are held near the server. arXiv 1812.06127."""
    begin_KU, mu = cohort.held(state.weights), config.pull
    still_KU = torch.zeros_like(begin_KU)

    def pulled(w_KU: Tensor, g_KU: Tensor) -> Tensor:
        return g_KU + mu * (w_KU - begin_KU)

    walked = local_walk(begin_KU, still_KU, cohort, config.rate, pulled)
    move = mean_move(walked, torch.zeros_like(state.weights), cohort, config.rate)
    return state._replace(weights=state.weights - config.server_rate * move)


def fedcm_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """Local steps by `b D + (1 - b) g`; D <- the mean of a step of the round. arXiv 2106.10874.

    W <- W - alpha sum p_k (W - w_k);   D <- sum p_k (W - w_k) / (h T_k)

    Differs from the paper: its alpha is our 1 - b; its server's rate is our alpha h T.
    """
    b, along = config.momentum, config.momentum * state.momentum
    begin_KU = cohort.held(state.weights)
    walked = local_walk(
        begin_KU, cohort.held(along), cohort, config.rate, lambda _, g_KU: (1.0 - b) * g_KU
    )
    move = mean_move(walked, along, cohort, config.rate)
    per_step_K = cohort.shares(along) / cohort.steps
    own = cohort.summed(walked.own, per_step_K, len(along))
    weights = state.weights - config.server_rate * move
    return state._replace(weights=weights, momentum=along + own)


def mimelite_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """Local steps by `b m + (1 - b) g`, m held; then `m <- b m + (1 - b) sum p_k grad f_k(W)`.

    MimeLite with SGDM (arXiv 2008.03606): m is moved by gradients of all rows, at the weights
    before the round.
    """
    b, along = config.momentum, config.momentum * state.momentum
    gradient = mean_whole_gradient(state, cohort)
    walked = local_walk(
        cohort.held(state.weights),
        cohort.held(along),
        cohort,
        config.rate,
        lambda _, g_KU: (1.0 - b) * g_KU,
    )
    move = mean_move(walked, along, cohort, config.rate)
    weights = state.weights - config.server_rate * move
    return state._replace(weights=weights, momentum=along + (1.0 - b) * gradient)


def scaffold_round(state: State, cohort: Cohort, config: MethodConfig) -> State:
    """Local steps by `g - c_k + c`; `c_k <- c_k - c + (W - w_k) / (T_k h)`. arXiv 1910.06378.

    W <- W - alpha sum p_k (W - w_k);   c <- c + sum_{k in round} (n_k / n) (c_k' - c_k)

    Algorithm 1, option II, by which c_k' is the mean of the round's gradients.
    Differs from the paper: clients count by their rows, as in all methods here.
    """
    own_KU = state.controls[cohort.numbers]
    walked = local_walk(
        cohort.held(state.weights),
        cohort.held(state.momentum),
        cohort,
        config.rate,
        lambda _, g_KU: g_KU - own_KU,
    )
    move = mean_move(walked, state.momentum, cohort, config.rate)
    changed_KU = walked.own / cohort.steps[:, None]
    controls = state.controls.clone()
    controls[cohort.numbers] = own_KU + changed_KU
    shares_K = cohort.shares_of_all(state.weights)
    return state._replace(
        weights=state.weights - config.server_rate * move,
        momentum=state.momentum + cohort.summed(changed_KU, shares_K, len(state.weights)),
        controls=controls,
    )
