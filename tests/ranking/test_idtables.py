import subprocess
import sys

import torch

from ranking.config import IdTableConfig
from ranking.idtables.placement import Placement, rank_by_frequency
from ranking.idtables.table import IdTable


def test_frequent_ids_get_rows_of_their_own_in_order():
    ids = ["c"] * 3 + ["a"] * 5 + ["b"] * 3 + ["rare"]
    assert rank_by_frequency(ids, IdTableConfig(min_rows=2)) == ("a", "b", "c")
    assert rank_by_frequency(ids, IdTableConfig(min_rows=2, max_exclusive=2)) == ("a", "b")


def test_an_exclusive_row_belongs_to_one_id():
    placement = Placement(("a", "b"), 16)
    rows = placement.rows(["b", "a", *(f"tail{i}" for i in range(500))])
    assert rows[:2].tolist() == [[1, 1], [0, 0]]
    assert rows[2:].min() >= 2
    assert rows.max() < placement.row_count == 18


def test_two_hashes_rarely_collide_together():
    """1,000 ids in 1,024 buckets: about 477 share a first row, about .5 pairs share both."""
    rows = Placement((), 1024).rows([f"id{i}" for i in range(1000)])
    assert len({row[0] for row in rows.tolist()}) < 700
    assert len({tuple(sorted(row)) for row in rows.tolist()}) > 990


def test_slots_are_the_same_in_another_process():
    code = "from ranking.idtables.placement import Placement as P; print(P((), 99).rows(['ä', '']))"
    seen = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert seen == {str(Placement((), 99).rows(["ä", ""])).encode() + b"\n"}


def test_a_vector_is_the_mean_of_its_two_rows():
    table = IdTable(3, 2)
    assert (table.weight == 0).all()
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [7.0, 0.0]]))
    vectors = table(torch.tensor([[0, 0], [1, 2]]))
    assert vectors.tolist() == [[1.0, 2.0], [5.0, 2.0]]
