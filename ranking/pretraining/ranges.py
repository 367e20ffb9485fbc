"""Ranges of whole numbers, one after the other. Takes columns, gives a column; numpy only."""

import numpy as np
from jaxtyping import Int64


def ranges(first: Int64[np.ndarray, "b"], number: Int64[np.ndarray, "b"]) -> Int64[np.ndarray, "e"]:
    """first_i, first_i + 1, ..., first_i + number_i - 1 for each i in turn."""
    before = np.cumsum(number) - number
    return np.arange(int(number.sum())) + np.repeat(first - before, number)
