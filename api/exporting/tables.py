"""A snapshot as Parquet that needs no graphsvc to be read.

Takes a snapshot, fills a folder; holds one block of edges at a time.

    entities, triples, interactions, attributes, retired.parquet    as sealed
    edges.parquet     head_type, head_id, relation, tail_type, tail_id, weight, time
    snapshot.json     types with their rows, relations, label, watermark, split, digest
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphsvc.snapshot import TABLES, Snapshot

_EDGES = pa.schema(
    [
        ("head_type", pa.string()),
        ("head_id", pa.string()),
        ("relation", pa.string()),
        ("tail_type", pa.string()),
        ("tail_id", pa.string()),
        ("weight", pa.float32()),
        ("time", pa.int64()),
    ]
)


def write_parquet(snapshot: Snapshot, folder: Path) -> None:
    """Fill `folder`."""
    for table in TABLES:
        shutil.copyfile(snapshot.artifact.file(f"{table}.parquet"), folder / f"{table}.parquet")
    _write_edges(snapshot, folder / "edges.parquet")
    said = {**snapshot.artifact.payload, "digest": snapshot.digest}
    (folder / "snapshot.json").write_text(json.dumps(said, indent=2) + "\n")


def _write_edges(snapshot: Snapshot, file: Path) -> None:
    names = np.array([relation.name for relation in snapshot.relations], dtype=object)
    heads = np.array([relation.head for relation in snapshot.relations], dtype=object)
    tails = np.array([relation.tail for relation in snapshot.relations], dtype=object)
    with pq.ParquetWriter(file, _EDGES, compression="zstd") as writer:
        for block in snapshot.blocks("triples"):
            code = block["relation"]
            columns = {
                "head_type": heads[code],
                "head_id": snapshot.ids[block["head"]],
                "relation": names[code],
                "tail_type": tails[code],
                "tail_id": snapshot.ids[block["tail"]],
                "weight": block["weight"],
                "time": block["time"],
            }
            arrays = [pa.array(columns[column.name], type=column.type) for column in _EDGES]
            writer.write_table(pa.Table.from_arrays(arrays, schema=_EDGES))
