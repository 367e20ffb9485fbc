import numpy as np
import torch
from torch import nn
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.heads import Experts, Tower
from ranking.interactions.registry import crossing_stack, out_width


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


def test_stacks_may_give_another_width_than_they_take():
    """MaskNet side by side: two blocks of 3 numbers each, mixed by gates over the 6 of x_0."""
    config = CrossingConfig(kind="mask_net_parallel", layers=2, hidden_share=0.5)
    mixture = Experts(lambda: crossing_stack(6, config), width=6, stacks=2, heads=2)
    assert out_width(6, config) == 6
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    alone = [stack(x) for stack in mixture.stacks]
    assert_close(mixture(x)[:, 0], (alone[0] + alone[1]) / 2)
    wide = CrossingConfig(kind="mask_net_parallel", layers=3, hidden_share=0.5)
    made = Experts(lambda: crossing_stack(6, wide), width=6, stacks=2, heads=2)
    assert made(x).shape == (5, 2, out_width(6, wide)) == (5, 2, 9)


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
