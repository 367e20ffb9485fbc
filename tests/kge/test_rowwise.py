import math

import torch

from kge.rowwise import Adagrad, RowwiseAdagrad


def test_rows_move_as_in_a_slow_loop_and_the_others_stay():
    draw = torch.Generator().manual_seed(1)
    table = torch.randn(6, 3, generator=draw)
    values, state = table.tolist(), [0.0] * 6
    learner = RowwiseAdagrad.of(table)
    for rows in ([0, 2, 5], [2, 3], [0, 2]):
        place = torch.tensor(rows)
        gradient = torch.randn(len(rows), 3, generator=draw)
        table[place] = learner.move(place, table[place], gradient, 0.5)
        for n, row in enumerate(rows):
            g = gradient[n].tolist()
            state[row] += sum(x * x for x in g) / 3
            for j in range(3):
                values[row][j] -= 0.5 * g[j] / (math.sqrt(state[row]) + 1e-10)
    torch.testing.assert_close(table, torch.tensor(values))
    torch.testing.assert_close(learner.state, torch.tensor(state))
    assert state[1] == state[4] == 0.0


def test_a_slice_moves_as_torch_adagrad_does():
    draw = torch.Generator().manual_seed(2)
    table = torch.randn(4, 3, 2, generator=draw)
    untouched = table.clone()
    twin = torch.nn.Parameter(table[2].clone())
    optimizer = torch.optim.Adagrad([twin], lr=0.3)
    learner = Adagrad.of(table)
    for _ in range(3):
        gradient = torch.randn(3, 2, generator=draw)
        learner.step(2, gradient, 0.3)
        twin.grad = gradient
        optimizer.step()
    torch.testing.assert_close(table[2], twin.detach())
    torch.testing.assert_close(table[[0, 1, 3]], untouched[[0, 1, 3]])


def test_rows_of_a_vector_move_alone():
    """Gradients 4 and 3: steps of 0.1 * 4 / 4 and 0.1 * 3 / 5."""
    table = torch.zeros(3)
    learner = Adagrad.of(table)
    for gradient, expected in ((4.0, -0.1), (3.0, -0.16)):
        learner.step(torch.tensor([2]), torch.tensor([gradient]), 0.1)
        torch.testing.assert_close(table, torch.tensor([0.0, 0.0, expected]))
