"""An index: exact nearest neighbors over a bundle's vectors, one FAISS index per entity type.

Near means a small angle: entities with few edges have short vectors, and by straight distance they
would all lie near everything.

Takes a sealed bundle, gives a sealed index and answers searches; never imports torch or PyKEEN.
FAISS and torch bring two OpenMP runtimes: a process that uses both imports torch first.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactFormat
from graphsvc.snapshot import TypeRange
from kge.bundle import Bundle
from kge.errors import ShapeMismatch, UnknownType

#: Layout of the payload and files; an index of another one is refused by name.
INDEX_FORMAT = 1


@dataclass(frozen=True)
class Index:
    """A sealed index, opened. The FAISS files are read at the first search."""

    artifact: Artifact

    @property
    def digest(self) -> str:
        return self.artifact.digest

    @property
    def bundle_digest(self) -> str:
        return self.artifact.parents["bundle"]

    @cached_property
    def types(self) -> dict[str, TypeRange]:
        return {t["name"]: TypeRange(**t) for t in self.artifact.payload["types"]}

    @cached_property
    def _searchers(self) -> dict[str, Any]:
        return {
            name: faiss.read_index(str(self.artifact.file(_file_name(name)))) for name in self.types
        }

    def search(
        self,
        type_name: str,
        vectors: Float[np.ndarray, "q d"],
        k: int,
        *,
        leave_out: Bool[np.ndarray, "n"] | None = None,
    ) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
        """The k nearest entities of a type for each vector, nearest first.

        Gives cosine distances 1 - cos (float32, from 0 to 2) and bundle rows (int64); where the
        type holds fewer than k, rows are -1 and distances infinite. Exact. `leave_out`: True at
        each of the type's n entities to pass over. Raises `UnknownType` and `ShapeMismatch`.
        """
        if type_name not in self.types:
            raise UnknownType(
                f"type should be one of {', '.join(self.types)}, received {type_name!r}"
            )
        options = None if leave_out is None else self._passing_over(type_name, leave_out)
        cosines, found = self._searchers[type_name].search(_directions(vectors), k, params=options)
        distances = 1.0 - cosines
        missing = found < 0
        rows = found + self.types[type_name].start
        rows[missing] = -1
        distances[missing] = np.inf
        return distances, rows

    def _passing_over(self, type_name: str, leave_out: Bool[np.ndarray, "n"]) -> Any:
        kind = self.types[type_name]
        count = kind.stop - kind.start
        if len(leave_out) != count:
            raise ShapeMismatch(
                f"leave_out should have {count} values, one per {type_name}, "
                f"received {len(leave_out)}"
            )
        made: Any = faiss  # its stubs describe C++, not the Python wrappers
        kept = np.packbits(~leave_out, bitorder="little")
        return made.SearchParameters(sel=made.IDSelectorBitmap(kept))


def build_index(store: ArtifactStore, bundle: Bundle) -> Index:
    """Build and seal an exact index of every type of a bundle."""
    with store.draft() as folder:
        for kind in bundle.types.values():
            flat = faiss.IndexFlatIP(bundle.dim)
            flat.add(_directions(bundle.vectors[kind.start : kind.stop]))
            faiss.write_index(flat, str(folder / _file_name(kind.name)))
        recipe = Recipe(
            kind="index",
            parents={"bundle": bundle.digest},
            dials={"kind": "flat", "metric": "cosine"},
            payload={
                "index_format": INDEX_FORMAT,
                "dim": bundle.dim,
                "types": [t._asdict() for t in bundle.types.values()],
            },
            metrics={"recall@10": 1.0},
        )
        return Index(store.seal(folder, recipe))


def open_index(store: ArtifactStore, digest: str) -> Index:
    """Open a sealed index, every byte checked. Raises `ArtifactDamaged`, `ArtifactFormat`."""
    artifact = store.open("index", digest)
    if artifact.payload.get("index_format") != INDEX_FORMAT:
        raise ArtifactFormat(
            f"index {digest} has index_format {artifact.payload.get('index_format')!r}, "
            f"this version reads {INDEX_FORMAT}; build it again"
        )
    return Index(artifact)


def _directions(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Each vector at length 1; a zero vector stays zero, at distance 1 from everything."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.ascontiguousarray(unit, dtype=np.float32)


def _file_name(type_name: str) -> str:
    return f"{type_name}.faiss"
