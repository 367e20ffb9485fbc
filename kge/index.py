"""An index: nearest neighbors over a bundle's vectors, a part for every type and facet.

Near means a small angle: entities with few edges have short vectors, and by straight distance they
would all lie near everything.

Takes a sealed bundle, gives a sealed index and answers searches; never imports torch or PyKEEN.
FAISS and torch bring two OpenMP runtimes: a process that uses both imports torch first. Files hold
what had to be learned; vectors are the bundle's own.

Who was out of answers at the build is in no part, so that searches need not pass over them. Who
comes back before the next build is compared beside what the part finds; our design.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from safetensors.numpy import save_file

from graphsvc.artifact import Artifact, ArtifactStore
from graphsvc.artifact import Recipe as Sealing
from graphsvc.errors import ArtifactFormat
from graphsvc.snapshot import TypeRange
from kge.bundle import ALL, Bundle
from kge.config import IndexConfig
from kge.errors import ShapeMismatch, UnknownFacet, UnknownType
from kge.kinds import bytes_per_vector, choices, shares
from kge.parts import Found, Part, Recipe, directions
from kge.pieces import load_arrays
from kge.tuning import Sample, tune

__all__ = ["Found", "Index", "build_index", "open_index"]

#: Layout of the payload and files; an index of one that is not read is refused by name.
INDEX_FORMAT = 3
#: Format 2 leaves nobody out.
_READ = (2, 3)
_LEFT_OUT = "left-out.safetensors"

_SEED = 19

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Index:
    """A sealed index, opened beside its bundle. FAISS files are read at the first search."""

    artifact: Artifact
    bundle: Bundle

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
    def recipes(self) -> Mapping[tuple[str, str], Recipe]:
        """What each part is and why, by facet and type."""
        made = [_recipe(told) for told in self.artifact.payload["parts"]]
        return {(recipe.facet, recipe.type): recipe for recipe in made}

    @cached_property
    def parts(self) -> Mapping[tuple[str, str], Part]:
        """The vectors of each type in each facet, by facet and type."""
        dials = self.artifact.dials
        return {
            (facet, type_): Part(
                recipe=recipe,
                kind=self.types[type_],
                vectors=self.bundle.facets[facet].vectors,
                listed=_listed(self._source, facet, self.types[type_]),
                left_out=self._left_out_of(facet, self.types[type_]),
                erased=self._erased_of(self.types[type_]),
                file=self._file(facet, type_),
                filter_rows=dials["filter_rows"],
                least_recall=dials["least_recall"],
            )
            for (facet, type_), recipe in self.recipes.items()
        }

    @cached_property
    def left_out(self) -> Int[np.ndarray, "m"]:
        """Bundle rows in no part: who was out of answers at the build, in rising order."""
        if _LEFT_OUT not in self.artifact.manifest["files"]:
            return np.empty(0, np.int32)
        return load_arrays(self.artifact.file(_LEFT_OUT))["rows"]

    @cached_property
    def held(self) -> Mapping[str, NDArray[np.bool_]]:
        """Which rows of a type are not left out; only of types of which some are."""
        return {
            name: ~gone
            for name, kind in self.types.items()
            if (gone := _within(self.left_out, kind)).any()
        }

    def part(self, type_name: str, facet: str = ALL) -> Part:
        """The vectors of one type in one facet. Raises `UnknownType` and `UnknownFacet`."""
        if type_name not in self.types:
            raise UnknownType(
                f"type should be one of {', '.join(self.types)}, received {type_name!r}"
            )
        if (facet, type_name) not in self.parts:
            known = dict.fromkeys(name for name, _ in self.parts)
            raise UnknownFacet(f"facet should be one of {', '.join(known)}, received {facet!r}")
        return self.parts[facet, type_name]

    def search(
        self,
        type_name: str,
        vectors: Float[np.ndarray, "q d"],
        k: int,
        *,
        facet: str = ALL,
        allowed: Bool[np.ndarray, "n"] | None = None,
        spare: int = 0,
    ) -> Found:
        """The k nearest entities of a type for each vector, nearest first.

        `allowed`: True at each of the type's n entities that may be found; by default all but
        those whom the build left out. `spare`: so many more are given, for callers who leave some
        out; plan and recall are those of k. Raises `UnknownType`, `UnknownFacet` and
        `ShapeMismatch`.
        """
        part = self.part(type_name, facet)
        count = part.kind.stop - part.kind.start
        if allowed is not None and len(allowed) != count:
            raise ShapeMismatch(
                f"allowed should have {count} values, one per {type_name}, received {len(allowed)}"
            )
        return part.search(vectors, k, allowed, spare=spare)

    @property
    def _source(self) -> "_Source":
        return _Source(self.bundle, self.left_out)

    def _left_out_of(self, facet: str, kind: TypeRange) -> NDArray[np.int64]:
        gone, known = _within(self.left_out, kind), _known(self.bundle, facet, kind)
        return np.flatnonzero(gone if known is None else gone & known)

    def _erased_of(self, kind: TypeRange) -> NDArray[np.int64]:
        rows = self.bundle.erased
        return rows[(rows >= kind.start) & (rows < kind.stop)] - kind.start

    def _file(self, facet: str, type_: str) -> Path | None:
        name = _file_name(facet, type_)
        return self.artifact.file(name) if name in self.artifact.manifest["files"] else None


def build_index(
    store: ArtifactStore,
    bundle: Bundle,
    config: IndexConfig | None = None,
    tell: Tell = lambda _done, _total, _note: None,
    *,
    left_out: Int[np.ndarray, "m"] | None = None,
) -> Index:
    """Build and seal an index of every type and facet of a bundle, each part of the kind it needs.

    `tell`: how many parts are done, of how many, and what the last one became. `left_out`: bundle
    rows, in rising order, of those who are out of answers.
    """
    config = config or IndexConfig()
    source = _Source(bundle, np.empty(0, np.int32) if left_out is None else left_out)
    sizes = {
        (facet, kind.name): (kind.stop - kind.start) * bundle.facets[facet].vectors.shape[1]
        for facet in bundle.facets
        for kind in bundle.types.values()
    }
    budgets = shares(
        {f"{facet}/{type_}": n for (facet, type_), n in sizes.items()}, config.memory_mib
    )
    recipes: list[Recipe] = []
    with store.draft() as folder:
        for done, (facet, type_) in enumerate(sizes, start=1):
            recipe, built = _part(source, (facet, type_), budgets[f"{facet}/{type_}"], config)
            if built is not None:
                faiss.write_index(built, str(folder / _file_name(facet, type_)))
            recipes.append(recipe)
            tell(done, len(sizes), f"{facet}/{type_}: {recipe.kind}")
        if len(source.left_out):
            save_file({"rows": source.left_out.astype(np.int32)}, folder / _LEFT_OUT)
        sealing = Sealing(
            kind="index",
            parents={"bundle": bundle.digest},
            dials={**asdict(config), "metric": "cosine"},
            payload={
                "index_format": INDEX_FORMAT,
                "dim": bundle.dim,
                "types": [t._asdict() for t in bundle.types.values()],
                "parts": [asdict(recipe) for recipe in recipes],
            },
            metrics={"recall@10": min((r.recall[0][1] for r in recipes), default=1.0)},
        )
        return Index(store.seal(folder, sealing), bundle)


def open_index(store: ArtifactStore, digest: str, bundle: Bundle) -> Index:
    """Open a sealed index, every byte checked, beside the bundle that it was built from.

    Raises `ArtifactDamaged`, `ArtifactFormat`, and `ShapeMismatch` for another bundle.
    """
    artifact = store.open("index", digest)
    if artifact.payload.get("index_format") not in _READ:
        raise ArtifactFormat(
            f"index {digest} has index_format {artifact.payload.get('index_format')!r}, "
            f"this version reads {INDEX_FORMAT}; build it again"
        )
    if artifact.parents["bundle"] != bundle.digest:
        raise ShapeMismatch(
            f"bundle should be {artifact.parents['bundle']}, which index {digest} was built from, "
            f"received {bundle.digest}"
        )
    return Index(artifact, bundle)


class _Source(NamedTuple):
    """What parts are built from: a bundle, and its rows of those who are out of answers."""

    bundle: Bundle
    left_out: NDArray[np.int32]


def _part(
    source: _Source, name: tuple[str, str], budget: float, config: IndexConfig
) -> tuple[Recipe, Any]:
    """The recipe of one part, and what FAISS has built for it, if anything."""
    facet, kind = name[0], source.bundle.types[name[1]]
    vectors, listed = source.bundle.facets[facet].vectors, _listed(source, facet, kind)
    rows = np.arange(kind.start, kind.stop)
    rows = rows if listed is None else rows[listed]
    units = directions(vectors[rows])
    chosen = choices(len(units), units.shape[1], budget, config)
    made = tune(chosen, units, _sample(source, facet, rows, config.sample), config)
    recipe = Recipe(
        facet=facet,
        type=kind.name,
        kind=made.kind,
        effort=made.effort,
        reason=made.reason,
        rows=len(units),
        bytes_per_vector=round(bytes_per_vector(made.kind, units.shape[1], config), 1),
        recall=tuple((share, *reached) for share, reached in made.recall.items()),
        tried=made.tried,
    )
    return recipe, made.faiss


def _sample(source: _Source, facet: str, rows: NDArray[np.int64], size: int) -> Sample:
    """Half of the part's own vectors, half of other types': people ask for films, too.

    These lie elsewhere, and some kinds find much less of what is near them. Whom the facet does not
    know, or who is out of answers, asks for nothing.
    """
    vectors = source.bundle.facets[facet].vectors
    if not len(rows):
        return Sample(np.empty((0, vectors.shape[1]), np.float32), np.empty(0, np.int64))
    draw = np.random.default_rng(_SEED)
    own = np.sort(draw.choice(len(rows), min(size // 2 or 1, len(rows)), replace=False))
    asks = np.ones(len(vectors), np.bool_)
    for kind in source.bundle.types.values():
        if (listed := _listed(source, facet, kind)) is not None:
            asks[kind.start : kind.stop] = listed
    asks[rows] = False
    others = np.flatnonzero(asks)
    foreign = draw.choice(others, min(size - size // 2, len(others)), replace=False)
    queries = vectors[np.concatenate([rows[own], foreign]).astype(np.int64)]
    place = np.concatenate([own, np.full(len(foreign), -1)]).astype(np.int64)
    return Sample(directions(queries), place)


def _known(bundle: Bundle, facet: str, kind: TypeRange) -> NDArray[np.bool_] | None:
    """Which rows of a type have an edge in the facet: the others only have its prior's vector."""
    if facet == ALL:
        return None
    return bundle.facets[facet].degree[kind.start : kind.stop] > 0


def _within(rows: NDArray[np.int32], kind: TypeRange) -> NDArray[np.bool_]:
    """Which of a type's rows are among some rows."""
    found = np.zeros(kind.stop - kind.start, np.bool_)
    found[rows[(rows >= kind.start) & (rows < kind.stop)] - kind.start] = True
    return found


def _listed(source: _Source, facet: str, kind: TypeRange) -> NDArray[np.bool_] | None:
    """Which rows of a type are in its part; None: all of them."""
    known, gone = _known(source.bundle, facet, kind), _within(source.left_out, kind)
    if not gone.any():
        return known
    return ~gone if known is None else known & ~gone


def _recipe(told: Mapping[str, Any]) -> Recipe:
    pairs = {name: tuple(tuple(row) for row in told[name]) for name in ("recall", "tried")}
    return Recipe(**{**told, **pairs})


def _file_name(facet: str, type_: str) -> str:
    return f"{facet}-{type_}.faiss"
