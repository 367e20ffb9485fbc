"""What a table knew is not learned again, and who is new begins beside who is alike."""

import pytest
import torch

from ranking.errors import TableMismatch
from ranking.idtables.known import KnownRows, begin_with
from ranking.idtables.placement import Placement
from ranking.idtables.table import IdTable

KNOWN = KnownRows(Placement(("a", "b"), 1), torch.tensor([[1.0, 1.0], [3.0, 5.0], [9.0, 9.0]]))


def table_of(placement, precision="float32"):
    table = IdTable(placement.row_count, 2, precision)
    with torch.no_grad():
        table.weight.fill_(0.5)
    return table


def test_rows_follow_their_ids_and_a_new_one_is_the_mean_of_its_two_equal_neighbors():
    """n points as far from a as from b; m has no vector and begins at zero."""
    placement = Placement(("b", "n", "a", "m"), 1)
    table = table_of(placement)
    vectors = torch.tensor([[0.0, 1.0], [2.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    begin_with(table, placement, KNOWN, vectors=vectors)
    expected = torch.tensor([[3.0, 5.0], [2.0, 3.0], [1.0, 1.0], [0.0, 0.0], [9.0, 9.0]])
    torch.testing.assert_close(table.weight.detach(), expected)


def test_without_vectors_new_ids_stay_where_they_are():
    placement = Placement(("n", "a"), 2)
    table = table_of(placement, "bfloat16")
    begin_with(table, placement, KNOWN)
    assert table.weight.detach().tolist() == [[0.5, 0.5], [1.0, 1.0], [0.5, 0.5], [0.5, 0.5]]


def test_rows_that_do_not_fit_are_refused():
    placement = Placement(("a",), 1)
    wide = KnownRows(KNOWN.placement, torch.zeros(3, 4))
    with pytest.raises(TableMismatch, match="known rows should be 3 of 2 numbers, received 3 of 4"):
        begin_with(table_of(placement), placement, wide)
