"""What a crossing layer costs per row: two kinds of FLOPs, and parameters, all exact.

Takes widths, gives numbers; never builds a layer. Costs add up as the equations do.
"""

from dataclasses import dataclass

#: Operations of a LayerNorm per number: mean, difference, square, mean of squares, division by the
#: root, scale, shift.
_NORM = 7
#: Operations of a softmax per number: exponential, sum, division.
_SOFTMAX = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of one row. A multiply-add is 2, any function of one number is 1."""

    #: FLOPs of matrix products, what torch's FlopCounterMode counts.
    matrix: int = 0
    #: All other FLOPs: biases, products number by number, functions, sums, LayerNorm.
    other: int = 0
    parameters: int = 0

    def __add__(self, more: "Cost") -> "Cost":
        return Cost(
            matrix=self.matrix + more.matrix,
            other=self.other + more.other,
            parameters=self.parameters + more.parameters,
        )

    def __mul__(self, times: int) -> "Cost":
        """The same so many times, each with parameters of its own."""
        return Cost(
            matrix=self.matrix * times,
            other=self.other * times,
            parameters=self.parameters * times,
        )


def linear(width: int, out: int, *, bias: bool = True) -> Cost:
    """W x + b: 2 D O, O more for the bias; D O + O parameters."""
    shift = out if bias else 0
    return Cost(matrix=2 * width * out, other=shift, parameters=width * out + shift)


def pointwise(count: int) -> Cost:
    """One operation for each number, without parameters."""
    return Cost(other=count)


def layer_norm(width: int, place: str, *, times: int = 1) -> Cost:
    """LayerNorm over `width` numbers, `times` a row with the same 2 D parameters; none for none."""
    if place == "none":
        return Cost()
    return Cost(other=_NORM * width * times, parameters=2 * width)


def softmax(width: int) -> Cost:
    """Over `width` numbers."""
    return Cost(other=_SOFTMAX * width)


def head(width: int, hidden: int) -> Cost:
    """The MLP above a stack, with one hidden layer: last . relu(W x + b) + c."""
    return linear(width, hidden) + pointwise(hidden) + linear(hidden, 1)
