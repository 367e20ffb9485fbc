"""What a round costs on the wire.

Takes sizes, gives bytes; never sends any. Counted is what a client has to be told and has to tell,
as 4-byte numbers, without the envelope of a transport.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from ranking.fedda.cohort import Cohort
from ranking.fedda.methods import Method

#: Bytes of a number, and of the place of a row of a table.
NUMBER, PLACE = 4, 4


class Traffic(NamedTuple):
    """Bytes of all clients of a round, from the server and to it."""

    down: int = 0
    up: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        return Traffic(self.down + other.down, self.up + other.up)


def held_numbers(cohort: Cohort, size: int) -> Int64[Tensor, "K"]:
    """How many of P shared numbers each client holds: what fills up is not sent."""
    if cohort.places is None:
        return torch.full_like(cohort.rows, size)
    return (cohort.places < size).sum(dim=1)


def traffic(method: Method, cohort: Cohort, *, size: int, rows: int = 0) -> Traffic:
    """Bytes of a round of P numbers. `rows`: of tables, that the clients name to the server.

    A client names the rows that it holds once a round, upwards; both sides then send vectors over
    the same rows, in the same order. n_k and T_k are 8 bytes more.
    """
    numbers = int(held_numbers(cohort, size).sum())
    clients = len(cohort.numbers)
    return Traffic(
        down=method.down * numbers * NUMBER,
        up=method.up * numbers * NUMBER + rows * PLACE + 8 * clients,
    )


#: A round of the end phase: W down, one gradient up.
WHOLE = Method(run=lambda state, _cohort, _config: state)
