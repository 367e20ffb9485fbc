"""What a ranker is before its first step."""

import dataclasses

import numpy as np
import torch

from graphsvc.snapshot import Span
from ranking.begun import begin
from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.idtables.known import KnownRows
from ranking.tables import plan_tables

QUICK = RankerConfig(
    arm="none",
    ids=IdTableConfig(dim=4, min_rows=2, buckets=8),
    features=FeatureConfig(min_rows=2),
)


def test_it_is_taught_what_the_budget_leaves_and_judged_by_all_of_valid(examples):
    config = dataclasses.replace(QUICK, training=TrainingConfig(most_rows=100))
    begun = begin(examples, config)
    assert begun.taught.time.tolist() == examples.rows[Span.TRAIN].time[-100:].tolist()
    assert len(begun.batch.dense) == 100
    assert len(begun.valid.dense) == len(examples.rows[Span.VALID].labels)


def test_rows_of_ids_begin_at_0_or_at_what_is_known_of_them(examples):
    """What is known of one side says nothing of the other."""
    plain = begin(examples, QUICK)
    for table in (plain.model.head_table, plain.model.tail_table):
        assert not table.weight.detach().any()
    heads = plain.tables.heads
    rows = torch.from_numpy(np.arange(heads.row_count * 4.0, dtype=np.float32)).view(-1, 4)
    tables = plan_tables(examples, QUICK, known=(KnownRows(heads, rows), None))
    begun = begin(examples, QUICK, tables=tables)
    assert torch.equal(begun.model.head_table.weight.detach(), rows)
    assert not begun.model.tail_table.weight.detach().any()


def test_the_dials_are_those_that_the_plan_of_tables_made(examples):
    """132 bytes a row of 16 numbers in float32 are too many of 32,768 rows for 3 MiB; 68 are not.

    A row, its copy as of the best epoch, and 4 bytes of Adagrad's.
    """
    ids = IdTableConfig(
        dim=16, min_rows=2, buckets=1 << 14, memory_mib=3, optimizer="adagrad", backend="torch"
    )
    begun = begin(examples, dataclasses.replace(QUICK, ids=ids))
    assert (begun.config.ids.dim, begun.config.ids.precision) == (16, "bfloat16")
    assert begun.model.head_table.weight.dtype == torch.bfloat16
    assert begun.shape.head_rows == begun.tables.heads.row_count
