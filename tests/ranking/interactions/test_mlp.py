import numpy as np
import pytest
import torch
from crossing_twins import affine, array, normalized, randomized, relu, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.mlp import MlpStack


@pytest.mark.parametrize("norm", ["after", "before", "none"])
def test_layers_equal_a_slow_twin_row_by_row(norm):
    net = randomized(MlpStack(6, CrossingConfig(hidden_share=0.5, layers=3, norm=norm)))
    slow = []
    for x in array(rows(5, 6)):
        hidden = x
        for layer in net:
            read = normalized(hidden, layer.norm) if norm == "before" else hidden
            hidden = relu(affine(layer.map, read))
            hidden = normalized(hidden, layer.norm) if norm == "after" else hidden
        slow.append(hidden)
    assert_close(net(rows(5, 6)), torch.tensor(np.array(slow)))
