"""Slots stay from version to version, and rows with them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranking.errors import TableMismatch
from ranking.idtables.placement import Placement
from ranking.idtables.succession import succeed, succession


def test_who_stays_keeps_the_slot_and_who_comes_gets_what_was_left():
    step = succeed(Placement(("a", "b", "c", "d"), 2), ("x", "d", "b", "y", "z"))
    assert step.placement == Placement(("x", "b", "y", "d", "z"), 2)
    assert step.evicted == ("a", "c")
    assert step.admitted.tolist() == [0, 2, 4]
    # b, d, and the two buckets, which now lie behind five rows.
    assert step.before.tolist() == [1, 3, 4, 5]
    assert step.now.tolist() == [1, 3, 5, 6]
    rows = torch.arange(6.0)[:, None].expand(-1, 2).contiguous()
    moved = step.carried({"weight": rows, "sum": torch.arange(10.0, 16.0)})
    assert moved["weight"][:, 1].tolist() == [0, 1, 0, 3, 0, 4, 5]
    assert moved["sum"].tolist() == [0, 11, 0, 13, 0, 14, 15]


def test_empty_slots_stay_between_others_and_go_at_the_end():
    step = succeed(Placement(("a", "b", "c", "d"), 1), ("c",))
    assert step.placement.exclusive == (None, None, "c")
    again = succeed(step.placement, ("c", "n"))
    assert again.placement.exclusive == ("n", None, "c")
    assert again.evicted == ()
    assert again.admitted.tolist() == [0]


def test_nobody_is_named_twice():
    with pytest.raises(TableMismatch, match="received 3 of which 2 differ"):
        succeed(Placement((), 1), ("a", "b", "a"))


_NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(versions=st.lists(_NAMES, min_size=1, max_size=6), buckets=st.integers(1, 3))
def test_rows_follow_their_ids_through_any_versions(versions, buckets):
    """Each id's row holds the version in which it came; whoever stays has it still."""
    placement, rows = Placement((), buckets), torch.arange(buckets) + 100
    since = {}
    for number, names in enumerate(versions, start=1):
        step = succeed(placement, tuple(names))
        rows = step.carried({"rows": rows})["rows"]
        rows[torch.from_numpy(step.admitted)] = number
        before, placement = placement, step.placement
        since = {name: since.get(name, number) for name in names}
        own = [name for name in placement.exclusive if name is not None]
        assert sorted(own) == sorted(names)
        for name in names:
            slot = placement.exclusive.index(name)
            assert int(rows[slot]) == since[name]
            if name in before.exclusive:
                assert before.exclusive.index(name) == slot
        assert rows[-buckets:].tolist() == [100 + n for n in range(buckets)]
        assert len(rows) == placement.row_count


def test_rows_are_found_by_name_whatever_their_order_and_other_buckets_are_other_rows():
    step = succession(Placement(("a", None, "b"), 2), Placement(("b", "n", "a"), 3))
    assert step.before.tolist() == [2, 0]
    assert step.now.tolist() == [0, 2]
    assert step.admitted.tolist() == [1]
    assert step.evicted == ()
    moved = step.carried({"rows": torch.arange(5.0)})["rows"]
    assert moved.tolist() == [2, 0, 0, 0, 0, 0]
