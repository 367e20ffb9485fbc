"""Tables by id, sealed and read back, and as fields of a ranker."""

import json

import numpy as np
import pytest
import torch

from graphsvc.errors import ArtifactDamaged
from ranking.errors import ConfigError, StatesMismatch, TableFormat
from ranking.pretraining.fields import FacetFields
from ranking.pretraining.tables import FacetTable, SideTable, open_table, seal_table


def table_of(name="contrastive") -> FacetTable:
    random = np.random.default_rng(0)
    return FacetTable(
        name=name,
        head_type="user",
        tail_type="film",
        heads=SideTable(
            np.array(["a", "ü"], dtype=object), random.normal(size=(2, 3)).astype(np.float32)
        ),
        tails=SideTable(np.array(["x"], dtype=object), np.ones((1, 3), dtype=np.float32)),
    )


def test_an_id_has_its_vector_and_a_stranger_has_none():
    heads = table_of().heads
    assert heads.rows(["ü", "b", "a"]).tolist() == [1, -1, 0]
    found = heads.over(np.array(["b", "ü"], dtype=object))
    np.testing.assert_array_equal(found, np.stack([np.zeros(3), heads.vectors[1]]))
    empty = SideTable(np.array([], dtype=object), np.zeros((0, 3), np.float32))
    np.testing.assert_array_equal(empty.over(["a"]), np.zeros((1, 3)))


def test_a_sealed_table_is_read_back_and_names_what_it_is_of(store):
    table = table_of("kge>gnn")
    digests = {"snapshot": "a" * 64, "bundle": "b" * 64}
    sealed = seal_table(store, table, digests, dials={"dim": 3}, metrics={"loss": 0.5})
    assert sealed.kind == "table"
    assert sealed.parents == digests
    assert sealed.payload["bytes"] == 4 * 3 * 3
    found = open_table(store, sealed.digest)
    assert (found.name, found.head_type, found.tail_type) == ("kge>gnn", "user", "film")
    for own, other in ((table.heads, found.heads), (table.tails, found.tails)):
        assert own.ids.tolist() == other.ids.tolist()
        np.testing.assert_array_equal(own.vectors, other.vectors)
    again = seal_table(store, table, digests, dials={"dim": 3}, metrics={"loss": 0.5})
    assert again.digest == sealed.digest


def test_a_wrong_byte_and_another_format_are_refused(store, monkeypatch):
    sealed = seal_table(store, table_of(), {}, dials={}, metrics={})
    monkeypatch.setattr("ranking.pretraining.tables.TABLE_FORMAT", 2)
    with pytest.raises(TableFormat, match="table_format 1, this version reads 2"):
        open_table(store, sealed.digest)
    monkeypatch.undo()
    file = sealed.file("vectors.safetensors")
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(bytes(changed))
    with pytest.raises(ArtifactDamaged):
        open_table(store, sealed.digest)
    assert json.loads((sealed.path / "manifest.json").read_text())["kind"] == "table"


def test_ids_and_vectors_have_one_length():
    side = SideTable(np.array(["a"], dtype=object), np.zeros((2, 3), np.float32))
    with pytest.raises(StatesMismatch, match="heads should have as many"):
        FacetTable(
            name="gnn", head_type="user", tail_type="film", heads=side, tails=table_of().tails
        )


def fields_of(mode) -> FacetFields:
    vectors = [torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0, 6.0], [0, 4, 2]])]
    return FacetFields(vectors, mode, torch.Generator().manual_seed(0))


def test_facets_stand_side_by_side_after_layer_norm():
    """LN of (3, 1) is (1, -1); of (1, 2, 6) it is (-2, -1, 3) / sqrt(14 / 3)."""
    fields = fields_of("frozen")
    assert fields.width == 5
    found = fields(torch.tensor([0, 1, -1]))
    size = (14 / 3) ** 0.5
    rows = [[1, -1, -2 / size, -1 / size, 3 / size], [0, 0, -(1.5**0.5), 1.5**0.5, 0], [0] * 5]
    torch.testing.assert_close(found, torch.tensor(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "moves"), [("frozen", False), ("tuned", True), ("fresh", True)])
def test_what_is_frozen_does_not_move(mode, moves):
    fields = fields_of(mode)
    assert [weight.requires_grad for weight in fields.parameters()] == [moves, moves]


def test_a_fresh_table_has_the_size_and_spread_and_nothing_else():
    vectors = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1)) * 7.0
    vectors[5] = 0.0
    fields = FacetFields([vectors], "fresh", torch.Generator().manual_seed(2))
    [drawn] = [table.weight.detach() for table in fields.tables]
    assert drawn.shape == vectors.shape
    assert float(drawn.std()) == pytest.approx(7.0, rel=0.05)
    assert abs(float((drawn * vectors).mean())) < 2.0, "of what was known there is nothing"
    assert drawn[5].tolist() == [0.0] * 3
    with pytest.raises(ConfigError, match="mode"):
        FacetFields([vectors], "thawed", torch.Generator())


def test_a_stranger_to_a_facet_stays_one_while_others_are_tuned():
    fields = FacetFields(
        [torch.tensor([[1.0, 2.0], [0.0, 0.0]])], "tuned", torch.Generator().manual_seed(0)
    )
    optimizer = torch.optim.SGD(fields.parameters(), lr=0.1)
    rows, wanted = torch.tensor([0, 1]), torch.tensor([[3.0, -1.0], [3.0, -1.0]])
    (fields(rows) - wanted).square().sum().backward()
    optimizer.step()
    found = fields(rows).detach()
    assert found[1].tolist() == [0.0, 0.0]
