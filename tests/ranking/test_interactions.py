import numpy as np
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from ranking.interactions import dcn_v2, ml_dcn
from ranking.interactions.dcn_v2 import LowRankCrossing
from ranking.interactions.ml_dcn import MaskedCrossing


def randomized(layer):
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.double()


def rows(count, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, width, dtype=torch.float64, generator=generator) for _ in range(2)]


def normalized(x, norm):
    centered = x - x.mean()
    return centered / np.sqrt((centered**2).mean() + norm.eps) * array(norm.weight) + array(
        norm.bias
    )


def array(tensor):
    return tensor.detach().numpy()


def test_ml_dcn_equals_a_slow_twin_row_by_row():
    layer = randomized(MaskedCrossing(6, 3, 2))
    first, x = rows(5, 6)
    V, b_z = array(layer.down.weight), array(layer.down.bias)
    U, b_u = array(layer.up.weight), array(layer.up.bias)
    A, a = array(layer.mask_in.weight), array(layer.mask_in.bias)
    B, b_m = array(layer.mask_out.weight), array(layer.mask_out.bias)
    twin = []
    for x0, xl in zip(array(first), array(x), strict=True):
        z = V @ xl + b_z
        m = B @ np.maximum(A @ xl + a, 0) + b_m
        twin.append(normalized(xl + x0 * (U @ (z * m) + b_u), layer.norm))
    assert_close(layer(first, x), torch.tensor(np.array(twin)))


def test_low_rank_dcn_v2_equals_a_slow_twin_row_by_row():
    layer = randomized(LowRankCrossing(6, 3))
    first, x = rows(5, 6)
    V, U, b = array(layer.down.weight), array(layer.up.weight), array(layer.up.bias)
    twin = [
        normalized(xl + x0 * (U @ (V @ xl) + b), layer.norm)
        for x0, xl in zip(array(first), array(x), strict=True)
    ]
    assert_close(layer(first, x), torch.tensor(np.array(twin)))


def test_without_mask_and_norm_ml_dcn_is_low_rank_dcn_v2():
    """U (V x + b_z) + b_u = U V x + (U b_z + b_u), so DCNv2 with b' = U b_z + b_u."""
    masked = randomized(MaskedCrossing(6, 3, 2, mask=False, layer_norm=False))
    plain = LowRankCrossing(6, 3, layer_norm=False).double()
    with torch.no_grad():
        plain.down.weight.copy_(masked.down.weight)
        plain.up.weight.copy_(masked.up.weight)
        plain.up.bias.copy_(masked.up.weight @ masked.down.bias + masked.up.bias)
    first, x = rows(7, 6)
    assert_close(masked(first, x), plain(first, x), rtol=1e-12, atol=1e-12)


def test_a_fresh_mask_is_one_so_training_starts_at_dcn_v2():
    layer = MaskedCrossing(6, 3, 2).double()
    _, x = rows(4, 6)
    assert_close(layer.mask(x), torch.ones(4, 3, dtype=torch.float64))


def test_masks_differ_per_example_and_can_amplify():
    layer = MaskedCrossing(2, 1, 1)
    with torch.no_grad():
        layer.mask_in.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.mask_in.bias.zero_()
        layer.mask_out.weight.copy_(torch.tensor([[2.0]]))
    x = torch.tensor([[0.0, 9.0], [1.0, 9.0], [3.0, 9.0]])
    # m = 2 relu(x_1) + 1
    assert_close(layer.mask(x), torch.tensor([[1.0], [3.0], [7.0]]))


def test_matrix_flops_equal_torchs_count():
    width, rank, hidden, batch = 40, 8, 4, 16
    first, x = rows(batch, width)
    # 4 * 40 * 8 + 2 * 40 * 4 + 2 * 4 * 8 = 1280 + 320 + 64
    assert ml_dcn.matrix_flops(width, rank, hidden) == 1664
    with FlopCounterMode(display=False) as counter:
        MaskedCrossing(width, rank, hidden).double()(first, x)
    assert counter.get_total_flops() == batch * 1664
    with FlopCounterMode(display=False) as counter:
        LowRankCrossing(width, rank).double()(first, x)
    assert counter.get_total_flops() == batch * dcn_v2.matrix_flops(width, rank) == batch * 1280
