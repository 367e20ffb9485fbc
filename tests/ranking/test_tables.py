"""From the plan of the ID tables to a sealed ranker that has them."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from quick import BY_ADAGRAD as CONFIG
from safetensors.torch import load_file

from graphsvc.snapshot import Span
from ranking.bundle import open_ranker
from ranking.config import TrainingConfig
from ranking.errors import TableMemory
from ranking.idtables.known import KnownRows
from ranking.idtables.placement import Placement
from ranking.idtables.rowwise import RowwiseAdagrad
from ranking.model import head_scores
from ranking.optimizer import make_optimizer
from ranking.tables import plan_tables
from ranking.train import train


def with_ids(**changes):
    return dataclasses.replace(CONFIG, ids=dataclasses.replace(CONFIG.ids, **changes))


def test_frequent_ids_of_train_are_planned_for_and_each_arm_has_its_tables(examples):
    rows = examples.rows[Span.TRAIN]
    found = plan_tables(examples, CONFIG)
    for placement, states in ((found.heads, rows.heads), (found.tails, rows.tails)):
        names, counts = np.unique(states.ids.astype(str), return_counts=True)
        assert sorted(placement.exclusive) == sorted(names[counts >= 2].tolist())
        assert placement.buckets == 8
    names = [table.name for table in found.plan.tables]
    assert names == ["ids of user", "ids of film"]
    moved = plan_tables(examples, dataclasses.replace(CONFIG, arm="attention_vectors"))
    told = [(table.name, table.dim) for table in moved.plan.tables[2:]]
    assert told == [("trained vectors of user", 4), ("trained vectors of film", 4)]
    begun = plan_tables(examples, dataclasses.replace(with_ids(dim=16), arm="initial"))
    assert [table.dim for table in begun.plan.tables] == [4, 4]


def test_what_is_planned_is_what_is_trained_and_sealed(leaning, examples, seal):
    """In bfloat16, by Adagrad: rows move off zero, and the file gives what training gave."""
    _, trained = finish(train(examples, with_ids(precision="bfloat16")))
    planned = trained.tables["tables"]
    for told, table in zip(
        planned, (trained.model.head_table, trained.model.tail_table), strict=True
    ):
        assert (told["rows"], told["dim"]) == tuple(table.weight.shape)
        assert told["bytes"] == table.weight.numel() * 2
        assert table.weight.dtype == torch.bfloat16
        assert table.mover is None
        assert float(table.weight.detach().abs().max()) > 0
    ranker = seal(trained)
    opened = open_ranker(leaning.store, ranker.digest, leaning.bundle)
    stored = load_file(opened.artifact.file("weights.safetensors"))
    assert stored["head_table.weight"].dtype == torch.bfloat16
    assert opened.artifact.payload["tables"]["tables"][0]["precision"] == "bfloat16"
    rows = examples.rows[Span.TEST]
    encoder = trained.encoder
    expected = head_scores(trained.model, encoder.encode(rows.heads, rows.tails, rows.exposures))[
        :, 0
    ]
    found = opened.logits(rows.heads, rows.tails, rows.exposures)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_the_same_plan_given_or_made_gives_the_same_ranker(examples):
    tables = plan_tables(examples, CONFIG)
    _, given = finish(train(examples, CONFIG, tables=tables))
    _, made = finish(train(examples, CONFIG))
    for name, value in given.model.state_dict().items():
        assert torch.equal(made.model.state_dict()[name], value), name


def test_memory_narrows_rows_before_training_and_the_ranker_says_so(examples):
    """Some 2 MiB of buckets: 16 numbers in float32 take 132 bytes a row, in bfloat16 68."""
    wide = with_ids(dim=16, buckets=1 << 14, least_dim=4, memory_mib=3)
    found = plan_tables(examples, wide)
    assert found.plan.total <= 3 << 20
    assert (found.plan.config.dim, found.plan.config.precision) == (16, "bfloat16")
    narrow = dataclasses.replace(wide, training=TrainingConfig(epochs=1, batch=64))
    _, trained = finish(train(examples, narrow))
    assert trained.config.ids == found.plan.config
    assert trained.shape.head_rows == found.heads.row_count
    assert "narrowed from 16 in float32" in trained.tables["reason"]


def test_what_does_not_fit_is_refused_before_training(examples):
    too_much = with_ids(buckets=1 << 20, least_dim=4, memory_mib=1)
    with pytest.raises(TableMemory, match="memory_mib should be at least"):
        next(train(examples, too_much))


def test_what_is_evicted_shares_rows(examples):
    """AdamW takes 81 bytes of a row of four numbers; 2 * 12,940 buckets leave ten rows of 2 MiB.

    Of the 60 ids, less than a sixth keep a row of their own, the most frequent of either side.
    """
    config = with_ids(optimizer="adamw", buckets=12_940, memory_mib=2, when_full="evict")
    found, whole = plan_tables(examples, config), plan_tables(examples, CONFIG)
    assert found.plan.total <= 2 << 20
    own = [len(placement.exclusive) for placement in (found.heads, found.tails)]
    assert 0 < sum(own) <= 10
    for kept, all_of in ((found.heads, whole.heads), (found.tails, whole.tails)):
        assert kept.exclusive == all_of.exclusive[: len(kept.exclusive)]
    rows = found.heads.rows(list(whole.heads.exclusive))
    assert (rows[own[0] :] >= own[0]).all()


def test_adagrad_moves_id_tables_of_any_size_and_nothing_else(examples):
    _, trained = finish(train(examples, CONFIG))
    made = make_optimizer(trained.model, CONFIG)
    assert made.tables == [trained.model.head_table, trained.model.tail_table]
    assert all(isinstance(table.mover, RowwiseAdagrad) for table in made.tables)
    assert made.whole.param_groups[0]["params"] == []
    made.release()


def test_a_training_goes_on_with_known_rows_in_their_slots(examples):
    """Half of the ids of before, in another order: they keep slots and rows, others fill gaps."""
    whole = plan_tables(examples, CONFIG)
    names = [name for name in whole.heads.exclusive if name is not None]
    before = Placement(("gone", *names[::-2]), 8)
    rows = torch.arange(before.row_count * 4.0).view(-1, 4)
    known = (KnownRows(before, rows), None)
    found = plan_tables(examples, CONFIG, known=known)
    assert found.heads.exclusive[1 : len(before.exclusive)] == before.exclusive[1:]
    assert found.heads.exclusive[0] not in before.exclusive
    assert sorted(found.heads.exclusive) == sorted(names)
    assert found.tails == whole.tails
    still = dataclasses.replace(
        CONFIG,
        arm="frozen",
        training=dataclasses.replace(CONFIG.training, epochs=1, learning_rate=1e-12),
    )
    still = dataclasses.replace(still, ids=dataclasses.replace(still.ids, adagrad_rate=1e-12))
    _, trained = finish(train(examples, still, tables=plan_tables(examples, still, known=known)))
    weight = trained.model.head_table.weight.detach()
    stay = slice(1, len(before.exclusive))
    torch.testing.assert_close(weight[stay], rows[stay])
    torch.testing.assert_close(weight[-8:], rows[-8:])
    # The bundle has vectors of most users, so who is new begins among those that are known.
    assert float(weight[0].abs().max()) > 0
    assert float(trained.model.tail_table.weight.detach().abs().max()) < 1e-6
