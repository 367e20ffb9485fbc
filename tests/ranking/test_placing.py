"""A ranker's answers are the same wherever its parts lie, and those of its own rows."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from loops import finish

from graphsvc.snapshot import Span
from ranking.bundle import Tiers, open_ranker
from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.errors import TableMemory
from ranking.idtables.quantized import quantized
from ranking.idtables.served import QUANTIZED, DeviceTable, MappedTable, id_tables
from ranking.idtables.tiers import CPU, DEVICE
from ranking.model import head_scores
from ranking.train import train

#: Five numbers a row: in four bits their last byte is half empty.
SMALL = RankerConfig(
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=5, min_rows=2, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=2, batch=64, table_share=1.0),
)
#: The host's own memory in the part of a device, and a GPU where there is one.
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
FORCED = Tiers(device=DEVICES[-1], device_bytes=1 << 30)
BESIDE = Tiers(device=DEVICES[-1])


@pytest.fixture
def made(examples, seal):
    """Train an arm and seal it with rows as `served` says: what was trained, what was sealed."""

    def make(served="trained", arm="none"):
        ids = dataclasses.replace(SMALL.ids, served=served)
        _, trained = finish(train(examples, dataclasses.replace(SMALL, arm=arm, ids=ids)))
        return trained, seal(trained)

    return make


@pytest.fixture
def opened(leaning):
    def make(sealed, tiers):
        return open_ranker(leaning.store, sealed.digest, leaning.bundle, tiers=tiers)

    return make


@pytest.mark.parametrize("arm", ["none", "attention_vectors"])
@pytest.mark.parametrize("served", QUANTIZED)
def test_fewer_bits_are_what_a_network_of_quantized_rows_says(examples, made, opened, served, arm):
    """The twin: the trained network, each of its tables replaced by its quantized rows."""
    trained, sealed = made(served, arm)
    rows = examples.rows[Span.TEST]
    batch = trained.encoder.encode(rows.heads, rows.tails)
    before = head_scores(trained.model, batch)[:, 0]
    tables = id_tables(trained.model)
    assert len(tables) == (4 if arm == "attention_vectors" else 2)
    with torch.no_grad():
        for table in tables.values():
            twin = quantized(table.weight, QUANTIZED[served])
            table.weight.copy_(twin.look_up(torch.arange(len(twin))))
    expected = head_scores(trained.model, batch)[:, 0]
    for device, size in product(("", *DEVICES), (0, 1 << 30)):
        found = opened(sealed, Tiers(device, size)).logits(rows.heads, rows.tails)
        # A GPU adds products up in another order.
        off = 1e-5 if device == "cuda" else 1e-6
        np.testing.assert_allclose(found, expected, atol=off, rtol=0)
    np.testing.assert_allclose(sealed.logits(rows.heads, rows.tails), expected, atol=1e-6, rtol=0)
    assert not np.array_equal(before, expected), "rows that no bit was taken from"


def test_a_tier_is_where_its_plan_says(made, opened):
    _, sealed = made()
    for tiers, kind, tier in (
        (Tiers(), MappedTable, (CPU, CPU)),
        (BESIDE, MappedTable, (DEVICE, CPU)),
        (FORCED, DeviceTable, (DEVICE, DEVICE)),
    ):
        ranker = opened(sealed, tiers)
        tables = id_tables(ranker.model)
        assert set(tables) == {"head_table", "tail_table"}
        assert {type(table) for table in tables.values()} == {kind}
        assert (ranker.placement.upper_tier, ranker.placement.tables_tier) == tier


@pytest.mark.parametrize("served", ["trained", *QUANTIZED])
def test_a_manifest_tells_the_bytes_that_are_taken(made, opened, served):
    trained, sealed = made(served)
    told, plan = sealed.artifact.payload["placement"], opened(sealed, Tiers()).placement
    assert told["upper_bytes"] == plan.upper
    assert told["tables"] == [table.as_json for table in plan.tables]
    rows = [table.rows for table in id_tables(opened(sealed, Tiers()).model).values()]
    assert [one["bytes"] for one in told["tables"]] == [one.bytes for one in rows]
    assert [one["rows"] for one in told["tables"]] == [
        trained.shape.head_rows,
        trained.shape.tail_rows,
    ]
    precision = "float32" if served == "trained" else served
    assert {one["precision"] for one in told["tables"]} == {precision}


def test_a_mapped_ranker_has_no_row_in_its_own_memory(made, opened):
    _, sealed = made()
    model = opened(sealed, Tiers()).model
    own = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    assert own == opened(sealed, Tiers()).placement.upper


@pytest.mark.parametrize("arm", ["none", "both", "attention_vectors", "attention_swapped"])
def test_no_step_mixes_devices(examples, made, opened, arm):
    """On a device that keeps no numbers, which refuses those of the CPU as any other one does."""
    _, sealed = made("int8", arm)
    rows = examples.rows[Span.TEST]
    for size in (0, 1 << 30):
        ranker = opened(sealed, Tiers(device="meta", device_bytes=size))
        with torch.inference_mode():
            found = ranker.model(ranker.encoder.encode(rows.heads, rows.tails))
        assert found.is_meta
        assert found.shape == (len(rows.labels), 1)


def test_what_is_above_a_declared_cpu_tier_is_refused(made, opened):
    _, sealed = made()
    with pytest.raises(TableMemory, match="cpu_mib should be at least 1, received"):
        opened(sealed, Tiers(cpu_bytes=1))
