import numpy as np
import pytest
import torch
from crossing_twins import affine, array, normalized, randomized, relu, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.wukong import WuKong

#: D = 10 as 4 tokens of 3 numbers, the last two of which are filled up.
SMALL = {"tokens": 4, "fm_rank": 2, "hidden_share": 0.5, "layers": 2}


def layer_twin(layer, X):
    read = np.array([normalized(token, layer.norm) for token in X]) if before(layer) else X
    Y, C = array(layer.columns.weight).T, array(layer.compress.weight)
    # P[i, k] = sum_j <x_i, x_j> Y[j, k], from the products of all pairs of tokens
    P = np.array([[sum(a @ b * Y[j, k] for j, b in enumerate(read)) for k in (0, 1)] for a in read])
    hidden = relu(affine(layer.first, normalized(P.reshape(-1), layer.inner_norm)))
    products = affine(layer.second, hidden).reshape(-1, X.shape[1])
    compressed = [sum(c * token for c, token in zip(line, read, strict=True)) for line in C]
    made = np.concatenate([products, np.array(compressed)]) + X
    if layer.place == "after":
        made = np.array([normalized(token, layer.norm) for token in made])
    return made


def before(layer):
    return layer.place == "before"


@pytest.mark.parametrize("norm", ["after", "before", "none"])
def test_layers_equal_a_slow_twin_row_by_row(norm):
    net = randomized(WuKong(10, CrossingConfig(norm=norm, **SMALL)))
    slow = []
    for x0 in array(rows(5, 10)):
        X = np.concatenate([x0, [0.0, 0.0]]).reshape(4, 3)
        for layer in net.layers:
            X = layer_twin(layer, X)
        slow.append(X.reshape(-1))
    assert_close(net(rows(5, 10)), torch.tensor(np.array(slow)))


def test_without_products_and_norm_it_is_a_linear_map_of_tokens():
    net = randomized(WuKong(12, CrossingConfig(norm="none", **SMALL | {"layers": 1})))
    [layer] = net.layers
    with torch.no_grad():
        layer.second.weight.zero_()
        layer.second.bias.zero_()
    x = rows(5, 12)
    # Tokens 0 and 1 stay, 2 and 3 get a sum of all.
    moved = torch.cat([torch.zeros(2, 4, dtype=torch.float64), layer.compress.weight])
    whole = torch.kron(torch.eye(4, dtype=torch.float64) + moved, torch.eye(3, dtype=torch.float64))
    assert_close(net(x), x @ whole.T, rtol=1e-12, atol=1e-12)
