"""Exports: each format is loaded back by who reads it, and holds the same edges."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
                "span": [1, 2, 4],
                "position": [0, -1, 2],
                "sampling_rate": [1.0, 1.0, 0.5],
                "conversion": [1, -1, -1],
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


#: A folder that was exported, a folder to cache in -> columns by node type and by edge type.
Reader = Callable[[Path, Path], tuple[dict[str, Any], dict[Any, Any]]]

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
    data = load_heterodata(str(tmp_path / "out"))
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
    assert clicks.edge_label_span.tolist() == [1, 4]


def as_documented(folder: Path, _cache: Path) -> tuple[dict[str, Any], dict[Any, Any]]:
    """What DGL documents for `CSVDataset`, read without DGL: columns by node and by edge type."""
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    assert meta["version"] == "1.0.0"
    assert meta["dataset_name"]
    assert meta["separator"] == ","
    nodes = {node["ntype"]: columns(folder / node["file_name"]) for node in meta["node_data"]}
    for node in nodes.values():
        assert list(node) == ["node_id", "retired", "padding"]
        assert node.pop("node_id") == list(range(len(node["retired"])))
    edges = {
        tuple(edge["etype"]): columns(folder / edge["file_name"]) for edge in meta["edge_data"]
    }
    for (head, _, tail), edge in edges.items():
        assert list(edge) == ["src_id", "dst_id", "weight", "time", "padding"]
        assert set(edge["src_id"]) <= set(range(len(nodes[head]["retired"])))
        assert set(edge["dst_id"]) <= set(range(len(nodes[tail]["retired"])))
    return nodes, edges


def by_dgl(folder: Path, cache: Path) -> tuple[dict[str, Any], dict[Any, Any]]:
    """The same, read by DGL itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "DGLBACKEND", "pytorch")
        patch.setitem(os.environ, "DGLDEFAULTDIR", str(cache))
        from dgl.data import CSVDataset

        graph = CSVDataset(str(folder), verbose=False)[0]
    nodes, edges = {}, {}
    for kind in graph.ntypes:
        data = graph.nodes[kind].data
        nodes[kind] = {name: data[name].tolist() for name in ("retired", "padding")}
        assert len(nodes[kind]["retired"]) == graph.num_nodes(kind)
    for kind in graph.canonical_etypes:
        ends = dict(zip(("src_id", "dst_id"), graph.edges(etype=kind), strict=True))
        read = ends | dict(graph.edges[kind].data)
        names = ("src_id", "dst_id", "weight", "time", "padding")
        edges[kind] = {name: read[name].tolist() for name in names}
    return nodes, edges


def columns(file: Path) -> dict[str, list[float]]:
    """A CSV file of numbers by column; DGL 1.1.3 reads none with fewer than two rows."""
    with file.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert len(rows) >= 2
    assert {len(row) for row in rows} == {len(header)}
    return {name: [float(row[n]) for row in rows] for n, name in enumerate(header)}


#: DGL 1.1.3 is built for CPython 3.11 only; elsewhere its layout is read, but not by DGL itself.
READERS: list[Reader] = [as_documented]
if (sys.implementation.name, *sys.version_info[:2]) == ("cpython", 3, 11):
    READERS.append(by_dgl)


@pytest.mark.parametrize("read", READERS)
def test_dgl_has_every_edge(snapshot: Snapshot, tmp_path: Path, read: Reader) -> None:
    files = export(snapshot, "dgl", tmp_path / "out")
    kinds = [f"{what}_{kind}.csv" for what in ("ids", "nodes") for kind in ("ad", "brand", "user")]
    assert files == sorted([*kinds, "edges_click.csv", "edges_of.csv", "meta.yaml"])
    with (tmp_path / "out/ids_ad.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ['a,1"', "a2", "a3"]
    nodes, edges = read(tmp_path / "out", tmp_path / "dgl")
    assert nodes == {
        "ad": {"retired": [0, 1, 0], "padding": [0, 0, 0]},
        "brand": {"retired": [0, 0], "padding": [0, 1]},
        "user": {"retired": [0, 0], "padding": [0, 0]},
    }
    assert set(edges) == {("user", "click", "ad"), ("ad", "of", "brand")}
    found = {
        (kind[1], int(head), int(tail), weight, int(time)): padding
        for kind, edge in edges.items()
        for head, tail, weight, time, padding in zip(*edge.values(), strict=True)
    }
    # DGL reads no file of a single row: the one edge of `of` comes again, with weight 0.
    assert found.pop(("of", 1, 0, 0.0, 7)) == 1
    assert set(found.values()) == {0}
    assert by_id(iter(found)) == EXPECTED
    assert [len(edge["weight"]) for edge in edges.values()] == [2, 2]


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
