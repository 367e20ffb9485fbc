"""Rows of a file say what training's said, in either tier."""

import pytest
import torch
from safetensors.torch import save_file

from ranking.idtables.mapped import mapped
from ranking.idtables.quantized import quantized
from ranking.idtables.served import (
    QUANTIZED,
    DeviceTable,
    MappedTable,
    id_tables,
    precision_of,
    sealed_rows,
    sealed_tensors,
    sent,
)
from ranking.idtables.table import IdTable, RowTable

#: Ranges of 15, of nothing, and of 15: in four bits a step is 1, so whole numbers are exact.
WHOLE = torch.tensor([[0.0, 15.0, 3.0], [1.0, 1.0, 1.0], [-7.0, 8.0, 0.0]])
TIERS = [MappedTable, DeviceTable]


def table_of(weight, precision="float32"):
    table = IdTable(*weight.shape, precision)
    with torch.no_grad():
        table.weight.copy_(weight)
    return table


@pytest.fixture
def sealed(tmp_path):
    def make(table, served="trained"):
        save_file(sealed_tensors("ids", table, served), tmp_path / "rows.safetensors")
        return sealed_rows(mapped(tmp_path / "rows.safetensors"), "ids", table.embedding_dim)

    return make


def test_rows_in_four_bits_by_hand(sealed):
    """Three numbers are two bytes of codes, and scale and bias are four."""
    rows = sealed(table_of(WHOLE), "int4")
    assert (rows.precision, len(rows), rows.dim, rows.bytes) == ("int4", 3, 3, 18)
    found = rows.look_up(torch.tensor([[2, 0], [1, 1]]))
    assert found.tolist() == [[[-7.0, 8.0, 0.0], [0.0, 15.0, 3.0]], [[1.0] * 3] * 2]
    assert torch.equal(rows.whole(), WHOLE)
    assert rows.look_up(torch.zeros((0, 2), dtype=torch.int64)).shape == (0, 2, 3)


@pytest.mark.parametrize("kind", TIERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_table_of_a_file_is_the_trained_one(sealed, kind, precision):
    trained = table_of(torch.linspace(-2, 3, 35).view(7, 5) ** 3, precision)
    rows = sealed(trained)
    assert rows.precision == precision == precision_of(trained, "trained")
    asked = torch.tensor([[0, 6], [3, 3], [6, 1]])
    assert torch.equal(kind(rows)(asked), trained(asked).detach())


@pytest.mark.parametrize("kind", TIERS)
@pytest.mark.parametrize("served", QUANTIZED)
def test_a_table_in_fewer_bits_is_the_mean_of_two_quantized_rows(sealed, kind, served):
    trained = table_of(torch.linspace(-2, 3, 35).view(7, 5) ** 3)
    rows = sealed(trained, served)
    assert rows.precision == served == precision_of(trained, served)
    twin = quantized(trained.weight.detach(), QUANTIZED[served])
    assert rows.bytes == twin.bytes
    asked = torch.tensor([[0, 6], [3, 3], [6, 1]])
    expected = (twin.look_up(asked[:, 0]) + twin.look_up(asked[:, 1])) / 2
    torch.testing.assert_close(kind(rows)(asked), expected, rtol=0, atol=1e-6)
    assert not torch.equal(expected, trained(asked).detach())


@pytest.mark.parametrize("kind", TIERS)
def test_a_served_table_has_nothing_to_train_or_to_save(sealed, kind):
    table = kind(sealed(table_of(WHOLE)))
    assert not list(table.parameters())
    assert not table.state_dict()


def test_a_table_follows_its_network_in_one_tier_and_stays_in_the_other(sealed):
    """On a device that keeps no numbers: mapped rows are still on the CPU, and are looked up."""
    rows, asked = sealed(table_of(WHOLE), "int8"), torch.tensor([[0, 1]])
    stays, goes = MappedTable(rows).to("meta"), DeviceTable(rows).to("meta")
    assert stays(asked).is_meta
    assert torch.equal(stays.rows.whole(), rows.whole())
    assert all(part.is_meta for part in goes.buffers())
    assert goes(asked).is_meta


def test_tables_of_ids_are_found_by_their_names():
    network = torch.nn.ModuleDict(
        {"codes": RowTable(2, 3), "ids": IdTable(4, 3), "in": torch.nn.ModuleDict()}
    )
    network["in"]["shift"] = IdTable(5, 3)
    assert {name: one.num_embeddings for name, one in id_tables(network).items()} == {
        "ids": 4,
        "in.shift": 5,
    }


def test_what_is_sent_to_where_it_lies_is_not_copied():
    here = torch.arange(3)
    assert sent(here, torch.device("cpu")) is here
    there = sent(here, torch.device("meta"))
    assert there.is_meta
    assert there.shape == (3,)
