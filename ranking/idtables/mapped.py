"""Tensors of a file as arrays that lie in no process's own memory.

Takes a safetensors file, gives read-only views on one shared mapping of it; never reads a tensor
before somebody asks for its rows. All processes that map a file read the same pages: the operating
system holds them once, and may let them go where memory is short.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Types as the file names them -> numpy's, which has no bfloat16: its bits are whole numbers here.
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<i2", "U8": "|u1"}
#: A file begins with the length of its header, which is JSON.
_LENGTH = struct.Struct("<Q")


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file that have a type which rows of ids can have, by their names."""
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header: dict[str, Any] = json.loads(file.read(length))
    content = np.asarray(np.memmap(path, mode="r"))[_LENGTH.size + length :]
    return {
        name: _view(content, told) for name, told in header.items() if told.get("dtype") in _TYPES
    }


def _view(content: NDArray[np.uint8], told: Mapping[str, Any]) -> NDArray[Any]:
    first, last = told["data_offsets"]
    return content[first:last].view(_TYPES[told["dtype"]]).reshape(told["shape"])
