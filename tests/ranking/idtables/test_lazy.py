"""A table moved row by row ends where AdamW ends that moves all of it in every step."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ranking.idtables import lazy
from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.table import IdTable, RowTable


def moved(table, *, rate=0.01, decay=0.0):
    table.mover = LazyAdamW(table.weight, rate=rate, decay=decay)
    return table


def pull(table, rows, gradient):
    """One step in which each of `rows` has so much gradient per lookup."""
    (table(torch.tensor(rows)) * torch.tensor(gradient)).sum().backward()
    table.mover.step()


def value(table, row=0):
    return float(table.weight.detach()[row, 0])


def table_of(*values):
    table = RowTable(len(values), 1)
    with torch.no_grad():
        table.weight.copy_(torch.tensor(values)[:, None])
    return table


def test_two_steps_by_hand():
    """A gradient of 1 moves by a. Without another one m = .09 and v = .000999 are left of it:

    m / (1 - .9^2) = .473684, sqrt(v / (1 - .999^2)) = .706930, so the next step moves by .670057 a.
    """
    table = moved(table_of(0.0, 0.0), rate=0.01)
    pull(table, [0], 1.0)
    assert [value(table, row) for row in (0, 1)] == pytest.approx([-0.01, 0.0], rel=1e-5)
    pull(table, [1], 1.0)
    # Row 0 was not named: it is where it was until it is named, or all settle.
    assert value(table) == pytest.approx(-0.01, rel=1e-5)
    assert float(table(torch.tensor([0])).detach()) == pytest.approx(-0.01 * 1.670057, rel=1e-5)
    table.mover.forget()
    table.mover.settle()
    assert value(table) == pytest.approx(-0.01 * 1.670057, rel=1e-5)


def test_rows_of_two_lookups_have_the_sum_of_their_gradients():
    """After a step of 1 each: 1, then 3 more in row 1, beside 4 at once. Both move it alike."""
    twice, once = (moved(table_of(0.0, 0.0, 0.0)) for _ in range(2))
    for table in (twice, once):
        pull(table, [0, 1, 2], 1.0)
    first, second = twice(torch.tensor([1, 0])), twice(torch.tensor([[1, 2]]))
    (first.sum() + 3.0 * second.sum()).backward()
    twice.mover.step()
    found = once(torch.tensor([0, 1, 2])).flatten()
    (found * torch.tensor([1.0, 4.0, 3.0])).sum().backward()
    once.mover.step()
    torch.testing.assert_close(twice.weight, once.weight, rtol=1e-6, atol=0.0)
    # m = .09 + .4 = .49, v = .000999 + .016 = .016999: .49 / .19 / sqrt(.016999 / .001999) = .8844.
    assert value(once, 1) == pytest.approx(-0.01 * 1.8844, rel=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("scanned", [0, 100])
def test_it_goes_where_adamw_goes(decay, scanned, monkeypatch):
    """300 steps on 12 rows, some of which are named every time, some rarely, one never."""
    monkeypatch.setattr(lazy, "_SCANNED", scanned)
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32))
    whole = nn.Embedding(12, 3, _weight=start.clone())
    rate = 0.05
    adamw = torch.optim.AdamW(whole.parameters(), lr=rate, weight_decay=decay / rate)
    byrow = moved(RowTable(12, 3, _weight=start.clone()), rate=rate, decay=decay)
    chances = np.array([1.0] * 4 + [0.2] * 4 + [0.01] * 3 + [0.0])
    for step in range(300):
        rows = np.flatnonzero(rng.random(12) < chances)
        rows = torch.from_numpy(np.concatenate([rows, rows[:2]]))
        target = torch.from_numpy(rng.normal(size=(len(rows), 3)).astype(np.float32))
        for table in (whole, byrow):
            loss = (table(rows) * target).sum()
            if table is whole:
                adamw.zero_grad()
            loss.backward()
        adamw.step()
        byrow.mover.step()
        if step in (0, 7, 299):
            byrow.mover.settle()
            torch.testing.assert_close(byrow.weight, whole.weight, rtol=1e-4, atol=1e-5)
    assert byrow.weight.grad is None
    idle = start[11] * (1 - decay) ** 300
    torch.testing.assert_close(byrow.weight[11].detach(), idle, rtol=1e-4, atol=1e-6)


def test_a_long_rest_is_as_good_as_many_steps():
    """3,000 idle steps at once, one by one in torch, and as the sum that the docstring has."""
    table = moved(table_of(1.0), rate=1e-3)
    whole = nn.Embedding(1, 1, _weight=torch.ones(1, 1))
    adamw = torch.optim.AdamW(whole.parameters(), lr=1e-3, weight_decay=0.0)
    for count in range(3_001):
        adamw.zero_grad()
        (whole.weight.sum() * (1.0 if count == 0 else 0.0)).backward()
        adamw.step()
    pull(table, [0], 1.0)
    for _ in range(3_000):
        table.mover.step()
    table.mover.settle()
    torch.testing.assert_close(table.weight, whole.weight, rtol=1e-5, atol=1e-6)
    ratio = 0.1 / math.sqrt(0.001)
    further = sum(
        ratio
        * (0.9 / math.sqrt(0.999)) ** j
        * math.sqrt(1 - 0.999 ** (1 + j))
        / (1 - 0.9 ** (1 + j))
        for j in range(1, 3_001)
    )
    assert value(table) == pytest.approx(1.0 - 1e-3 * (1 + further), rel=1e-5)


def test_who_has_no_gradient_stays_exactly_where_they_are():
    table = moved(table_of(0.1, 0.2, 0.3))
    start = table.weight.detach().clone()
    for _ in range(50):
        pull(table, [1], 0.0)
        pull(table, [1], 1.0)
    table.mover.settle()
    assert torch.equal(table.weight.detach()[[0, 2]], start[[0, 2]])
    assert value(table, 1) < 0.2


def test_nothing_looked_up_is_a_step_all_the_same():
    """A lookup of no rows moves nothing, and a row's next step knows that time went by."""
    table, other = moved(table_of(0.0)), moved(table_of(0.0))
    pull(table, [0], 1.0)
    assert table(torch.zeros((2, 0), dtype=torch.int64)).shape == (2, 0, 1)
    table.mover.step()
    pull(other, [0], 1.0)
    pull(other, [0], 0.0)
    table.mover.settle()
    torch.testing.assert_close(table.weight, other.weight, rtol=1e-5, atol=0.0)


def test_reading_needs_nobody_to_move_it():
    table = moved(IdTable(3, 2))
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [7.0, 0.0]]))
        assert table(torch.tensor([[0, 0], [1, 2]])).tolist() == [[1.0, 2.0], [5.0, 2.0]]
    assert table(torch.tensor([[0, 0], [1, 2]])).tolist() == [[1.0, 2.0], [5.0, 2.0]]
    assert list(table.state_dict()) == ["weight"]
