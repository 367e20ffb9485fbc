"""Fewer bits say nearly the same, and how nearly is known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranking.errors import ConfigError
from ranking.idtables import quantized as module
from ranking.idtables.quantized import quantized


def test_eight_bits_by_hand():
    """From -1 to 4.1 there are 255 steps of .02: 0 is 50 of them up, .02 is 51."""
    table = quantized(torch.tensor([[-1.0, 4.1, 0.0, 0.02]]), 8)
    assert table.codes.tolist() == [[0, 255, 50, 51]]
    assert float(table.scale[0]) == pytest.approx(0.02, rel=1e-5)
    found = table.look_up(torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[-1.0, 4.1, 0.0, 0.02]]), rtol=0, atol=1e-5)


def test_four_bits_by_hand():
    """From 0 to 15 a step is 1, so whole numbers are exact; two of them are a byte."""
    table = quantized(torch.tensor([[0.0, 15.0, 3.0], [1.0, 1.0, 1.0]]), 4)
    assert table.codes.tolist() == [[0 + 16 * 15, 3], [0, 0]]
    assert table.look_up(torch.tensor([[1, 0]])).tolist() == [[[1.0] * 3, [0.0, 15.0, 3.0]]]


def test_bytes_of_a_row():
    """64 numbers: 256 bytes in float32; 64 + 8 in eight bits, 32 + 4 in four."""
    weight = torch.zeros(10, 64)
    assert [quantized(weight, bits).bytes for bits in (8, 4)] == [720, 360]
    assert len(quantized(weight, 4)) == 10


def test_other_bits_are_refused():
    with pytest.raises(ConfigError, match="bits should be one of 8, 4, received 2"):
        quantized(torch.zeros(1, 1), 2)


@pytest.mark.parametrize("bits", [8, 4])
def test_blocks_change_nothing(bits, monkeypatch):
    weight = torch.linspace(-2, 3, 35).view(7, 5) ** 3
    whole = quantized(weight, bits)
    monkeypatch.setattr(module, "_BLOCK", 3)
    parts = quantized(weight, bits)
    for name in ("codes", "scale", "bias"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


_NUMBERS = st.floats(-100, 100, width=32)


@given(rows=st.lists(st.lists(_NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
@pytest.mark.parametrize("bits", [8, 4])
def test_no_number_is_off_by_more_than_half_a_step(bits, rows):
    """With four bits, ends are rounded to float16 first: by 2^-11 of a row's largest number."""
    weight = torch.tensor(rows, dtype=torch.float32)
    table = quantized(weight, bits)
    found = table.look_up(torch.arange(len(weight)))
    width = (weight.amax(dim=1) - weight.amin(dim=1)) / (2**bits - 1)
    rounding = 2.0**-9 if bits == 4 else 2.0**-20
    most = width / 2 + rounding * weight.abs().amax(dim=1) + 1e-6
    assert bool(((found - weight).abs() <= most[:, None]).all())
