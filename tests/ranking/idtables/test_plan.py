"""Bytes that a reader adds up, and what is chosen so that they fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranking.errors import TableMemory
from ranking.idtables.dials import IdTableConfig
from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.plan import MIB, Wanted, evicted, plan
from ranking.idtables.rowwise import RowwiseAdagrad
from ranking.idtables.table import IdTable

HEADS = Wanted("heads", 1 << 16, 1 << 16)


def planned(*, whole=0, tables=(HEADS,), **dials):
    return plan(tables, IdTableConfig(backend="torch", **dials), whole=whole)


def test_bytes_by_hand():
    """2^17 rows of 32 numbers are 16 MiB, the best epoch's copy as many.

    Adagrad has 4 bytes a row beside it, half a MiB, and as many beside the copy. AdamW has two
    numbers for each: 32 MiB, and 17 bytes a row, 2.125; moved as a whole it has a gradient as well:
    48 MiB.
    """
    [table] = planned(optimizer="adagrad").tables
    assert (table.weights, table.copy, table.state) == (16 * MIB, 16.5 * MIB, MIB // 2)
    assert planned(optimizer="adagrad").total == 33 * MIB
    assert planned().total == (16 + 16 + 32 + 2.125) * MIB
    assert planned(whole=1 << 17).total == (16 + 16 + 48) * MIB
    [half] = planned(optimizer="adagrad", precision="bfloat16").tables
    assert (half.weights, half.copy, half.state) == (8 * MIB, 8.5 * MIB, MIB // 2)


@pytest.mark.parametrize("optimizer", ["adagrad", "adamw"])
def test_what_is_planned_is_what_a_table_holds(optimizer):
    """But for the byte and the number per row by which AdamW finds out who was named."""
    table = IdTable(100, 8)
    make = RowwiseAdagrad if optimizer == "adagrad" else LazyAdamW
    dials = {} if optimizer == "adagrad" else {"decay": 0.0}
    states = make(table.weight, rate=0.1, **dials).states().values()
    held = sum(state.numel() * state.element_size() for state in states)
    [found] = planned(tables=(Wanted("a", 60, 40),), optimizer=optimizer, dim=8).tables
    assert found.state - held == (0 if optimizer == "adagrad" else 100 * 9)
    assert found.weights == table.weight.numel() * table.weight.element_size()


@pytest.mark.parametrize(
    ("mib", "dim", "precision"),
    [(33, 32, "float32"), (32, 32, "bfloat16"), (16, 16, "bfloat16"), (8, 8, "bfloat16")],
)
def test_the_most_numbers_that_fit_then_the_finer_precision(mib, dim, precision):
    """32 numbers are 33 MiB in float32 and 17 in bfloat16, 16 are 17 and 9, 8 are 9 and 5.

    So half the precision comes before half the numbers.
    """
    found = planned(optimizer="adagrad", memory_mib=mib)
    assert (found.config.dim, found.config.precision) == (dim, precision)
    assert found.reason == f"within {mib}.0 MiB" + (
        "" if mib == 33 else ", narrowed from 32 in float32"
    )


def test_a_bound_that_fits_changes_nothing():
    dials = IdTableConfig(backend="torch", memory_mib=100)
    found = plan((HEADS,), dials, whole=0)
    assert found.config == dials
    assert found.kept == 1.0
    assert found.lines[-1] == "ID tables: 66.1 MiB in training; within 100.0 MiB"
    assert found.lines[0].startswith("heads: 131,072 rows of 32 numbers in float32, 66.1 MiB (")


def test_what_does_not_fit_is_refused_with_the_numbers():
    """At 8 numbers AdamW takes 4 + 4 + 8 + 2.125 MiB. In 10 the 2^16 buckets take 9.06, and of the
    own rows, 145 bytes each, there is room for 10.3 %: 6,750.
    """
    with pytest.raises(TableMemory) as refused:
        planned(memory_mib=10)
    told = str(refused.value)
    assert told.startswith(
        "memory_mib should be at least 19, received 10: heads: 131,072 rows of 8"
    )
    assert "Within it 6,750 ids could have rows of their own (when_full=evict)" in told


def test_the_rarest_lose_their_rows_where_that_is_allowed():
    other = Wanted("tails", 1000, 10)
    found = planned(memory_mib=10, when_full="evict", tables=(HEADS, other))
    assert found.total <= 10 * MIB
    assert 0.0 < found.kept < 0.12
    heads, tails = found.tables
    assert heads.rows == (1 << 16) + int((1 << 16) * found.kept)
    assert tails.rows == 10 + int(1000 * found.kept)
    assert "of own rows are left" in found.reason
    names = [f"n{i}" for i in range(1000)]
    assert evicted(names, found.kept) == tuple(names[: tails.rows - 10])


def test_where_not_even_buckets_fit_there_is_nothing_to_evict():
    with pytest.raises(TableMemory, match="Within it 0 ids"):
        planned(memory_mib=1, when_full="evict")


def test_rows_of_vectors_have_their_width_and_trained_vectors_are_exact():
    tables = (Wanted("begun", 100, 28, width=64), Wanted("moved", 100, 28, width=64, exact=True))
    found = planned(tables=tables, optimizer="adagrad", precision="bfloat16", memory_mib=1)
    assert [(table.dim, table.precision) for table in found.tables] == [
        (64, "bfloat16"),
        (64, "float32"),
    ]
    assert [table.weights for table in found.tables] == [128 * 64 * 2, 128 * 64 * 4]
    told = found.as_json()["tables"][1]
    assert (told["bytes"], told["dim"], told["backend"]) == (128 * 64 * 4, 64, "torch")


@given(
    mib=st.integers(1, 80),
    dim=st.integers(1, 70),
    optimizer=st.sampled_from(["adagrad", "adamw"]),
)
def test_a_plan_is_never_above_its_bound(mib, dim, optimizer):
    dials = {"memory_mib": mib, "dim": dim, "optimizer": optimizer, "when_full": "evict"}
    try:
        found = planned(**dials)
    except TableMemory:
        assert mib <= 16  # 2^16 buckets of at most 15 numbers, 257 bytes each
        return
    assert found.total <= mib * MIB
    assert found.config.dim <= dim


def test_a_table_is_as_precise_as_planned():
    assert IdTable(2, 4, "bfloat16").weight.dtype == torch.bfloat16
