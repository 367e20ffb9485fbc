"""Reading arrays of a file piece by piece.

Takes a safetensors file, gives numpy arrays; never holds the interpreter for long. Each call of the
library holds it until it is done, and servers answer while they load the next bundle.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

_PIECE_BYTES = 1 << 21


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a file, by name."""
    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  (not a mapping)
            part = file.get_slice(name)
            shape = tuple(part.get_shape())
            array = np.empty(shape, dtype=part[:0].dtype)
            rows = max(1, _PIECE_BYTES // max(1, array.itemsize * math.prod(shape[1:])))
            for start in range(0, shape[0], rows):
                stop = min(start + rows, shape[0])  # the library refuses what lies behind
                array[start:stop] = part[start:stop]
            arrays[name] = array
    return arrays
