"""ID tables of a sealed ranker: how their rows are written, and how they are read.

Takes row numbers, gives vectors in float32; never moves a row. Rows lie in the CPU tier, mapped
from the file and shared by all processes, or as a copy on a device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn

from ranking.idtables.dials import AS_TRAINED
from ranking.idtables.quantized import dequantized, quantized
from ranking.idtables.table import IdTable

# Dimensions: N rows of a table, E numbers of a row, m rows that are asked for.

#: Precision -> bits of a number, of those with a scale and a bias for each row.
QUANTIZED = {"int8": 8, "int4": 4}
#: What a table in few bits consists of in a file, behind its name; of any other it is `weight`.
_PARTS = ("codes", "scale", "bias")


@dataclass(frozen=True, eq=False)
class SealedRows:
    """The rows of one table as they lie in a file: views that nobody can write to."""

    precision: str
    dim: int
    #: `weight`, or codes, scale and bias.
    arrays: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.arrays[0])

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float32[Tensor, "*any E"]:
        """Rows in float32; the pages of others are not touched."""
        named = rows.flatten().numpy()
        parts = [torch.from_numpy(np.take(array, named, axis=0)) for array in self.arrays]
        return _numbers(parts, self.precision, self.dim).view(*rows.shape, self.dim)

    def first(self, count: int) -> Float32[Tensor, "count E"]:
        """The first rows, in this process's memory."""
        return self.look_up(torch.arange(count))

    def whole(self) -> Float32[Tensor, "N E"]:
        """All rows, in this process's memory."""
        return _numbers(self.copied(), self.precision, self.dim)

    def copied(self) -> list[Tensor]:
        """What it consists of, as tensors of their own."""
        return [torch.from_numpy(np.array(array)) for array in self.arrays]


class MappedTable(IdTable):
    """A table in the CPU tier, on whatever device the network is that reads it.

    y = (W[i] + W[j]) / 2 as of `IdTable`, of rows that no process has a copy of. It has no weight:
    nothing could move it. What it gives lies where its network does.
    """

    def __init__(self, rows: SealedRows) -> None:
        super().__init__(0, rows.dim)
        del self.weight
        self.rows = rows
        self._here: Tensor
        self.register_buffer("_here", torch.empty(0), persistent=False)

    def forward(self, rows: Int64[Tensor, "batch 2"]) -> Float[Tensor, "batch dim"]:
        first, second = rows.unbind(dim=1)
        found = self.rows.look_up(first)
        if not torch.equal(first, second):  # an id with a row of its own has it twice
            found = (found + self.rows.look_up(second)) / 2
        return sent(found, self._here.device)


class DeviceTable(IdTable):
    """The same with a copy of the rows, in as many bits, that moves with its network."""

    def __init__(self, rows: SealedRows) -> None:
        super().__init__(0, rows.dim)
        del self.weight
        self.precision = rows.precision
        for place, part in enumerate(rows.copied()):
            self.register_buffer(f"part_{place}", part, persistent=False)

    def forward(self, rows: Int64[Tensor, "batch 2"]) -> Float[Tensor, "batch dim"]:
        parts = list(self.buffers(recurse=False))
        named = sent(rows.flatten(), parts[0].device)
        found = [part.index_select(0, named) for part in parts]
        numbers = _numbers(found, self.precision, self.embedding_dim)
        return numbers.view(*rows.shape, self.embedding_dim).mean(dim=1)


def sent(tensor: Shaped[Tensor, "*any"], device: torch.device) -> Shaped[Tensor, "*any"]:
    """A tensor on a device; nobody waits here for a GPU to have it.

    So the rows of the next batch are looked up while this one is computed. It leaves from pinned
    memory, since any other is copied only when all that was asked for before is done.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def id_tables(model: nn.Module) -> dict[str, IdTable]:
    """Name -> table, of all tables of a network that have rows of ids."""
    return {name: part for name, part in model.named_modules() if isinstance(part, IdTable)}


def precision_of(table: IdTable, served: str) -> str:
    """What a trained table is sealed in, for a value of the dial `served`."""
    if served != AS_TRAINED:
        return served
    return "bfloat16" if table.weight.dtype == torch.bfloat16 else "float32"


def sealed_tensors(name: str, table: IdTable, served: str) -> dict[str, Tensor]:
    """A trained table as it is written into a file."""
    weight = table.weight.detach()
    if served == AS_TRAINED:
        return {f"{name}.weight": weight.contiguous()}
    rows = quantized(weight, QUANTIZED[served])
    parts = (rows.codes, rows.scale, rows.bias)
    return {f"{name}.{part}": tensor for part, tensor in zip(_PARTS, parts, strict=True)}


def sealed_rows(arrays: Mapping[str, NDArray[Any]], name: str, dim: int) -> SealedRows:
    """A table among the arrays of a file (`mapped.py`)."""
    weight = arrays.get(f"{name}.weight")
    if weight is not None:
        return SealedRows("float32" if weight.dtype.kind == "f" else "bfloat16", dim, (weight,))
    parts = tuple(arrays[f"{name}.{part}"] for part in _PARTS)
    scale = parts[1]
    return SealedRows("int8" if scale.dtype == np.float32 else "int4", dim, parts)


def _numbers(parts: Sequence[Tensor], precision: str, dim: int) -> Float32[Tensor, "m E"]:
    """Rows in float32, from what they consist of."""
    if precision in QUANTIZED:
        codes, scale, bias = parts
        return dequantized(codes, scale, bias, bits=QUANTIZED[precision], dim=dim)
    (weight,) = parts
    return weight.view(torch.bfloat16).float() if precision == "bfloat16" else weight
