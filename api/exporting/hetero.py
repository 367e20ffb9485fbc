"""A snapshot for PyTorch Geometric: safetensors and JSON, and the function that loads them.

Takes a snapshot, fills a folder; or takes such a folder, gives a `HeteroData`. Never pickles.

    graph.json                      what the folder holds
    ids_<type>.json                 the application's ids, by row of the type
    nodes.safetensors               <type>: whether each entity is retired
    edges_<relation>.safetensors    edge_index, edge_weight, time
    labels.safetensors              labelled rows, on the outcome's relation
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from api.errors import Invalid
from api.exporting.edges import edges_by_relation, retired_of
from graphsvc.snapshot import Snapshot

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

_FORMAT = "graphsvc.hetero/2"


def write_hetero(snapshot: Snapshot, folder: Path) -> None:
    """Fill `folder`."""
    said: dict[str, Any] = {"format": _FORMAT, "snapshot": snapshot.digest, "node_types": {}}
    retired = {}
    for kind in snapshot.types.values():
        said["node_types"][kind.name] = kind.stop - kind.start
        ids = snapshot.ids[kind.start : kind.stop].tolist()
        (folder / f"ids_{kind.name}.json").write_text(json.dumps(ids, ensure_ascii=False))
        retired[kind.name] = retired_of(snapshot, kind)
    save_file(retired, folder / "nodes.safetensors")
    said["edge_types"] = []
    for edges in edges_by_relation(snapshot):
        relation = edges.relation
        said["edge_types"].append([relation.head, relation.name, relation.tail])
        columns: dict[str, Any] = {
            "edge_index": np.stack([edges.head, edges.tail]),
            "edge_weight": edges.weight,
            "time": edges.time,
        }
        save_file(_solid(columns), folder / f"edges_{relation.name}.safetensors")
    save_file(_solid(_labels(snapshot)), folder / "labels.safetensors")
    info = snapshot.interaction
    said["labels_of"] = [info.head, info.outcome, info.tail]
    (folder / "graph.json").write_text(json.dumps(said, indent=2) + "\n")


def load_heterodata(folder: Path | str) -> "HeteroData":
    """What `graphsvc export --format hetero` wrote, as PyTorch Geometric's `HeteroData`.

    Nodes have `num_nodes`, `ids` (list) and `retired` (bool). Edges have `edge_index` (int64),
    `edge_weight` (float32) and `time` (int64, the newest event's, seconds since 1970). The
    outcome's edges also have what is to be guessed: `edge_label_index`, `edge_label` (0 or 1),
    `edge_label_time` and `edge_label_span` (0 graph, 1 train, 2 valid, 3 calibrate, 4 test). Raises
    `Invalid`.
    """
    import torch
    from safetensors.torch import load_file
    from torch_geometric.data import HeteroData

    folder = Path(folder)
    try:
        said = json.loads((folder / "graph.json").read_text())
    except (OSError, ValueError) as error:
        raise Invalid(f"{folder.name} should hold a graph.json: {error}") from error
    if said.get("format") != _FORMAT:
        raise Invalid(f"format should be {_FORMAT!r}, received {said.get('format')!r}")
    data = HeteroData()
    retired = load_file(folder / "nodes.safetensors")
    for name, count in said["node_types"].items():
        data[name].num_nodes = count
        data[name].ids = json.loads((folder / f"ids_{name}.json").read_text())
        data[name].retired = retired[name].to(torch.bool)
    for head, relation, tail in said["edge_types"]:
        columns = load_file(folder / f"edges_{relation}.safetensors")
        for name, column in columns.items():
            data[head, relation, tail][name] = column
    for name, column in load_file(folder / "labels.safetensors").items():
        data[tuple(said["labels_of"])][name] = column
    return data


def _labels(snapshot: Snapshot) -> dict[str, Any]:
    rows, info = snapshot.interactions(), snapshot.interaction
    known = rows.label >= 0
    head = rows.head[known].astype(np.int64) - snapshot.types[info.head].start
    tail = rows.tail[known].astype(np.int64) - snapshot.types[info.tail].start
    return {
        "edge_label_index": np.stack([head, tail]),
        "edge_label": rows.label[known],
        "edge_label_time": rows.time[known],
        "edge_label_span": rows.span[known],
    }


def _solid(columns: dict[str, Any]) -> dict[str, Any]:
    """Safetensors writes memory as it lies, whatever the strides."""
    return {name: np.ascontiguousarray(column) for name, column in columns.items()}
