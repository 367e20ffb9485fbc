import numpy as np
import pytest
import torch
from crossing_twins import affine, array, normalized, randomized, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.dcn_v2 import FullCrossing, LowRankCrossing, MixtureCrossing

NORMS = ["after", "before", "none"]


def full(layer, x):
    return affine(layer.whole, x)


def low_rank(layer, x):
    return affine(layer.up, affine(layer.down, x))


def mixture(layer, x):
    """Expert by expert, each with its own U, V and C, as the paper writes it."""
    experts, rank, _ = layer.inner.shape
    V = array(layer.down.weight).reshape(experts, rank, -1)
    U = array(layer.up.weight).reshape(-1, experts, rank).transpose(1, 0, 2)
    gate = np.exp(array(layer.gate.weight) @ x)
    gate = gate / gate.sum()
    return sum(
        gate[k] * (U[k] @ np.tanh(array(layer.inner[k]) @ np.tanh(V[k] @ x)) + array(layer.up.bias))
        for k in range(experts)
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("kind", "weights"),
    [(FullCrossing, full), (LowRankCrossing, low_rank), (MixtureCrossing, mixture)],
)
def test_a_layer_equals_a_slow_twin_row_by_row(kind, weights, norm):
    layer = randomized(kind(6, CrossingConfig(rank_share=0.5, experts=3, norm=norm)))
    first, x = rows(5, 6), rows(5, 6, seed=1)
    slow = []
    for x0, xl in zip(array(first), array(x), strict=True):
        read = normalized(xl, layer.norm) if norm == "before" else xl
        crossed = xl + x0 * weights(layer, read)
        slow.append(normalized(crossed, layer.norm) if norm == "after" else crossed)
    assert_close(layer(first, x), torch.tensor(np.array(slow)))


def test_low_rank_is_the_full_one_of_the_product_of_its_matrices():
    config = CrossingConfig(rank_share=0.5, norm="none")
    narrow, wide = randomized(LowRankCrossing(6, config)), FullCrossing(6, config).double()
    with torch.no_grad():
        wide.whole.weight.copy_(narrow.up.weight @ narrow.down.weight)
        wide.whole.bias.copy_(narrow.up.bias)
    first, x = rows(5, 6), rows(5, 6, seed=1)
    assert_close(wide(first, x), narrow(first, x), rtol=1e-12, atol=1e-12)


def test_experts_that_are_all_alike_are_one_whatever_the_gate_says():
    many = randomized(MixtureCrossing(6, CrossingConfig(rank_share=0.5, experts=3, norm="none")))
    one = MixtureCrossing(6, CrossingConfig(rank_share=0.5, experts=1, norm="none")).double()
    with torch.no_grad():
        many.down.weight.copy_(many.down.weight[:3].repeat(3, 1))
        many.up.weight.copy_(many.up.weight[:, :3].repeat(1, 3))
        many.inner.copy_(many.inner[:1].repeat(3, 1, 1))
        one.down.weight.copy_(many.down.weight[:3])
        one.up.weight.copy_(many.up.weight[:, :3])
        one.up.bias.copy_(many.up.bias)
        one.inner.copy_(many.inner[:1])
    first, x = rows(5, 6), rows(5, 6, seed=1)
    assert_close(many(first, x), one(first, x), rtol=1e-12, atol=1e-12)
