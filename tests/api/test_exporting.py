"""Exports: each format is loaded back by who reads it, and holds the same edges."""

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from api.errors import Invalid
from api.exporting import export, load_heterodata
from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    TypeRange,
    draft_snapshot,
    open_snapshot,
    seal_snapshot,
)

IDS = ['a,1"', "a2", "a3", "the one", "Ünal", "u2"]
KINDS = ["ad"] * 3 + ["brand"] + ["user"] * 2
#: (relation, head row, tail row, weight, time): user -> ad twice, ad -> brand once, nothing saved
EDGES = [(0, 4, 0, 0.5, 90), (0, 5, 2, 1.25, 91), (2, 1, 3, 1.0, 7)]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    store = ArtifactStore(tmp_path / "artifacts")
    relation, head, tail, weight, time = (list(column) for column in zip(*EDGES, strict=True))
    with draft_snapshot(store) as draft:
        draft.write("entities", {"type": KINDS, "id": IDS})
        draft.write(
            "triples",
            {"head": head, "relation": relation, "tail": tail, "weight": weight, "time": time},
        )
        draft.write(
            "interactions",
            {
                "head": [4, 5, 4],
                "tail": [0, 2, 1],
                "event": [0, 1, 0],
                "time": [95, 96, 97],
                "label": [1, -1, 0],
                "span": [1, 2, 3],
                "position": [0, -1, 2],
                "sampling_rate": [1.0, 1.0, 0.5],
            },
        )
        draft.write("attributes", {"row": [0], "name": ["t"], "value": ['"A"'], "time": [1]})
        draft.write("retired", {"row": [1]})
        layout = Layout(
            types=[
                TypeRange("ad", 0, 3),
                TypeRange("brand", 3, 4),
                TypeRange("user", 4, 6),
                TypeRange("void", 6, 6),
            ],
            relations=[
                RelationInfo(name="click", head="user", tail="ad", source="onsite"),
                RelationInfo(name="save", head="user", tail="ad", source="onsite"),
                RelationInfo(name="of", head="ad", tail="brand", source="structure"),
            ],
            interaction=InteractionInfo(
                head="user", tail="ad", exposure="impression", outcome="click"
            ),
            attributes={},
            watermark={"seq": 3, "as_of": 100, "observed": 200},
            split={"protocol": "global_time"},
        )
        return seal_snapshot(store, draft, layout, {})


def by_id(
    edges: Iterator[tuple[str, int, int, float, int]],
) -> set[tuple[str, str, str, float, int]]:
    """(relation, row within head type, row within tail type, ...) with ids instead."""
    ends = {"click": ("user", "ad"), "save": ("user", "ad"), "of": ("ad", "brand")}
    ids = {kind: [i for i, k in zip(IDS, KINDS, strict=True) if k == kind] for kind in set(KINDS)}
    return {
        (name, ids[ends[name][0]][head], ids[ends[name][1]][tail], weight, time)
        for name, head, tail, weight, time in edges
    }


EXPECTED = {
    ("click", "Ünal", 'a,1"', 0.5, 90),
    ("click", "u2", "a3", 1.25, 91),
    ("of", "a2", "the one", 1.0, 7),
}


def test_parquet_is_read_without_us(snapshot: Snapshot, tmp_path: Path) -> None:
    files = export(snapshot, "parquet", tmp_path / "out")
    assert files == sorted(
        [f"{t}.parquet" for t in ("entities", "triples", "interactions", "attributes", "retired")]
        + ["edges.parquet", "snapshot.json"]
    )
    rows = pq.read_table(tmp_path / "out/edges.parquet").to_pylist()
    assert {
        (r["relation"], r["head_id"], r["tail_id"], r["weight"], r["time"]) for r in rows
    } == EXPECTED
    assert [(r["head_type"], r["tail_type"]) for r in rows] == [("user", "ad")] * 2 + [
        ("ad", "brand")
    ]
    said = json.loads((tmp_path / "out/snapshot.json").read_text())
    assert said["digest"] == snapshot.digest
    assert said["watermark"] == {"seq": 3, "as_of": 100, "observed": 200}
    assert pq.read_table(tmp_path / "out/interactions.parquet")["position"].to_pylist() == [
        0,
        -1,
        2,
    ]


def test_heterodata_has_every_edge_and_label(snapshot: Snapshot, tmp_path: Path) -> None:
    export(snapshot, "hetero", tmp_path / "out")
    assert not [
        p for p in (tmp_path / "out").iterdir() if p.suffix not in (".json", ".safetensors")
    ]
    data = load_heterodata(tmp_path / "out")
    assert {kind: data[kind].num_nodes for kind in data.node_types} == {
        "ad": 3,
        "brand": 1,
        "user": 2,
        "void": 0,
    }
    assert data["user"].ids == ["Ünal", "u2"]
    assert data["ad"].retired.tolist() == [False, True, False]
    found = set()
    for kind in data.edge_types:
        store = data[kind]
        assert store.edge_index.shape[0] == 2
        for (head, tail), weight, time in zip(
            store.edge_index.T.tolist(),
            store.edge_weight.tolist(),
            store.time.tolist(),
            strict=True,
        ):
            found.add((kind[1], head, tail, weight, time))
    assert by_id(iter(found)) == EXPECTED
    assert data["user", "save", "ad"].edge_index.shape == (2, 0)
    clicks = data["user", "click", "ad"]
    # The outcome is no label: it has none.
    assert clicks.edge_label_index.tolist() == [[0, 0], [0, 1]]
    assert clicks.edge_label.tolist() == [1, 0]
    assert clicks.edge_label_time.tolist() == [95, 97]
    assert clicks.edge_label_span.tolist() == [1, 3]


def test_dgl_has_every_edge(
    snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(snapshot, "dgl", tmp_path / "out")
    meta = yaml.safe_load((tmp_path / "out/meta.yaml").read_text())
    assert [node["ntype"] for node in meta["node_data"]] == ["ad", "brand", "user"]
    assert [edge["etype"] for edge in meta["edge_data"]] == [
        ["user", "click", "ad"],
        ["ad", "of", "brand"],
    ]
    with (tmp_path / "out/ids_ad.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ['a,1"', "a2", "a3"]
    if sys.version_info[:2] != (3, 11):
        return  # DGL 1.1.3 is built for CPython 3.11 only
    monkeypatch.setitem(os.environ, "DGLBACKEND", "pytorch")
    monkeypatch.setitem(os.environ, "DGLDEFAULTDIR", str(tmp_path / "dgl"))
    from dgl.data import CSVDataset

    graph = CSVDataset(str(tmp_path / "out"), verbose=False)[0]
    assert {kind: graph.num_nodes(kind) for kind in graph.ntypes} == {
        "ad": 3,
        "brand": 2,
        "user": 2,
    }
    assert graph.nodes["ad"].data["retired"].tolist() == [0, 1, 0]
    assert graph.nodes["brand"].data["padding"].tolist() == [0, 1]
    found, padding = set(), []
    for kind in graph.canonical_etypes:
        heads, tails = graph.edges(etype=kind)
        data = graph.edges[kind].data
        for row in zip(
            heads.tolist(),
            tails.tolist(),
            data["weight"].tolist(),
            data["time"].tolist(),
            strict=True,
        ):
            found.add((kind[1], *row))
        padding += [(kind[1], p) for p in data["padding"].tolist()]
    # DGL reads no file of a single row: the one edge of `of` comes again, with weight 0.
    assert ("of", 1, 0, 0.0, 7) in found
    assert by_id(iter(found - {("of", 1, 0, 0.0, 7)})) == EXPECTED
    assert sorted(padding) == [("click", 0), ("click", 0), ("of", 0), ("of", 1)]


def test_a_folder_that_holds_something_is_left_alone(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(snapshot, "hetero", tmp_path / "out"), "an empty folder is filled"
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(Invalid, match="should be a folder that is empty or not there"):
        export(snapshot, "parquet", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == kept
    (tmp_path / "file").write_text("x")
    with pytest.raises(Invalid, match="should be a folder"):
        export(snapshot, "parquet", tmp_path / "file")
    with pytest.raises(Invalid, match="should be a folder that can be written"):
        export(snapshot, "parquet", tmp_path / "file/below")


def test_an_unknown_format_is_said(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="one of parquet, hetero, dgl, received 'csv'"):
        export(snapshot, "csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_fails_halfway_leaves_nothing(snapshot: Snapshot, tmp_path: Path) -> None:
    file = snapshot.artifact.file("triples.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="magic bytes"):
        export(snapshot, "parquet", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"artifacts"}


def test_another_folder_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"should hold a graph\.json"):
        load_heterodata(tmp_path)
    (tmp_path / "graph.json").write_text('{"format": "other"}')
    with pytest.raises(Invalid, match="received 'other'"):
        load_heterodata(tmp_path)


def test_weights_are_the_sealed_ones(snapshot: Snapshot, tmp_path: Path) -> None:
    again = open_snapshot(ArtifactStore(snapshot.artifact.path.parents[1]), snapshot.digest)
    export(again, "hetero", tmp_path / "out")
    data = load_heterodata(tmp_path / "out")
    np.testing.assert_array_equal(
        data["user", "click", "ad"].edge_weight.numpy(), snapshot.triples().weight[:2]
    )
