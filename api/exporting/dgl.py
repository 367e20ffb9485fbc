"""A snapshot in the layout of DGL's CSVDataset.

Takes a snapshot, fills a folder; never imports DGL. Types without entities and relations without
edges are left out, since DGL knows no empty ones.

    meta.yaml               what DGL reads
    nodes_<type>.csv        node_id, retired, padding
    edges_<relation>.csv    src_id, dst_id, weight, time, padding
    ids_<type>.csv          node_id, id: for you, DGL's own parser takes numbers only

DGL 1.1.3 fails on a file with a single row, so such a file has a second one, with padding 1: a node
without edges, or the same edge with weight 0.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from api.exporting.edges import edges_by_relation, retired_of
from graphsvc.snapshot import Snapshot


def write_dgl(snapshot: Snapshot, folder: Path) -> None:
    """Fill `folder`."""
    meta = ["version: 1.0.0", "dataset_name: graphsvc", 'separator: ","', "node_data:"]
    for kind in snapshot.types.values():
        count = kind.stop - kind.start
        if not count:
            continue
        retired = retired_of(snapshot, kind).astype(np.int8)
        numbers = np.arange(count, dtype=np.int64)
        nodes = {"node_id": numbers, "retired": retired, "padding": np.zeros(count, np.int8)}
        if count == 1:
            nodes = {"node_id": np.arange(2), "retired": retired.repeat(2), "padding": np.arange(2)}
        _write(folder / f"nodes_{kind.name}.csv", nodes)
        ids = snapshot.ids[kind.start : kind.stop]
        _write(folder / f"ids_{kind.name}.csv", {"node_id": numbers, "id": ids})
        meta += [f"- file_name: nodes_{kind.name}.csv", f"  ntype: {kind.name}"]
    meta.append("edge_data:" if len(snapshot.triples().head) else "edge_data: []")
    for relation, head, tail, weight, time in edges_by_relation(snapshot):
        if not len(head):
            continue
        edges: dict[str, Any] = {
            "src_id": head,
            "dst_id": tail,
            "weight": weight,
            "time": time,
            "padding": np.zeros(len(head), np.int8),
        }
        if len(head) == 1:
            edges = {name: column.repeat(2) for name, column in edges.items()}
            edges["weight"], edges["padding"] = weight.repeat(2) * [1, 0], np.arange(2)
        _write(folder / f"edges_{relation.name}.csv", edges)
        meta += [
            f"- file_name: edges_{relation.name}.csv",
            f"  etype: [{relation.head}, {relation.name}, {relation.tail}]",
        ]
    (folder / "meta.yaml").write_text("\n".join(meta) + "\n")


def _write(file: Path, columns: dict[str, Any]) -> None:
    csv.write_csv(pa.table({name: pa.array(column) for name, column in columns.items()}), file)
