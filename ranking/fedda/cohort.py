"""The clients of one round, stepped as one batch.

Takes what the clients' rows say of weights, gives shares, and sums over clients; never sees a row.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ranking.errors import CohortMismatch

# Dimensions: K clients of the round, P numbers that are shared, U numbers that a client holds of
# them.


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """K clients. One that died before its message came is simply not among them."""

    #: Which of all clients they are.
    numbers: Int64[Tensor, "K"]
    #: n_k, the rows of each.
    rows: Int64[Tensor, "K"]
    #: T_k, the local steps of each; they may differ.
    steps: Int64[Tensor, "K"]
    #: Rows behind each client's gradient of one local step.
    batch: Int64[Tensor, "K"]
    #: n, the rows of all clients, whether they are in the round or not.
    all_rows: int
    #: Gradients of the mean loss on each client's batch of a step: (weights, step) -> gradients.
    #: A client that has taken its steps is asked as well, and what it answers is not used.
    gradients: Callable[[Tensor, int], Tensor]
    #: Gradients of the mean loss on all rows of each client, at the weights given.
    whole: Callable[[Tensor], Tensor]
    #: Which of the P shared numbers a client holds; P itself fills up, and stands for none. Without
    #: it, all of them, in their order.
    places: Int64[Tensor, "K U"] | None = None

    def __post_init__(self) -> None:
        if not len(self.numbers):
            raise CohortMismatch("a round should have at least one client, received none")
        for name in ("rows", "steps", "batch"):
            least = int(getattr(self, name).min())
            if least < 1:
                raise CohortMismatch(f"{name} of a client should be at least 1, received {least}")

    def shares(self, like: Float[Tensor, "*any"]) -> Float[Tensor, "K"]:
        """p_k = n_k / sum n, over the clients that are there."""
        rows_K = self.rows.to(like)
        return rows_K / rows_K.sum()

    def shares_of_all(self, like: Float[Tensor, "*any"]) -> Float[Tensor, "K"]:
        """n_k / n, over all clients there are."""
        return self.rows.to(like) / self.all_rows

    def held(self, values_P: Float[Tensor, "P"]) -> Float[Tensor, "K U"]:
        """What each client holds of shared numbers; 0 where it holds none."""
        if self.places is None:
            return values_P.expand(len(self.numbers), -1)
        return torch.cat([values_P, values_P.new_zeros(1)])[self.places]

    def summed(
        self, values_KU: Float[Tensor, "K U"], shares_K: Float[Tensor, "K"], size: int
    ) -> Float[Tensor, "P"]:
        """sum_k p_k x^k, each number where it belongs: what a client does not hold adds nothing."""
        if self.places is None:
            return shares_K @ values_KU
        sums = values_KU.new_zeros(size + 1)
        sums.index_add_(0, self.places.flatten(), (shares_K[:, None] * values_KU).flatten())
        return sums[:size]

    def evaluations(self, *, whole: int = 0) -> int:
        """Gradients of single rows in a round: those of local steps, and of all rows so often."""
        return int((self.steps * self.batch).sum()) + whole * int(self.rows.sum())
