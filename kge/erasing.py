"""A bundle, an index and a map without somebody: rows are zeroed where they are.

Takes opened artifacts and who is gone, says how their files are written anew; never seals. All
other rows keep their places, so that what was built over them goes on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from graphsvc.artifact import Artifact
from graphsvc.gone import Gone
from graphsvc.renewal import (
    UNTOUCHED,
    Change,
    Rewriting,
    ids_blanked,
    overwrite,
    rows_written,
    tensors_of,
)
from kge.bundle import Bundle
from kge.index import Index
from kge.map import PICTURE, POINTS, Map, picture, placed

#: What a part of an index holds of a vector.
CODES = "codes"
#: What a file of a bundle holds by row. `degree` stays as a sign that a facet knew somebody here:
#: the places of all others in an index follow from it. Relations' arrays are nobody's.
_BY_ROW = ("vectors", "bias", "anchor_rows", "anchor_weights")


def bundle_without(artifact: Artifact, gone: Gone) -> Rewriting:
    """Their vectors, biases and anchors become zero in every facet, their ids nobody's."""
    bundle = Bundle(artifact)
    rows = rows_of(bundle, gone)
    if not len(rows):
        return UNTOUCHED
    files = [name for name in artifact.manifest["files"] if name.endswith(".safetensors")]
    changes: dict[str, Change] = {name: _zeroed(rows) for name in files}
    changes["entities.parquet"] = ids_blanked(rows)
    zeroed = {
        name: {one: rows.tolist() for one in tensors_of(artifact.file(name)) if one in _BY_ROW}
        for name in files
    }
    return Rewriting(changes, zeroed, {})


def rows_of(bundle: Bundle, gone: Gone) -> NDArray[np.int64]:
    """Their rows, in rising order."""
    found = [
        kind.start + gone.among(kind.name, bundle.ids[kind.start : kind.stop].tolist())
        for kind in bundle.types.values()
        if kind.name in gone.types
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def index_without(artifact: Artifact, bundle: Bundle) -> Rewriting:
    """What FAISS holds of rows that are nobody's in the bundle's successor becomes zero."""
    index = Index(artifact, bundle)
    changes: dict[str, Change] = {}
    zeroed: dict[str, dict[str, list[int]]] = {}
    for part in index.parts.values():
        places = part.places_of(bundle.erased)
        if part.file is not None and len(places):
            changes[part.file.name] = _codes_zeroed(places)
            zeroed[part.file.name] = {CODES: places.tolist()}
    return Rewriting(changes, zeroed, {})


def map_without(artifact: Artifact, bundle: Bundle) -> Rewriting:
    """Points of rows that are nobody's in the bundle's successor become zero, and are not drawn."""
    rows, points = bundle.erased, Map(artifact).points.copy()
    points[rows] = 0

    def drawn(_source: Path, target: Path) -> None:
        target.write_bytes(picture(points, placed(bundle), list(bundle.types.values())))

    changes: dict[str, Change] = {POINTS: rows_written({"points": rows}), PICTURE: drawn}
    return Rewriting(changes, {POINTS: {"points": rows.tolist()}}, {})


def codes_are_zero(file: Path, places: Sequence[int]) -> bool:
    """Whether a part of an index holds nothing of some places, which are numbered as FAISS does."""
    read: Any = faiss
    built = read.read_index(str(file))
    stored = _stored(built, np.array(places, dtype=np.int64))
    return not any(codes[[row for row, _ in rows]].any() for codes, rows in stored)


def found_by_probe(index: Index, *, queries: int, k: int, seed: int) -> tuple[int, float]:
    """How often somebody who was erased is near random directions; the largest number of theirs.

    Near: among the k nearest. The number is of all vectors that stand for nobody, in any facet.
    """
    draw, erased = np.random.default_rng(seed), index.bundle.erased
    found, longest = 0, 0.0
    for facet, type_ in index.parts:
        vectors = index.bundle.facets[facet].vectors
        asked = draw.standard_normal((queries, vectors.shape[1])).astype(np.float32)
        found += int(np.isin(index.search(type_, asked, k, facet=facet).rows, erased).sum())
        longest = max(longest, float(np.abs(vectors[erased]).max(initial=0.0)))
    return found, longest


def _zeroed(rows: NDArray[np.int64]) -> Change:
    plain = rows_written(dict.fromkeys(_BY_ROW, rows))

    def change(source: Path, target: Path) -> None:
        plain(source, target)
        with safe_open(source, framework="numpy") as file:
            degrees = file.get_tensor("degree")
        overwrite(target, {"degree": rows[degrees[rows] > 0]}, np.ones(1, degrees.dtype).tobytes())

    return change


def _codes_zeroed(places: NDArray[np.int64]) -> Change:
    def change(source: Path, target: Path) -> None:
        made: Any = faiss
        built = made.read_index(str(source))
        for codes, rows in _stored(built, places):
            codes[[row for row, _ in rows]] = 0
        made.write_index(built, str(target))

    return change


def _stored(
    built: Any, places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], list[tuple[int, int]]]]:
    """The bytes of vectors as FAISS has them, in pieces that may be written to.

    Each with (row of the piece, place) of some places, which are numbered as FAISS counts.
    """
    made: Any = faiss
    own = made.downcast_index(built)
    if isinstance(own, made.IndexIVF):
        size, lists = own.code_size, own.invlists
        for number in range(own.nlist):
            length = lists.list_size(number)
            if not length:
                continue
            ids = made.rev_swig_ptr(lists.get_ids(number), length)
            at = np.flatnonzero(np.isin(ids, places))
            if len(at):
                codes = made.rev_swig_ptr(lists.get_codes(number), length * size)
                yield (
                    codes.reshape(length, size),
                    list(zip(at.tolist(), ids[at].tolist(), strict=True)),
                )
        return
    flat = made.downcast_index(own.storage)
    codes = made.rev_swig_ptr(flat.codes.data(), flat.codes.size())
    yield codes.reshape(flat.ntotal, flat.code_size), [(one, one) for one in places.tolist()]
