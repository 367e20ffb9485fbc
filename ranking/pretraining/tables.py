"""What leaves: a vector per id of either side, sealed.

Takes vectors and ids, gives a sealed folder of safetensors, Parquet and a manifest and reads it
back; numpy only, never trains.

    vectors.safetensors     heads [n, d], tails [m, d], float32
    head_ids.parquet        id                              row number = position
    tail_ids.parquet        the same of tails
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray
from safetensors.numpy import save_file

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from ranking.errors import StatesMismatch, TableFormat
from ranking.idtables.mapped import mapped
from ranking.pretraining.graph import FacetGraph

#: Layout of the payload and files; a table of another one is refused by name.
TABLE_FORMAT = 1
_SIDES = ("head", "tail")


class SideTable(NamedTuple):
    """The vectors of one side, a row per id."""

    #: the application's id of every row
    ids: NDArray[np.object_]
    vectors: Float32[np.ndarray, "n d"]

    def rows(self, ids: Sequence[str] | NDArray[np.object_]) -> Int64[np.ndarray, "m"]:
        """The row of each id, -1 where the table does not know it."""
        row_of = {key: row for row, key in enumerate(self.ids.tolist())}
        return np.fromiter((row_of.get(key, -1) for key in ids), dtype=np.int64, count=len(ids))

    def over(self, ids: Sequence[str] | NDArray[np.object_]) -> Float32[np.ndarray, "m d"]:
        """The vectors of ids in their order; zero, which LayerNorm leaves zero, for a stranger."""
        place = self.rows(ids)
        if not len(self.ids):
            return np.zeros((len(place), self.vectors.shape[1]), dtype=np.float32)
        found = self.vectors[np.maximum(place, 0)]
        return np.where(place[:, None] >= 0, found, np.float32(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class FacetTable:
    """One pretrained table: who are heads and tails, and where each lies.

    Raises `StatesMismatch` where ids and vectors do not fit.
    """

    #: what it was pretrained on, e.g. contrastive, contrastive+gnn (summed), kge>gnn (in turn)
    name: str
    head_type: str
    tail_type: str
    heads: SideTable
    tails: SideTable
    #: of the artifact that holds it; none before it is sealed
    digest: str = ""

    def __post_init__(self) -> None:
        for side, table in zip(_SIDES, (self.heads, self.tails), strict=True):
            if len(table.ids) != len(table.vectors):
                raise StatesMismatch(
                    f"{side}s should have as many vectors as ids, received "
                    f"{len(table.vectors)} of {len(table.ids)}"
                )

    @property
    def dim(self) -> int:
        return int(self.heads.vectors.shape[1])

    @property
    def bytes(self) -> int:
        """Of the vectors."""
        return self.heads.vectors.nbytes + self.tails.vectors.nbytes


def table_of(
    graph: FacetGraph,
    name: str,
    vectors: Float32[np.ndarray, "N d"],
    known: Bool[np.ndarray, "N"],
) -> FacetTable:
    """The rows of both sides of a graph that a facet knows something of; the others are noise."""
    sides = []
    for kind in (graph.type_range(graph.head_type), graph.type_range(graph.tail_type)):
        own = kind.start + np.flatnonzero(known[kind.start : kind.stop])
        sides.append(SideTable(graph.ids[own], np.ascontiguousarray(vectors[own])))
    return FacetTable(
        name=name,
        head_type=graph.head_type,
        tail_type=graph.tail_type,
        heads=sides[0],
        tails=sides[1],
    )


def seal_table(
    store: ArtifactStore,
    table: FacetTable,
    parents: Mapping[str, str],
    *,
    dials: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Artifact:
    """Write a table as a sealed artifact, child of its snapshot and of the bundle it is made of."""
    payload = {
        "table_format": TABLE_FORMAT,
        "name": table.name,
        "head_type": table.head_type,
        "tail_type": table.tail_type,
        "dim": table.dim,
        "heads": len(table.heads.ids),
        "tails": len(table.tails.ids),
        "bytes": table.bytes,
    }
    sides = dict(zip(_SIDES, (table.heads, table.tails), strict=True))
    with store.draft() as folder:
        tensors = {f"{side}s": np.ascontiguousarray(one.vectors) for side, one in sides.items()}
        save_file(tensors, folder / "vectors.safetensors")
        for side, one in sides.items():
            ids = pa.array(one.ids, type=pa.string(), from_pandas=False)
            file = folder / f"{side}_ids.parquet"
            pq.write_table(pa.table({"id": ids}), file, compression="zstd")
        recipe = Recipe(
            kind="table", parents=parents, dials=dials, payload=payload, metrics=metrics
        )
        return store.seal(folder, recipe)


def open_table(store: ArtifactStore, digest: str) -> FacetTable:
    """Open a sealed table, every byte checked; its vectors stay in the file, for reading only.

    Raises `TableFormat`, and the store's `ArtifactMissing` and `ArtifactDamaged`.
    """
    artifact = store.open("table", digest)
    told = artifact.payload
    if told.get("table_format") != TABLE_FORMAT:
        raise TableFormat(
            f"table {digest} has table_format {told.get('table_format')!r}, this version reads "
            f"{TABLE_FORMAT}; pretrain it again"
        )
    tensors = mapped(artifact.file("vectors.safetensors"))
    sides = [SideTable(ids_of(artifact, side), tensors[f"{side}s"]) for side in _SIDES]
    return FacetTable(
        name=told["name"],
        head_type=told["head_type"],
        tail_type=told["tail_type"],
        heads=sides[0],
        tails=sides[1],
        digest=digest,
    )


def ids_of(artifact: Artifact, side: str) -> NDArray[np.object_]:
    """The id of every row of a side, in their order."""
    column = pq.read_table(artifact.file(f"{side}_ids.parquet")).column("id")
    return np.array(column.to_pylist(), dtype=object)
