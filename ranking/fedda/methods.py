"""All methods by name: what a round of each does, and what it sends.

Takes a name, gives functions and numbers; never runs a round itself.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig
from ranking.fedda.flow import FLOWS, NOTHING
from ranking.fedda.rivals import (
    fedadagrad_round,
    fedadam_round,
    fedavg_round,
    fedavgm_round,
    fedcm_round,
    fedprox_round,
    fedyogi_round,
    mimelite_round,
    scaffold_round,
)
from ranking.fedda.server import State, begin, fedda_round


class Method(NamedTuple):
    """A method, and the vectors as large as the weights that a client and the server exchange."""

    run: Callable[[State, Cohort, MethodConfig], State]
    #: Vectors from the server to a client, and back, in a round.
    down: int = 1
    up: int = 1
    #: Gradients of all its rows that a client computes in a round besides its local steps.
    whole: int = 0


#: Vectors as published. In decoupled form SCAFFOLD's two up are one, since T_k is known.
RIVALS: dict[str, Method] = {
    "fedavg": Method(fedavg_round),
    "fedavgm": Method(fedavgm_round),
    "fedadam": Method(fedadam_round),
    "fedyogi": Method(fedyogi_round),
    "fedadagrad": Method(fedadagrad_round),
    "scaffold": Method(scaffold_round, down=2, up=2),
    "fedcm": Method(fedcm_round, down=2),
    "mimelite": Method(mimelite_round, down=2, up=2, whole=1),
    "fedprox": Method(fedprox_round),
}


def method_of(config: MethodConfig) -> Method:
    """What dials name. FedDA's vectors: W, M, D down; a, S up; those that its reading needs."""
    if config.method != "fedda":
        return RIVALS[config.method]
    flow = FLOWS[config.reading]
    inherits = flow.inherits != NOTHING
    # a is asked for where momentum goes on, and where squares need gradients out of their averages.
    averages = flow.remembers and (inherits or config.adaptive)
    return Method(fedda_round, down=1 + inherits + config.adaptive, up=1 + averages)


def beginning(
    weights: Float[Tensor, "P"], config: MethodConfig, *, clients: int, held: int
) -> State:
    """The state before the first round; `held` is U, what a client holds of the P numbers."""
    state = begin(weights, config)
    if config.method == "scaffold":
        return state._replace(controls=weights.new_zeros((clients, held)))
    return state
