"""AdamW on a large table, at the price of the rows that a batch names.

Takes row numbers, gives those rows as of now, and moves them by their gradients; never builds a
gradient of the whole table, nor touches a row that is not named. Such a row is left behind: what
AdamW would have done to it meanwhile has a closed form, and is done when the row is next named, or
when the table is read as a whole.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

# Dimensions: N rows of the table, U distinct rows of a batch, E numbers of a row.

#: Adam's dials, as its authors and torch have them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
_LOG_1, _LOG_2 = math.log(BETA_1), math.log(BETA_2)
#: From this step on a bias correction is 1 to 15 digits.
_CORRECTED = 40_000
#: A mean that has faded to this share is 0: nothing would be seen of it, and tiny numbers are slow.
_FADED = 1e-20
#: A scan of the table for what was named costs less than a sort, up to so many rows per lookup.
_SCANNED = 100
#: Rows that catch up at once where all do: bounds memory, changes no number.
_BLOCK = 1 << 16


class _Rows(NamedTuple):
    """Distinct rows of a table, and what they are as of one step."""

    rows: Int64[Tensor, "U"]
    value: Float[Tensor, "U E"]
    mean: Float[Tensor, "U E"]
    square: Float[Tensor, "U E"]


class Numbering:
    """The distinct rows of a batch in rising order, and the place of each among them.

    As `torch.unique` has them; where that costs less, by a scan of which rows of the table were
    named, for which there is memory once it is first done: 9 bytes per row.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._named: Tensor | None = None
        self._place: Tensor | None = None

    def __call__(self, rows: Int64[Tensor, "m"]) -> tuple[Int64[Tensor, "U"], Int64[Tensor, "m"]]:
        if self._count > _SCANNED * len(rows):
            distinct, place = torch.unique(rows, return_inverse=True)
            return distinct, place
        if self._named is None or self._place is None:
            self._named = torch.zeros(self._count, dtype=torch.bool)
            self._place = torch.zeros(self._count, dtype=torch.int64)
        self._named.index_fill_(0, rows, value=True)
        distinct = self._named.nonzero().squeeze(1)
        self._named.index_fill_(0, distinct, value=False)
        self._place[distinct] = torch.arange(len(distinct))
        return distinct, self._place.index_select(0, rows)


class LazyAdamW:
    """`m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  x = (1 - l) x - a c(t) m / sqrt(v)`.

    AdamW (arXiv 1711.05101) with a the rate, l the decay and c(t) = sqrt(1 - b2^t) / (1 - b1^t);
    and for a row whose last gradient was in step t, all k steps since then at once,

    x(t + k) = (1 - l)^k (x - a m / sqrt(v) sum_{j=1..k} rho^j c(t + j))
    rho = b1 / sqrt(b2) / (1 - l),  m(t + k) = b1^k m,  v(t + k) = b2^k v

    Our design: it goes where `torch.optim.AdamW` goes, so that the size of a table is a matter of
    time and not of quality. Differs from it in rounding, and in Adam's 1e-8, which an idle row has
    as of its last gradient.
    """

    def __init__(self, weight: nn.Parameter, *, rate: float, decay: float) -> None:
        #: The step a, and the share l of a row that goes in each step.
        self.rate, self.decay = rate, decay
        self._weight = weight.detach()
        self._mean = torch.zeros_like(self._weight)
        self._square = torch.zeros_like(self._weight)
        self._step = 0
        #: The step as of which a row is stored; 0 for one that never had a gradient.
        self._stored = torch.zeros(len(weight), dtype=torch.int64)
        self._to_come = torch.from_numpy(_to_come(decay))
        self._numbered = Numbering(len(weight))
        self._taken: list[_Rows] = []

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any E"]:
        """Rows as of now; what becomes of the result moves them in the next `step`."""
        if not rows.numel():
            return self._weight.new_zeros((*rows.shape, self._weight.shape[1]))
        distinct, place = self._numbered(rows.flatten())
        taken = self._as_of_now(distinct)
        taken.value.requires_grad_()
        self._taken.append(taken)
        return nn.functional.embedding(place.view(rows.shape), taken.value)

    def forget(self) -> None:
        """What was looked up since the last step moves nothing."""
        self._taken.clear()

    @torch.no_grad()
    def step(self) -> None:
        """Move the rows that were looked up since the last step, each by its summed gradient."""
        looked_up, self._taken = self._taken, []
        if not looked_up:
            self._step += 1
            return
        taken, gradient = self._joined(looked_up)
        self._step += 1
        taken.mean.lerp_(gradient, 1.0 - BETA_1)
        taken.square.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
        spread = taken.square.sqrt().div_(math.sqrt(1.0 - BETA_2**self._step)).add_(EPSILON)
        size = self.rate / (1.0 - BETA_1**self._step)
        taken.value.mul_(1.0 - self.decay).addcdiv_(taken.mean, spread, value=-size)
        self._store(taken)

    @torch.no_grad()
    def settle(self) -> None:
        """Let every row catch up: then the table holds what AdamW would have made of it."""
        behind = self._stored < self._step
        if not self.decay:
            behind &= self._stored > 0
        for rows in behind.nonzero().squeeze(1).split(_BLOCK):
            self._store(self._as_of_now(rows))

    def states(self) -> dict[str, Tensor]:
        """Of every row its mean, its square, and the step as of which it is stored."""
        return {"mean": self._mean, "square": self._square, "stored": self._stored}

    def resume(self, states: dict[str, Tensor]) -> None:
        """Rows that had a gradient all stand at one step, as they do once a table has settled."""
        for name, own in self.states().items():
            own.copy_(states[name])
        self._step = int(self._stored.max()) if len(self._stored) else 0

    def _store(self, taken: _Rows) -> None:
        self._weight[taken.rows] = taken.value
        self._mean[taken.rows] = taken.mean
        self._square[taken.rows] = taken.square
        self._stored.index_fill_(0, taken.rows, self._step)

    def _joined(self, looked_up: list[_Rows]) -> tuple[_Rows, Float[Tensor, "U E"]]:
        """All rows of a step, each once, and their gradients, summed over the lookups."""
        gradients = [_gradient_of(taken.value) for taken in looked_up]
        if len(looked_up) == 1:
            return looked_up[0], gradients[0]
        rows, place = self._numbered(torch.cat([taken.rows for taken in looked_up]))
        summed = torch.ops.aten.embedding_dense_backward(
            torch.cat(gradients), place, len(rows), -1, False
        )
        return self._as_of_now(rows), summed

    @torch.no_grad()
    def _as_of_now(self, rows: Int64[Tensor, "U"]) -> _Rows:
        """Distinct rows after their idle steps."""
        value, mean, square = (
            table.index_select(0, rows) for table in (self._weight, self._mean, self._square)
        )
        since = self._stored.index_select(0, rows)
        idle = (self._step - since).double()
        if not bool(idle.any()):
            return _Rows(rows, value, mean, square)
        last = len(self._to_come) - 1
        kept = (idle * math.log1p(-self.decay)).exp()
        # What was to come from the last gradient on, without what is to come from now on.
        to_come = self._to_come[since.clamp(max=last)]
        to_come -= (idle * _log_rho(self.decay)).exp() * self._to_come[min(self._step, last)]
        corrected = (-torch.expm1(since.clamp(min=1).double() * _LOG_2)).sqrt()
        spread = square.sqrt().add_(_column(corrected), alpha=EPSILON)
        value.mul_(_column(kept)).sub_(mean.div(spread).mul_(_column(self.rate * kept * to_come)))
        faded = (idle * _LOG_1).exp()
        mean.mul_(_column(faded.masked_fill_(faded < _FADED, 0.0)))
        square.mul_(_column((idle * _LOG_2).exp()))
        return _Rows(rows, value, mean, square)


def _gradient_of(value: Float[Tensor, "U E"]) -> Float[Tensor, "U E"]:
    return torch.zeros_like(value) if value.grad is None else value.grad


def _column(per_row: Float64[Tensor, "U"]) -> Float32[Tensor, "U 1"]:
    """One number per row, beside rows of any width."""
    return per_row.float().unsqueeze(1)


def _log_rho(decay: float) -> float:
    return _LOG_1 - _LOG_2 / 2 - math.log1p(-decay)


@cache
def _to_come(decay: float) -> Float64[np.ndarray, "t"]:
    """`sum_{j>=1} rho^j c(t + j)` for t = 0, 1, ...: how far a row goes without further gradients.

    In units of a m / sqrt(v), before its decay. The last one stands for all later t.
    """
    log_rho = _log_rho(decay)
    terms = math.ceil(math.log(1e-16) / log_rho)
    steps = np.arange(1, _CORRECTED + terms + 1, dtype=np.float64)
    correction = np.sqrt(-np.expm1(steps * _LOG_2)) / -np.expm1(steps * _LOG_1)
    powers = np.exp(log_rho * np.arange(1, terms + 1))
    return np.correlate(correction, powers, mode="valid")
