import numpy as np
import torch
from torch import nn
from torch.testing import assert_close

from ranking.heads import Experts, Stack, Tower
from ranking.interactions.ml_dcn import MaskedCrossing


class Shifted(nn.Module):
    """x + k, so that a reader sees which expert spoke."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x + self.by


def experts(count, heads, width=3):
    shifts = iter(range(1, count + 1))
    return Experts(lambda: Shifted(next(shifts)), width=width, stacks=count, heads=heads)


def test_a_stack_feeds_every_layer_with_what_came_first():
    layers = [MaskedCrossing(4, 2, 2) for _ in range(2)]
    first = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    by_hand = layers[1](first, layers[0](first, first))
    assert_close(Stack(layers)(first), by_hand)


def test_of_one_stack_every_head_reads_the_same():
    x = torch.tensor([[1.0, 2.0, 3.0]])
    found = experts(1, heads=2)(x)
    assert found.tolist() == [[[2.0, 3.0, 4.0]] * 2]
    assert not list(experts(1, heads=2).gates.parameters())


def test_gates_begin_with_the_mean_of_all():
    x = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    found = experts(4, heads=2)(x)  # the mean of 1, 2, 3 and 4 is 2.5
    assert_close(found, (x + 2.5)[:, None].expand(-1, 2, -1))


def test_each_head_mixes_by_its_own_gate_row_by_row():
    mixture = experts(3, heads=2)
    generator = torch.Generator().manual_seed(1)
    for gate in mixture.gates:
        nn.init.normal_(gate.weight, generator=generator)
    x = torch.randn(4, 3, generator=generator)
    found = mixture(x).detach().numpy()
    for row in range(4):
        for head, gate in enumerate(mixture.gates):
            logits = gate.weight.detach().numpy() @ x[row].numpy()
            share = np.exp(logits) / np.exp(logits).sum()
            twin = sum(share[e] * (x[row].numpy() + e + 1) for e in range(3))
            np.testing.assert_allclose(found[row, head], twin, rtol=1e-5)
    assert not np.allclose(found[:, 0], found[:, 1])


def test_a_tower_begins_with_the_rates_or_with_nothing():
    rates, x = torch.tensor([[0.5, -2.0], [1.0, 1.0]]), torch.randn(2, 3)
    for starts_at, expected in ((1.0, [-1.5, 2.0]), (0.0, [0.0, 0.0])):
        tower = Tower(3, 4, 0.0, starts_at=starts_at)
        found = tower(x, rates).detach() - tower.last.bias.detach()
        assert_close(found, torch.tensor(expected))
