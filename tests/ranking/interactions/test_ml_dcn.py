import numpy as np
import pytest
import torch
from crossing_twins import affine, array, normalized, randomized, relu, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.dcn_v2 import LowRankCrossing
from ranking.interactions.ml_dcn import MaskedCrossing, sizes

#: D = 6, r = 3, q = 2.
SMALL = {"rank_share": 0.5, "mask_share": 0.6}


def layer_of(**dials):
    return MaskedCrossing(6, CrossingConfig(**SMALL | dials))


def twin(layer, first, x):
    """One row, by the equations of section "ML-DCN" of docs/papers.md."""
    config = layer.config
    read = normalized(x, layer.norm) if config.norm == "before" else x
    m = 1.0
    if config.mask == "constant":
        m = array(layer.mask_constant)
    if config.mask == "instance":
        source = read if config.mask_source == "layer" else first
        m = affine(layer.mask_out, relu(affine(layer.mask_in, source)))
        if config.mask_form == "sigmoid":
            m = 2 / (1 + np.exp(-m))
    z = affine(layer.down, read)
    if config.mask_target == "rank":
        weights = affine(layer.up, z * m)
    else:
        weights = affine(layer.up, z) * m
    if config.mask == "second_block":
        weights = weights + affine(layer.second_up, affine(layer.second_down, read))
    crossed = x + first * weights
    return normalized(crossed, layer.norm) if config.norm == "after" else crossed


@pytest.mark.parametrize(
    "dials",
    [
        {},
        {"mask_source": "first"},
        {"mask_target": "width"},
        {"mask_form": "sigmoid"},
        {"mask_form": "sigmoid", "mask_target": "width", "mask_source": "first"},
        {"mask": "constant"},
        {"mask": "constant", "mask_target": "width"},
        {"mask": "second_block"},
        {"mask": "none"},
        {"norm": "before"},
        {"norm": "before", "mask_source": "first"},
        {"norm": "none"},
    ],
    ids=str,
)
def test_every_switch_equals_a_slow_twin_row_by_row(dials):
    layer = randomized(layer_of(**dials))
    first, x = rows(5, 6), rows(5, 6, seed=1)
    slow = [twin(layer, *pair) for pair in zip(array(first), array(x), strict=True)]
    assert_close(layer(first, x), torch.tensor(np.array(slow)))


def test_the_default_is_the_equation_of_the_paper():
    """By hand: D = 2, r = 1, q = 1, no LN. V = (1 1), U = (1 2)', A = (1 0), B = 3, b_m = 1."""
    layer = MaskedCrossing(2, CrossingConfig(rank_share=0.5, mask_share=1.0, norm="none")).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.down.weight.copy_(torch.tensor([[1.0, 1.0]]))
        layer.up.weight.copy_(torch.tensor([[1.0], [2.0]]))
        layer.mask_in.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.mask_out.weight.copy_(torch.tensor([[3.0]]))
        layer.mask_out.bias.fill_(1.0)
    first = torch.tensor([[10.0, 100.0]], dtype=torch.float64)
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    # z = 5, m = 3 * 2 + 1 = 7, U (z m) = (35, 70), x + x_0 * (35, 70) = (352, 7003)
    assert_close(layer(first, x), torch.tensor([[352.0, 7003.0]], dtype=torch.float64))


def test_without_mask_and_norm_it_is_low_rank_dcn_v2():
    """U (V x + b_z) + b_u = U V x + (U b_z + b_u), so DCNv2 with b' = U b_z + b_u."""
    masked = randomized(layer_of(mask="none", norm="none"))
    plain = LowRankCrossing(6, CrossingConfig(kind="dcn_v2", rank_share=0.5, norm="none")).double()
    with torch.no_grad():
        plain.down.weight.copy_(masked.down.weight)
        plain.up.weight.copy_(masked.up.weight)
        plain.up.bias.copy_(masked.up.weight @ masked.down.bias + masked.up.bias)
    first, x = rows(7, 6), rows(7, 6, seed=1)
    assert_close(masked(first, x), plain(first, x), rtol=1e-12, atol=1e-12)


def test_a_constant_mask_is_low_rank_dcn_v2_with_other_columns():
    """U diag(m) (V x + b_z) + b_u: what does not depend on the row is a matrix U diag(m)."""
    masked = randomized(layer_of(mask="constant", norm="none"))
    plain = LowRankCrossing(6, CrossingConfig(kind="dcn_v2", rank_share=0.5, norm="none")).double()
    with torch.no_grad():
        weighted = masked.up.weight * masked.mask_constant
        plain.down.weight.copy_(masked.down.weight)
        plain.up.weight.copy_(weighted)
        plain.up.bias.copy_(weighted @ masked.down.bias + masked.up.bias)
    first, x = rows(7, 6), rows(7, 6, seed=1)
    assert_close(masked(first, x), plain(first, x), rtol=1e-12, atol=1e-12)


def test_a_second_block_is_low_rank_dcn_v2_of_a_higher_rank():
    """(U U') (V V')' x: two blocks are one with as many columns as both have."""
    config = CrossingConfig(mask="second_block", norm="none", **SMALL)
    masked, both = randomized(MaskedCrossing(6, config)), 3 + sizes(6, config).second
    plain = LowRankCrossing(6, CrossingConfig(rank_share=both / 6, norm="none")).double()
    with torch.no_grad():
        plain.down.weight.copy_(torch.cat([masked.down.weight, masked.second_down.weight]))
        plain.up.weight.copy_(torch.cat([masked.up.weight, masked.second_up.weight], dim=1))
        plain.up.bias.copy_(masked.up.weight @ masked.down.bias + masked.up.bias)
    first, x = rows(7, 6), rows(7, 6, seed=1)
    assert_close(masked(first, x), plain(first, x), rtol=1e-12, atol=1e-12)


def test_a_second_block_has_the_parameters_of_the_mask_it_replaces():
    # D = 40, r = 8, q = 4: the mask has 40 * 4 + 4 + 4 * 8 + 8 = 204, a rank costs 2 * 40 = 80.
    config = CrossingConfig(rank_share=0.2, mask_share=0.5)
    assert sizes(40, config) == (8, 4, 8, 3)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
@pytest.mark.parametrize("mask", ["instance", "constant", "second_block"])
def test_a_fresh_layer_is_the_one_without_a_mask(mask, form):
    layer, bare = layer_of(mask=mask, mask_form=form).double(), layer_of(mask="none").double()
    bare.load_state_dict({k: layer.state_dict()[k] for k in bare.state_dict()})
    first, x = rows(4, 6), rows(4, 6, seed=1)
    assert_close(layer(first, x), bare(first, x))


def test_masks_differ_per_example_and_can_amplify():
    layer = MaskedCrossing(2, CrossingConfig(rank_share=0.5, mask_share=1.0))
    with torch.no_grad():
        layer.mask_in.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.mask_in.bias.zero_()
        layer.mask_out.weight.copy_(torch.tensor([[2.0]]))
    x = torch.tensor([[0.0, 9.0], [1.0, 9.0], [3.0, 9.0]])
    # m = 2 relu(x_1) + 1
    assert_close(layer.mask(torch.zeros_like(x), x), torch.tensor([[1.0], [3.0], [7.0]]))
    bounded = MaskedCrossing(
        2, CrossingConfig(rank_share=0.5, mask_share=1.0, mask_form="sigmoid", mask_deviation=9.0)
    )
    m = bounded.mask(torch.zeros_like(x), 100 * x)
    assert ((m >= 0) & (m <= 2)).all()


def test_a_deviation_starts_the_mask_away_from_one():
    torch.manual_seed(0)
    layer = MaskedCrossing(200, CrossingConfig(rank_share=1.0, mask_share=1.0, mask_deviation=0.3))
    # 40,000 numbers: their deviation is within 2 % of what it is drawn by.
    assert float(layer.mask_out.weight.detach().std()) == pytest.approx(0.3, rel=0.02)
    assert (layer.mask_out.bias == 1).all()
