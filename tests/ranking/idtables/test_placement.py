import hashlib
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

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


_IDS = st.lists(st.sampled_from(["", "a", "b", "ä", "tail1", "tail2", "tail3"]), max_size=20)


@given(ids=_IDS, least=st.integers(1, 3), most=st.integers(1, 3))
def test_each_id_is_counted_and_placed_as_by_a_slow_loop(ids, least, most):
    counts = {}
    for name in ids:
        counts[name] = counts.get(name, 0) + 1
    often = sorted((-n, name) for name, n in counts.items() if n >= least)
    config = IdTableConfig(min_rows=least, max_exclusive=most)
    exclusive = rank_by_frequency(ids, config)
    assert exclusive == tuple(name for _, name in often[:most])
    expected = []
    for name in ids:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        halves = (int.from_bytes(half, "little") % 5 for half in (digest[:8], digest[8:]))
        own = exclusive.index(name) if name in exclusive else None
        expected.append([len(exclusive) + half if own is None else own for half in halves])
    for given_ in (ids, np.array(ids, dtype=object)):
        assert rank_by_frequency(given_, config) == exclusive
        assert Placement(exclusive, 5).rows(given_).tolist() == expected


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


def test_an_id_whose_last_row_is_too_old_has_no_row_of_its_own():
    """Days 0 to 10; with three days of age what was last seen before day 7 goes."""
    day = 24 * 3600
    ids = ["old"] * 5 + ["new"] * 2 + ["back", "back"]
    times = np.array([0, 1, 2, 3, 6, 9, 10, 0, 7], dtype=np.int64) * day
    config = IdTableConfig(min_rows=2)
    assert rank_by_frequency(ids, config, times=times) == ("old", "back", "new")
    aged = IdTableConfig(min_rows=2, max_age_days=3.0)
    assert rank_by_frequency(ids, aged, times=times) == ("back", "new")
    assert rank_by_frequency(ids, aged) == ("old", "back", "new")
    assert rank_by_frequency([], aged, times=times[:0]) == ()


def test_a_slot_that_was_given_up_is_nobodys():
    placement = Placement(("a", None, "c"), 4)
    assert placement.row_count == 7
    assert placement.rows(["c", "a"]).tolist() == [[2, 2], [0, 0]]
    assert placement.rows(["b"]).min() >= 3
