"""A bundle: what leaves the training room, sealed.

Takes trained arrays, gives a sealed folder of safetensors and Parquet and reads it back as numpy
arrays; never imports torch or PyKEEN, since serving opens bundles too.

    arrays.safetensors         vectors, bias, degree, translations, projections, priors, frame_rows;
                               tail_projections where tails go through matrices of their own;
                               side_priors where training gave them;
                               anchor_rows, anchor_weights where vectors lean on anchors
    facet-<name>.safetensors   the same but frame_rows, learned from one group of relations
    curve.png                  loss and validation MRR of the training
    entities.parquet           id                                  row number = position

Rows cover every entity of the snapshot that has at least one training triple. A type is a
contiguous range of rows, sorted by id as in the snapshot.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors.numpy import save_file

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactFormat
from graphsvc.gone import NOBODY
from graphsvc.ids import digest_of_json
from graphsvc.snapshot import RelationInfo, TypeRange
from kge.arrays import BundleArrays, FacetArrays, check, find_type
from kge.cold_bias import ColdBias, cold_bias
from kge.config import FoldInConfig
from kge.errors import UnknownFacet
from kge.facet import ALL, Facet

#: Layout of the payload and files; a bundle of another one is refused by name.
BUNDLE_FORMAT = 2

# A bundle is read piece by piece: each call holds the interpreter until it is done, and servers
# answer while they load the next bundle.
_PIECE_IDS = 1 << 14

_ARRAYS = ("vectors", "bias", "degree", "translations", "projections", "priors")
_OPTIONAL = ("tail_projections", "side_priors")
_LEANING = ("anchor_rows", "anchor_weights")


@dataclass(frozen=True)
class Bundle:
    """A sealed bundle, opened. Arrays are read when first asked for."""

    artifact: Artifact

    @property
    def digest(self) -> str:
        return self.artifact.digest

    @property
    def snapshot_digest(self) -> str:
        return self.artifact.parents["snapshot"]

    @property
    def frame(self) -> str:
        """Digest of the coordinate frame; a ranker reads vectors of its own frame only."""
        return self.artifact.payload["frame"]

    @property
    def dim(self) -> int:
        return self.artifact.payload["dim"]

    @property
    def scale(self) -> float:
        return self.artifact.payload["scale"]

    @cached_property
    def types(self) -> dict[str, TypeRange]:
        return {t["name"]: TypeRange(**t) for t in self.artifact.payload["types"]}

    @property
    def relations(self) -> tuple[RelationInfo, ...]:
        """In the snapshot's order; index r is forward, r + R reciprocal (tail to head)."""
        return self.whole.relations

    @cached_property
    def facets(self) -> dict[str, Facet]:
        """`all`, then the named groups."""
        known = {r["name"]: RelationInfo(**r) for r in self.artifact.payload["relations"]}
        return {
            name: Facet(
                name=name,
                relations=tuple(known[relation] for relation in group),
                scale=self.scale,
                _file=self.artifact.file(_file_of(name)),
            )
            for name, group in self.artifact.payload["facets"].items()
        }

    @property
    def whole(self) -> Facet:
        """The facet of all relations."""
        return self.facets[ALL]

    def facet(self, name: str) -> Facet:
        """A facet by name. Raises `UnknownFacet`."""
        if name not in self.facets:
            raise UnknownFacet(
                f"facet should be one of {', '.join(self.facets)}, received {name!r}"
            )
        return self.facets[name]

    def alone(self, name: str) -> BundleArrays:
        """A facet as if it were all there is: what fold-in needs to solve in its space."""
        facet = self.facet(name)
        return BundleArrays(
            vectors=facet.vectors,
            bias=facet.bias,
            degree=facet.degree,
            relations=facet.relations,
            translations=facet.translations,
            projections=facet.projections,
            tail_projections=facet.tail_projections,
            priors=facet.arrays["priors"],
            side_priors=facet.side_priors,
            types=list(self.types.values()),
            ids=self.ids,
            frame_rows=self.frame_rows,
            scale=facet.scale,
        )

    def dials_of(self, facet: str) -> Mapping[str, Any]:
        """The dials that a facet was trained with; none where an older version sealed it."""
        if facet == ALL:
            return self.artifact.dials
        told: Mapping[str, Mapping[str, Any]] = self.artifact.payload.get("facet_dials", {})
        return told.get(facet, {})

    def fold_in(self, facet: str = ALL) -> FoldInConfig:
        """How vectors are made that training did not give; those of settled types were, so too."""
        told = self.dials_of(facet).get("prior_edges", self.artifact.dials.get("prior_edges"))
        return FoldInConfig() if told is None else FoldInConfig(prior_edges=told)

    @cached_property
    def settled(self) -> frozenset[str]:
        """Types whose trained vectors are fold-ins of their edges; see `kge/settle.py`."""
        return acting(self.relations) if self.artifact.dials.get("settle") else frozenset()

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        column = pq.read_table(self.artifact.file("entities.parquet")).column("id")
        ids = np.empty(len(column), dtype=object)
        for start in range(0, len(ids), _PIECE_IDS):
            ids[start : start + _PIECE_IDS] = column.slice(start, _PIECE_IDS).to_numpy()
        return ids

    @property
    def vectors(self) -> NDArray[np.float32]:
        return self.whole.vectors

    @property
    def bias(self) -> NDArray[np.float32]:
        return self.whole.bias

    @property
    def degree(self) -> NDArray[np.int32]:
        return self.whole.degree

    @property
    def translations(self) -> NDArray[np.float32]:
        return self.whole.translations

    @property
    def projections(self) -> NDArray[np.float32]:
        return self.whole.projections

    @property
    def tail_projections(self) -> NDArray[np.float32]:
        return self.whole.tail_projections

    @property
    def side_priors(self) -> NDArray[np.float32] | None:
        return self.whole.side_priors

    @property
    def frame_rows(self) -> NDArray[np.int32]:
        return self.whole.arrays["frame_rows"]

    @property
    def leaning(self) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
        """Rows of the anchors that each entity leans on (-1: none), and the share of each.

        None where the bundle does not say.
        """
        rows, shares = (self.whole.arrays.get(name) for name in _LEANING)
        return None if rows is None or shares is None else (rows, shares)

    @cached_property
    def _lookup(self) -> dict[str, dict[str, int]]:
        return {
            t.name: {
                key: t.start + n
                for n, key in enumerate(self.ids[t.start : t.stop].tolist())
                if key != NOBODY
            }
            for t in self.types.values()
        }

    @cached_property
    def erased(self) -> NDArray[np.int64]:
        """Rows of those who were erased, in rising order: zero, and nobody's."""
        return np.flatnonzero(self.ids == NOBODY)

    def type_range(self, type_name: str) -> TypeRange:
        """The rows of a type. Raises `UnknownType`."""
        return find_type(self.types, type_name)

    def prior(self, type_name: str) -> Float[np.ndarray, "d"]:
        """The vector of an entity of which nothing is known yet."""
        self.type_range(type_name)
        return self.whole.arrays["priors"][list(self.types).index(type_name)]

    def cold_bias(
        self, type_name: str, degrees: Int[np.ndarray, "n"], *, facet: str = ALL
    ) -> Float[np.ndarray, "n"]:
        """The tail biases of entities that the bundle does not hold and that have so many edges.

        As `ColdBias` says of the rows of their type, by the facet's own relations alone. Raises
        `UnknownType`, `UnknownFacet`.
        """
        name = (facet, type_name)
        if name not in self._cold_biases:
            rows, of = slice(*self.type_range(type_name)[1:]), self.facet(facet)
            self._cold_biases[name] = cold_bias(of.bias[rows], of.degree[rows])
        return self._cold_biases[name].of(degrees)

    @cached_property
    def _cold_biases(self) -> dict[tuple[str, str], ColdBias]:
        return {}

    def rows(
        self, type_name: str, ids: Sequence[str] | NDArray[np.object_]
    ) -> Int[np.ndarray, "n"]:
        """Bundle rows of ids of one type, -1 where the bundle does not hold the id."""
        known = self._lookup.get(type_name, {})
        return np.fromiter((known.get(key, -1) for key in ids), dtype=np.int32, count=len(ids))

    def relation_index(self, name: str) -> int:
        """The forward index of a relation by name. Raises `UnknownRelation`."""
        return self.whole.relation_index(name)

    def score_tails(
        self, relation: int, head_vectors: Float[np.ndarray, "b d"], tail_rows: Int[np.ndarray, "m"]
    ) -> Float[np.ndarray, "b m"]:
        """`Facet.score_vectors` of every head against every tail row, by all relations."""
        return self.score_vectors(
            relation, head_vectors, self.vectors[tail_rows], self.bias[tail_rows]
        )

    def score_vectors(
        self,
        relation: int,
        head_vectors: Float[np.ndarray, "b d"],
        tail_vectors: Float[np.ndarray, "m d"],
        tail_bias: Float[np.ndarray, "m"],
    ) -> Float[np.ndarray, "b m"]:
        """`score_tails` for tails given by vector and bias, such as those folded in."""
        return self.whole.score_vectors(relation, head_vectors, tail_vectors, tail_bias)


def seal_bundle(
    store: ArtifactStore,
    snapshot_digest: str,
    arrays: BundleArrays,
    *,
    dials: Mapping[str, Any],
    metrics: Mapping[str, Any],
    reasons: Mapping[str, str] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write trained arrays as a sealed bundle, child of the snapshot it was trained on.

    And of the bundle that training began with, if any. `reasons`: why dials that nobody set are
    what they are. `beside`: files for people to look at.
    """
    parents = {"snapshot": snapshot_digest}
    if arrays.previous is not None:
        parents["previous"] = arrays.previous
    check(arrays)
    groups = {ALL: arrays, **arrays.facets}
    payload = {
        "bundle_format": BUNDLE_FORMAT,
        "frame": _frame(arrays),
        "facets": {name: [r.name for r in facet.relations] for name, facet in groups.items()},
        "dim": int(arrays.vectors.shape[1]),
        "relation_dim": int(arrays.translations.shape[1]),
        "entities": len(arrays.ids),
        "scale": float(arrays.scale),
        "types": [t._asdict() for t in arrays.types],
        "relations": [asdict(r) for r in arrays.relations],
        "reasons": dict(reasons or {}),
        "facet_dials": {name: dict(f.dials) for name, f in arrays.facets.items() if f.dials},
    }
    with store.draft() as folder:
        for name, facet in groups.items():
            tensors = _tensors(facet)
            if name == ALL:
                tensors["frame_rows"] = np.ascontiguousarray(arrays.frame_rows)
                for extra in _LEANING:
                    if (array := getattr(arrays, extra)) is not None:
                        tensors[extra] = np.ascontiguousarray(array)
            save_file(tensors, folder / _file_of(name))
        for name, content in (beside or {}).items():
            (folder / name).write_bytes(content)
        ids = pa.array(arrays.ids, type=pa.string(), from_pandas=False)
        pq.write_table(pa.table({"id": ids}), folder / "entities.parquet", compression="zstd")
        recipe = Recipe(
            kind="bundle",
            parents=parents,
            dials=dials,
            payload=payload,
            metrics=metrics,
        )
        return Bundle(store.seal(folder, recipe))


def acting(relations: Iterable[RelationInfo]) -> frozenset[str]:
    """The types that only ever act: heads of what people do that are the tail of no relation."""
    known = list(relations)
    heads = {relation.head for relation in known if relation.source != "structure"}
    return frozenset(heads - {relation.tail for relation in known})


def open_bundle(store: ArtifactStore, digest: str) -> Bundle:
    """Open a sealed bundle, every byte checked. Raises `ArtifactDamaged`, `ArtifactFormat`."""
    artifact = store.open("bundle", digest)
    if artifact.payload.get("bundle_format") != BUNDLE_FORMAT:
        raise ArtifactFormat(
            f"bundle {digest} has bundle_format {artifact.payload.get('bundle_format')!r}, "
            f"this version reads {BUNDLE_FORMAT}; train again"
        )
    return Bundle(artifact)


def _file_of(facet: str) -> str:
    return "arrays.safetensors" if facet == ALL else f"facet-{facet}.safetensors"


def _tensors(facet: FacetArrays) -> dict[str, NDArray[Any]]:
    tensors = {name: np.ascontiguousarray(getattr(facet, name)) for name in _ARRAYS}
    for name in _OPTIONAL:
        if getattr(facet, name) is not None:
            tensors[name] = np.ascontiguousarray(getattr(facet, name))
    return tensors


def _frame(arrays: BundleArrays) -> str:
    """Digest over the frame anchors' ids and the run that placed them.

    A training that held the frame of the bundle before goes on with its name. Any other lands in an
    affine frame of its own, so it is named by what it learned: two such trainings share a frame
    only if they are equal to the last bit. Rankers read no facet, so one that comes or goes leaves
    the frame as it is, in a refresh as in a training from nothing. Our design.
    """
    if arrays.frame is not None:
        return arrays.frame
    named = [
        [t.name, [arrays.ids[row] for row in arrays.frame_rows.tolist() if t.start <= row < t.stop]]
        for t in arrays.types
    ]
    run = hashlib.sha256()
    for part in (arrays.vectors, arrays.translations, arrays.projections):
        run.update(np.ascontiguousarray(part).tobytes())
    return digest_of_json({"anchors": named, "run": run.hexdigest()})
