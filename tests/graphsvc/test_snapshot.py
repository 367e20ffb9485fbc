"""Snapshots: columns go in, the same columns come out, in blocks or at once."""

from pathlib import Path

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    Span,
    TypeRange,
    draft_snapshot,
    open_snapshot,
    seal_snapshot,
)

LAYOUT = Layout(
    types=[TypeRange("film", 0, 2), TypeRange("user", 2, 3)],
    relations=[RelationInfo(name="click", head="user", tail="film", source="onsite")],
    interaction=InteractionInfo(head="user", tail="film", exposure="impression", outcome="click"),
    attributes={"film": {"title": "text"}, "user": {}},
    watermark={"seq": 3, "as_of": 100},
    split={"protocol": "global_time"},
)
TRIPLES = {"head": [2], "relation": [0], "tail": [1], "weight": [0.5], "time": [90]}
INTERACTIONS = {
    "head": [2, 2],
    "tail": [0, 1],
    "event": [0, 1],
    "time": [95, 96],
    "label": [1, -1],
    "span": [Span.TRAIN, Span.TEST],
    "position": [3, -1],
    "sampling_rate": [0.25, 1.0],
    "conversion": [0, -1],
}


def seal(root: Path, *, blocks: int) -> Snapshot:
    store = ArtifactStore(root)
    with draft_snapshot(store) as draft:
        draft.write("entities", {"type": ["film", "film", "user"], "id": ["a", "é", "u"]})
        draft.write("triples", TRIPLES)
        size = len(INTERACTIONS["head"]) // blocks
        for first in range(0, len(INTERACTIONS["head"]), size):
            part = {name: column[first : first + size] for name, column in INTERACTIONS.items()}
            draft.write("interactions", part)
        draft.write("attributes", {"row": [0], "name": ["title"], "value": ['"A"'], "time": [9]})
        draft.write("retired", {"row": [1]})
        return seal_snapshot(store, draft, LAYOUT, {})


@pytest.mark.parametrize("blocks", [1, 2])
def test_columns_come_back(tmp_path: Path, blocks: int) -> None:
    sealed = seal(tmp_path, blocks=blocks)
    opened = open_snapshot(ArtifactStore(tmp_path), sealed.digest)
    assert opened.ids.tolist() == ["a", "é", "u"]
    assert opened.types["user"] == TypeRange("user", 2, 3)
    assert opened.entity_count == 3
    assert opened.relations == tuple(LAYOUT.relations)
    assert opened.interaction == LAYOUT.interaction
    assert opened.watermark == {"seq": 3, "as_of": 100}
    for name, column in zip(opened.triples()._fields, opened.triples(), strict=True):
        np.testing.assert_array_equal(column, TRIPLES[name])
    for name, column in zip(opened.interactions()._fields, opened.interactions(), strict=True):
        np.testing.assert_array_equal(column, INTERACTIONS[name])
    assert opened.attributes().value.tolist() == ['"A"']
    assert opened.attributes().time.tolist() == [9]
    assert opened.retired().tolist() == [1]
    assert opened.conversions_by_span().tolist() == [[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]]
    assert [block["span"].tolist() for block in opened.blocks("interactions")] == [[1, 4]]


def test_the_same_columns_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = seal(tmp_path / "1", blocks=1), seal(tmp_path / "2", blocks=2)
    assert one.digest == two.digest


def test_files_have_row_groups_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the rows came: otherwise the same rows would have other bytes."""
    monkeypatch.setattr("graphsvc.snapshot.ROW_GROUP", 2)
    digests = set()
    for sizes in ([7], [1] * 7, [3, 3, 1], [0, 5, 2]):
        store = ArtifactStore(tmp_path)
        with draft_snapshot(store) as draft:
            done = 0
            for size in sizes:
                draft.write("retired", {"row": list(range(done, done + size))})
                done += size
            sealed = seal_snapshot(store, draft, LAYOUT, {})
        digests.add(sealed.digest)
        assert [len(block["row"]) for block in sealed.blocks("retired")] == [2, 2, 2, 1]
        assert sealed.retired().tolist() == list(range(7))
    assert len(digests) == 1


@pytest.mark.parametrize("layout", [1, 2])  # in the second one the third code was TEST
def test_a_snapshot_of_another_layout_is_refused_by_name(tmp_path: Path, layout: int) -> None:
    store = ArtifactStore(tmp_path)
    payload = {**LAYOUT.payload(), "format": layout}
    with store.draft() as draft:
        sealed = store.seal(draft, Recipe(kind="snapshot", payload=payload))
    with pytest.raises(ArtifactFormat, match=f"has layout {layout}, this version reads 3"):
        open_snapshot(store, sealed.digest)


def test_a_damaged_column_is_refused(tmp_path: Path) -> None:
    sealed = seal(tmp_path, blocks=1)
    file = sealed.artifact.file("triples.parquet")
    body = bytearray(file.read_bytes())
    body[20] ^= 1
    file.write_bytes(bytes(body))
    with pytest.raises(ArtifactDamaged, match="triples"):
        open_snapshot(ArtifactStore(tmp_path), sealed.digest)
