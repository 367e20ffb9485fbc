"""Rows in whole numbers of 8 or 4 bits, with a scale and a bias for each row.

Takes a table, gives a smaller one that answers nearly the same; never trains. What is lost is
bounded row by row: half a step of its scale.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from ranking.checks import check

# Dimensions: N rows, E numbers of a row, C bytes of a row's codes, m rows that are asked for.

#: Bits of a number -> what a row's scale and bias are kept in. At 4 bits, float32 would be half as
#: much again as the codes of 16 numbers.
BITS = {8: torch.float32, 4: torch.float16}
#: Rows that are made at once: bounds memory, changes no number.
_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class QuantizedRows:
    """A table `x = scale * code + bias`, codes from 0 to 2^bits - 1.

    Two codes of 4 bits share a byte, the former in its lower half; of an odd number of them the
    last byte is half empty.
    """

    bits: int
    dim: int
    codes: UInt8[Tensor, "N C"]
    scale: Float[Tensor, "N"]
    bias: Float[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bytes(self) -> int:
        """What it takes, scales and biases included."""
        parts = (self.codes, self.scale, self.bias)
        return sum(part.numel() * part.element_size() for part in parts)

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float32[Tensor, "*any E"]:
        """Rows in float32."""
        named = rows.flatten()
        codes, scale, bias = (
            part.index_select(0, named) for part in (self.codes, self.scale, self.bias)
        )
        found = dequantized(codes, scale, bias, bits=self.bits, dim=self.dim)
        return found.view(*rows.shape, self.dim)


def dequantized(
    codes: UInt8[Tensor, "m C"],
    scale: Float[Tensor, "m"],
    bias: Float[Tensor, "m"],
    *,
    bits: int,
    dim: int,
) -> Float32[Tensor, "m E"]:
    """`scale * code + bias` of some rows, all numbers at once."""
    if bits == 4:
        codes = torch.stack([codes & 0xF, codes >> 4], dim=2).flatten(1)[:, :dim]
    return torch.addcmul(bias.float().unsqueeze(1), codes.float(), scale.float().unsqueeze(1))


@torch.no_grad()
def quantized(weight: Float[Tensor, "N E"], bits: int) -> QuantizedRows:
    """A table of 8 or 4 bits; each row has its own range.

    bias = min(x),  scale = (max(x) - min(x)) / (2^bits - 1),  code = round((x - bias) / scale)

    The row-wise form of FBGEMM and TorchRec; arXiv 1911.02079 has what 4 bits do to such tables.
    Scale and bias are rounded first, and codes made for what is left, so an error is at most half a
    scale, and where rounding moves an end inwards by that much more. A row of one value is exact in
    8 bits. Raises `ConfigError` for other bits.
    """
    check(bits in BITS, "bits", f"one of {', '.join(map(str, BITS))}", bits)
    count, dim = weight.shape
    kept = BITS[bits]
    codes = torch.empty((count, dim if bits == 8 else (dim + 1) // 2), dtype=torch.uint8)
    scale, bias = torch.empty(count, dtype=kept), torch.empty(count, dtype=kept)
    for first in range(0, count, _BLOCK):
        part = slice(first, first + _BLOCK)
        codes[part], scale[part], bias[part] = _block(weight[part].float(), bits)
    return QuantizedRows(bits=bits, dim=dim, codes=codes, scale=scale, bias=bias)


def _block(
    rows: Float32[Tensor, "m E"], bits: int
) -> tuple[UInt8[Tensor, "m C"], Float[Tensor, "m"], Float[Tensor, "m"]]:
    least, most = rows.aminmax(dim=1)
    highest = 2**bits - 1
    bias = least.to(BITS[bits])
    scale = ((most - bias.float()) / highest).clamp(min=0).to(BITS[bits])
    step = scale.float().unsqueeze(1)
    # A row of one value, or one whose scale is too small to be told, has codes of 0.
    codes = (rows - bias.float().unsqueeze(1)) / torch.where(step > 0, step, torch.ones_like(step))
    whole = codes.round().clamp(0, highest).to(torch.uint8)
    if bits == 4:
        if whole.shape[1] % 2:
            whole = torch.nn.functional.pad(whole, (0, 1))
        whole = whole[:, ::2] | (whole[:, 1::2] << 4)
    return whole, scale, bias
