"""Of one id beside many others a table is asked once, and says the same."""

import torch

from ranking.idtables.table import IdTable, each_once


def test_one_id_beside_many_is_looked_up_once() -> None:
    torch.manual_seed(0)
    table = IdTable(6, 3)
    torch.nn.init.normal_(table.weight)
    asked: list[int] = []
    table.register_forward_pre_hook(lambda _table, given: asked.append(len(given[0])))
    one = torch.tensor([[1, 4]])
    for rows, lookups in ((one.expand(5, -1), 1), (one.repeat(5, 1), 5), (one, 1), (one[:0], 0)):
        found = each_once(table, rows)
        assert asked.pop() == lookups
        assert torch.equal(found, (table.weight[rows[:, 0]] + table.weight[rows[:, 1]]) / 2)
    found = each_once(table, one.expand(5, -1))
    found.sum().backward()
    assert table.weight.grad[1].tolist() == [2.5] * 3, "every row has its gradient"
