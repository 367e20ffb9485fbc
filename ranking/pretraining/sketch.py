"""How often each of very many things was seen, in memory that does not grow with them.

Takes whole numbers, gives counts that are never too low; numpy only, never forgets.
"""

import numpy as np
from jaxtyping import Int64

_BITS = 64


class CountMin:
    """A count-min sketch of whole numbers.

    count(x) = min_i C[i, h_i(x)],   h_i(x) = (a_i x + b_i mod 2^64) / 2^(64 - log2 w), a_i odd

    Cormode and Muthukrishnan 2005, with the multiply-shift hash of Dietzfelbinger et al. 1997. A
    count is never below the truth, and above it by more than e n / w with chance at most e^-depth,
    for n things seen and rows of w counters.
    """

    def __init__(self, depth: int, width: int, random: np.random.Generator) -> None:
        top = np.iinfo(np.uint64).max
        drawn = random.integers(0, top, (2, depth), dtype=np.uint64, endpoint=True)
        self._multiply, self._add = drawn[0] | np.uint64(1), drawn[1]
        self._shift = np.uint64(_BITS - (width.bit_length() - 1))
        self._counts = np.zeros((depth, width), dtype=np.int64)
        #: Things seen.
        self.total = 0

    def see(self, keys: Int64[np.ndarray, "n"]) -> None:
        """Count each of them once more, each as often as it stands there."""
        for row, places in enumerate(self._places(keys)):
            self._counts[row] += np.bincount(places, minlength=self._counts.shape[1])
        self.total += len(keys)

    def counts(self, keys: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        """How often each was seen, or more."""
        places = self._places(keys)
        return np.take_along_axis(self._counts, places, axis=1).min(axis=0)

    def _places(self, keys: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "depth n"]:
        # Unsigned products wrap around, which is the modulus.
        mixed = self._multiply[:, None] * keys.astype(np.uint64)[None] + self._add[:, None]
        return (mixed >> self._shift).astype(np.int64)
