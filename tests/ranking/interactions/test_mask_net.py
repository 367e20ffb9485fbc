import numpy as np
import pytest
import torch
from crossing_twins import affine, array, normalized, randomized, relu, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.mask_net import ParallelMaskNet, SerialMaskNet

#: D = 6, h = 4.
SMALL = {"hidden_share": 4 / 6, "mask_share": 0.5, "layers": 3}


def block_twin(block, first, v):
    m = affine(block.mask_out, relu(affine(block.mask_in, first)))
    masked = m * v
    if block.place == "before":
        masked = normalized(masked, block.norm)
    y = affine(block.out, masked)
    return relu(normalized(y, block.norm) if block.place == "after" else y)


@pytest.mark.parametrize("norm", ["after", "before", "none"])
def test_blocks_in_a_row_equal_a_slow_twin(norm):
    net = randomized(SerialMaskNet(6, CrossingConfig(norm=norm, **SMALL)))
    slow = []
    for x0 in array(rows(5, 6)):
        v = x0
        for block in net.blocks:
            v = block_twin(block, x0, v)
        slow.append(v)
    assert_close(net(rows(5, 6)), torch.tensor(np.array(slow)))


@pytest.mark.parametrize("norm", ["after", "before", "none"])
def test_blocks_side_by_side_equal_a_slow_twin(norm):
    net = randomized(ParallelMaskNet(6, CrossingConfig(norm=norm, **SMALL)))
    slow = [
        np.concatenate([block_twin(block, x0, x0) for block in net.blocks])
        for x0 in array(rows(5, 6))
    ]
    assert_close(net(rows(5, 6)), torch.tensor(np.array(slow)))


@pytest.mark.parametrize("kind", [SerialMaskNet, ParallelMaskNet])
def test_with_a_mask_of_one_and_no_norm_it_is_an_mlp_without_biases(kind):
    net = randomized(kind(6, CrossingConfig(norm="none", **SMALL)))
    with torch.no_grad():
        for block in net.blocks:
            block.mask_out.weight.zero_()
            block.mask_out.bias.fill_(1.0)
    x = rows(5, 6)
    if kind is SerialMaskNet:
        expected = x
        for block in net.blocks:
            expected = torch.relu(expected @ block.out.weight.T)
    else:
        expected = torch.relu(x @ torch.cat([block.out.weight for block in net.blocks]).T)
    assert_close(net(x), expected, rtol=1e-12, atol=1e-12)
