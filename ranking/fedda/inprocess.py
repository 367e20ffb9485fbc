"""All clients in one process, stepped as one batch.

Takes rows that are sorted by client and a loss, gives cohorts; never lets what is a client's own
out of this object, and never reads rows of a client that is not in the round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ranking.chance import seeded
from ranking.fedda.cohort import Cohort

# Dimensions: N clients, K of them in a round, n rows of all, B rows of one step of one client,
# U numbers that a client holds of those that are shared, Q numbers of its own.

#: (shared numbers [U], own numbers [Q], columns of rows [B, ...], counts [B]) -> sum counts * loss.
#: The counts of a mean add up to 1.
Loss = Callable[[Tensor, Tensor, tuple[Tensor, ...], Tensor], Tensor]
#: A whole number that seeds of steps are apart by, and a bound that torch takes.
_APART, _SEEDS = 1_000_003, 1 << 62


@dataclass(frozen=True, kw_only=True)
class StepDials:
    """What a client does by itself."""

    #: Rows of a local step, drawn with replacement; a client with no more takes all. 0: all.
    batch: int = 0
    #: Whether a client takes no more steps than one pass over its rows has.
    one_pass: bool = False
    #: Rate and floor of the client's own AdaGrad over numbers that never leave it.
    own_rate: float = 0.1
    own_floor: float = 1e-3
    #: Clients that are stepped at once: bounds memory, changes no number but those of dropout.
    at_once: int = 256
    #: Rows of a client that are looked at together for a gradient of all: bounds memory.
    block: int = 256
    seed: int = 0


class InProcess:
    """Clients by `torch.func.vmap`: as many networks as clients, one pass for all of them.

    Numbers of a client's own are moved in its local steps, and by nothing else: they have no server
    and are not part of a method, so that all methods treat them alike.

    s <- s + g^2;   x <- x - r g / (sqrt s + tau)   (AdaGrad)
    """

    def __init__(
        self,
        loss: Loss,
        columns: Sequence[Tensor],
        starts: Int64[Tensor, "N1"],
        dials: StepDials,
        *,
        size: int,
        places: Int64[Tensor, "N U"] | None = None,
        own: Float[Tensor, "N Q"] | None = None,
    ) -> None:
        """`starts`: rows of client k are starts[k] to starts[k + 1]. `size`: P."""
        self._columns, self._starts, self._dials = tuple(columns), starts[:-1], dials
        self.rows = starts.diff()
        self._size, self._places = size, places
        #: What each client alone knows; a server never reads it.
        self.own = torch.zeros(len(self.rows), 0) if own is None else own.clone()
        self._squares = torch.full_like(self.own, dials.own_floor**2)
        self._gradients = torch.func.vmap(
            torch.func.grad(loss, argnums=(0, 1)),
            randomness="different",
            chunk_size=dials.at_once,
        )

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def held(self) -> int:
        return self._size if self._places is None else self._places.shape[1]

    def rows_named(self, numbers: Int64[np.ndarray, "K"]) -> int:
        """None by default: numbers without tables have nothing to name."""
        return 0 * len(numbers)

    def cohort(self, numbers: Int64[np.ndarray, "K"], *, number: int, steps: int) -> Cohort:
        chosen = torch.from_numpy(numbers)
        rows = self.rows[chosen]
        batch = rows.clamp(max=self._width())
        taken = torch.full_like(rows, steps)
        if self._dials.one_pass:
            taken = torch.minimum(taken, -(-rows // batch))
        return Cohort(
            numbers=chosen,
            rows=rows,
            steps=taken,
            batch=batch,
            all_rows=int(self.rows.sum()),
            gradients=lambda w_KU, step: self._local(w_KU, chosen, (number, step), step < taken),
            whole=lambda w_KU: self._whole(w_KU, chosen, number),
            places=None if self._places is None else self._places[chosen],
        )

    def private(self, number: int) -> dict[str, np.ndarray]:
        """What is a client's own, for it to keep between two processes; never for a server."""
        return {"own": self.own[number].numpy(), "squares": self._squares[number].numpy()}

    def give_back(self, number: int, kept: Mapping[str, np.ndarray]) -> None:
        """Let a client go on with what it kept."""
        self.own[number] = torch.from_numpy(np.array(kept["own"]))
        self._squares[number] = torch.from_numpy(np.array(kept["squares"]))

    def _width(self) -> int:
        most = int(self.rows.max())
        return min(self._dials.batch, most) if self._dials.batch else most

    def _local(
        self,
        w_KU: Float[Tensor, "K U"],
        chosen: Int64[Tensor, "K"],
        moment: tuple[int, int],
        going: Tensor,
    ) -> Float[Tensor, "K U"]:
        """Gradients of a step, in which the own numbers of clients who take it move as well."""
        with seeded(self._seed(moment)):
            rows_KB, counts_KB = self._drawn(chosen, w_KU)
            own_KQ = self.own[chosen]
            gradient_KU, own_gradient_KQ = self._of_rows(w_KU, own_KQ, rows_KB, counts_KB)
        if own_KQ.shape[1]:
            dials, squares_KQ = self._dials, self._squares[chosen] + own_gradient_KQ.square()
            moved_KQ = own_KQ - dials.own_rate * own_gradient_KQ / (
                squares_KQ.sqrt() + dials.own_floor
            )
            mine = chosen[going]
            self.own[mine], self._squares[mine] = moved_KQ[going], squares_KQ[going]
        return gradient_KU

    def _whole(
        self, w_KU: Float[Tensor, "K U"], chosen: Int64[Tensor, "K"], number: int
    ) -> Float[Tensor, "K U"]:
        """Gradients of the mean loss of all rows, block by block; own numbers rest."""
        rows_K, sum_KU = self.rows[chosen], torch.zeros_like(w_KU)
        own_KQ = self.own[chosen]
        for first in range(0, int(rows_K.max()), self._dials.block):
            last = min(first + self._dials.block, int(rows_K.max()))
            place_KB = torch.arange(first, last).expand(len(chosen), -1)
            there_KB = place_KB < rows_K[:, None]
            rows_KB = self._starts[chosen][:, None] + torch.where(there_KB, place_KB, 0)
            counts_KB = there_KB.to(w_KU) / rows_K[:, None]
            with seeded(self._seed((number, _APART + first))):
                sum_KU = sum_KU + self._of_rows(w_KU, own_KQ, rows_KB, counts_KB)[0]
        return sum_KU

    def _drawn(
        self, chosen: Int64[Tensor, "K"], like: Float[Tensor, "K U"]
    ) -> tuple[Int64[Tensor, "K B"], Float[Tensor, "K B"]]:
        """Rows of a step of each client, and what they count: 1 / their number.

        All clients draw, whether they are in the round or not: what one draws does not depend on
        who else is there.
        """
        width, rows_K1 = self._width(), self.rows[chosen][:, None]
        by_chance_KB = torch.rand(self.count, width)[chosen] * rows_K1
        in_order_KB = torch.arange(width).expand(len(chosen), -1)
        all_of_them = rows_K1 <= width
        place_KB = torch.where(all_of_them, in_order_KB, by_chance_KB.long())
        there_KB = place_KB < rows_K1
        rows_KB = self._starts[chosen][:, None] + torch.where(there_KB, place_KB, 0)
        counts_KB = there_KB.to(like) / rows_K1.clamp(max=width)
        return rows_KB, counts_KB

    def _of_rows(
        self,
        w_KU: Float[Tensor, "K U"],
        own_KQ: Float[Tensor, "K Q"],
        rows_KB: Int64[Tensor, "K B"],
        counts_KB: Float[Tensor, "K B"],
    ) -> tuple[Float[Tensor, "K U"], Float[Tensor, "K Q"]]:
        columns = tuple(column[rows_KB] for column in self._columns)
        return self._gradients(w_KU, own_KQ, columns, counts_KB)

    def _seed(self, moment: tuple[int, int]) -> int:
        number, step = moment
        return (self._dials.seed * _APART**2 + number * _APART + step) % _SEEDS
