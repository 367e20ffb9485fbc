import math

import pytest
import torch

from kge.rowwise import Adagrad, Adam


def walk(learner, table: torch.Tensor, visits, draw: torch.Generator):
    """Random gradients for some rows at a time; gives what was sent to which row."""
    told = []
    for rows in visits:
        place = torch.tensor(rows)
        gradient = torch.randn(len(rows), *table.shape[1:], generator=draw)
        table[place] = learner.move(place, table[place], gradient, 0.1)
        told.append(dict(zip(rows, gradient, strict=True)))
    return told


VISITS = ([0, 2, 5], [2, 3], [0, 2])


def test_rowwise_adagrad_as_in_a_slow_loop():
    draw = torch.Generator().manual_seed(1)
    table = torch.randn(6, 3, generator=draw)
    values, state = table.tolist(), [0.0] * 6
    learner = Adagrad(table, rowwise=True)
    for sent in walk(learner, table, VISITS, draw):
        for row, gradient in sent.items():
            g = gradient.tolist()
            state[row] += sum(x * x for x in g) / 3
            for j in range(3):
                values[row][j] -= 0.1 * g[j] / (math.sqrt(state[row]) + 1e-10)
    torch.testing.assert_close(table, torch.tensor(values))
    torch.testing.assert_close(learner.state()["sum"], torch.tensor(state))
    assert state[1] == state[4] == 0.0


def test_rowwise_adam_as_in_a_slow_loop():
    draw = torch.Generator().manual_seed(2)
    table = torch.randn(6, 3, generator=draw)
    values = table.tolist()
    mean, square, steps = [[0.0] * 3 for _ in range(6)], [0.0] * 6, [0] * 6
    learner = Adam(table, rowwise=True)
    for sent in walk(learner, table, VISITS, draw):
        for row, gradient in sent.items():
            g, steps[row] = gradient.tolist(), steps[row] + 1
            square[row] = 0.999 * square[row] + 0.001 * sum(x * x for x in g) / 3
            for j in range(3):
                mean[row][j] = 0.9 * mean[row][j] + 0.1 * g[j]
                up = mean[row][j] / (1 - 0.9 ** steps[row])
                down = math.sqrt(square[row] / (1 - 0.999 ** steps[row])) + 1e-10
                values[row][j] -= 0.1 * up / down
    torch.testing.assert_close(table, torch.tensor(values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "twin"), [(Adagrad, torch.optim.Adagrad), (Adam, torch.optim.Adam)]
)
def test_a_relations_matrix_moves_as_torchs_own_and_the_others_stay(kind, twin):
    draw = torch.Generator().manual_seed(3)
    table = torch.randn(4, 3, 2, generator=draw)
    untouched = table.clone()
    leaf = torch.nn.Parameter(table[2:3].clone())
    optimizer, learner = twin([leaf], lr=0.3), kind(table, rowwise=False)
    for _ in range(4):
        leaf.grad = torch.randn(1, 3, 2, generator=draw)
        table[2:3] = learner.move(slice(2, 3), table[2:3], leaf.grad, 0.3)
        optimizer.step()
    torch.testing.assert_close(table[2:3], leaf.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(table[[0, 1, 3]], untouched[[0, 1, 3]], rtol=0, atol=0)


@pytest.mark.parametrize("kind", [Adagrad, Adam])
@pytest.mark.parametrize("rowwise", [True, False])
def test_a_slice_of_all_rows_is_the_same_as_naming_them(kind, rowwise):
    draw = torch.Generator().manual_seed(4)
    left = torch.randn(5, 3, generator=draw)
    right = left.clone()
    first, second = kind(left, rowwise=rowwise), kind(right, rowwise=rowwise)
    for _ in range(3):
        gradient = torch.randn(5, 3, generator=draw)
        left = first.move(slice(None), left, gradient, 0.1)
        right = second.move(torch.arange(5), right, gradient, 0.1)
    torch.testing.assert_close(left, right)
    for name, value in first.state().items():
        torch.testing.assert_close(value, second.state()[name])


def test_rows_of_a_vector_move_alone():
    """Gradients 4 and 3: steps of 0.1 * 4 / 4 and 0.1 * 3 / 5."""
    table = torch.zeros(3)
    learner = Adagrad(table, rowwise=True)
    for gradient, expected in ((4.0, -0.1), (3.0, -0.16)):
        place = torch.tensor([2])
        table[place] = learner.move(place, table[place], torch.tensor([gradient]), 0.1)
        torch.testing.assert_close(table, torch.tensor([0.0, 0.0, expected]))
