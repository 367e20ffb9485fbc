"""A map: a bundle's entities as points on a plane, near where their vectors are, sealed.

Takes a sealed bundle, gives a sealed map and reads it back; never imports torch or PyKEEN. Near
means a small angle, as for an index. How far a map can be believed is measured when it is made and
stands in its metrics, beside what a plane of principal components would keep: `docs/page.md`.

    points.safetensors     points [n, 2], float32, from -1 to 1      row number = the bundle's
    map.png                the same for people to look at, by type

Whoever erases a row makes its point zero and draws the picture again (`kge/erasing.py`): nothing
else here is of one entity. A row of the bundle whose id is empty has no point; it is zero.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactFormat
from graphsvc.gone import NOBODY
from graphsvc.snapshot import TypeRange
from kge.bundle import Bundle
from kge.config import MapConfig
from kge.errors import ShapeMismatch
from kge.layout import NEIGHBORS, PERPLEXITY, Tell, lay_out, principal
from kge.parts import directions
from kge.pieces import load_arrays

# Dimensions: n entities, m those that have a point, d vector.

#: Layout of the payload and files; a map of another one is refused by name.
MAP_FORMAT = 1
POINTS, PICTURE = "points.safetensors", "map.png"

#: Of so many entities it is measured how many of how many nearest stay near.
_SAMPLE, _NEAR = 500, 10
_AT_ONCE = 20
_SEED = 29

#: Of a picture.
_INCHES, _DOTS = 9.0, 110
_LEAST_SIZE, _MOST_SIZE, _INK = 0.4, 12.0, 40_000.0


@dataclass(frozen=True)
class Map:
    """A sealed map, opened. Points are read when first asked for."""

    artifact: Artifact

    @property
    def digest(self) -> str:
        return self.artifact.digest

    @property
    def bundle_digest(self) -> str:
        return self.artifact.parents["bundle"]

    @cached_property
    def points(self) -> Float32[np.ndarray, "n 2"]:
        """A row for each of the bundle, from -1 to 1."""
        return load_arrays(self.artifact.file(POINTS))["points"]


def build_map(
    store: ArtifactStore,
    bundle: Bundle,
    config: MapConfig | None = None,
    tell: Tell = lambda _done, _of: None,
) -> Map:
    """Lay out a bundle's entities, measure who stayed near, and seal it with a picture."""
    config = config or MapConfig()
    held = placed(bundle)
    units = directions(bundle.vectors[held])
    found = lay_out(units, config.landmarks, tell)
    points = np.zeros((len(held), 2), np.float32)
    points[held] = _framed(found)
    metrics = preserved(units, found)
    beside = preserved(units, principal(units))
    with store.draft() as folder:
        save_file({"points": points}, folder / POINTS)
        (folder / PICTURE).write_bytes(picture(points, held, list(bundle.types.values())))
        recipe = Recipe(
            kind="map",
            parents={"bundle": bundle.digest},
            dials=asdict(config),
            payload={
                "map_format": MAP_FORMAT,
                "method": "t-SNE from principal components",
                "neighbors": NEIGHBORS,
                "perplexity": PERPLEXITY,
                "entities": len(held),
                "bounds": [-1.0, 1.0],
            },
            metrics={**metrics, **{f"pca_{name}": value for name, value in beside.items()}},
        )
        return Map(store.seal(folder, recipe))


def open_map(store: ArtifactStore, digest: str, bundle: Bundle) -> Map:
    """Open a sealed map, every byte checked, beside the bundle that it is of.

    Raises `ArtifactDamaged`, `ArtifactFormat`, and `ShapeMismatch` for another bundle.
    """
    artifact = store.open("map", digest)
    if artifact.payload.get("map_format") != MAP_FORMAT:
        raise ArtifactFormat(
            f"map {digest} has map_format {artifact.payload.get('map_format')!r}, this version "
            f"reads {MAP_FORMAT}; make it again"
        )
    if artifact.parents["bundle"] != bundle.digest:
        raise ShapeMismatch(
            f"bundle should be {artifact.parents['bundle']}, which map {digest} is of, received "
            f"{bundle.digest}"
        )
    return Map(artifact)


def placed(bundle: Bundle) -> Bool[np.ndarray, "n"]:
    """Which rows of a bundle have a point: those that still are somebody's."""
    return np.asarray(bundle.ids != NOBODY, np.bool_)


def preserved(
    units: Float[np.ndarray, "m d"], points: Float[np.ndarray, "m 2"]
) -> Mapping[str, float]:
    """Who stayed near, of a sample: two shares, 1 where all did.

    `neighbors_kept@10`: of the ten nearest, so many are among the ten nearest points.
    `trustworthiness@10` (Venna and Kaski, 2001): 1 less how far down, in the order by vectors, the
    ten nearest points are that are not among the ten nearest. Empty where there are too few.
    """
    count = len(units)
    if count <= 2 * _NEAR:
        return {}
    draw = np.random.default_rng(_SEED)
    sample = np.sort(draw.choice(count, min(_SAMPLE, count), replace=False))
    tree = cKDTree(points)
    kept = beyond = 0.0
    for some in np.array_split(sample, -(-len(sample) // _AT_ONCE)):
        cosines = units[some] @ units.T
        cosines[np.arange(len(some)), some] = np.inf  # itself, before all others
        near = tree.query(points[some], _NEAR + 1)[1]
        for one, row, found in zip(some, cosines, near, strict=True):
            others = found[found != one][:_NEAR]
            ranks = np.array([np.count_nonzero(row > row[other]) for other in others])
            kept += np.count_nonzero(ranks <= _NEAR)
            beyond += float(np.maximum(ranks - _NEAR, 0).sum())
    asked = len(sample) * _NEAR
    worst = (2 * count - 3 * _NEAR - 1) / 2
    return {
        f"neighbors_kept@{_NEAR}": round(float(kept / asked), 4),
        f"trustworthiness@{_NEAR}": round(float(1.0 - beyond / asked / worst), 4),
    }


def picture(
    points: Float32[np.ndarray, "n 2"], held: Bool[np.ndarray, "n"], types: Sequence[TypeRange]
) -> bytes:
    """A PNG of the points that are held, a color for each type; the same points, the same bytes."""
    # Takes half a second to import, and serving imports this module.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DOTS, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plane = figure.add_subplot(aspect="equal", xlim=(-1.02, 1.02), ylim=(-1.02, 1.02))
    plane.set_axis_off()
    size = min(_MOST_SIZE, max(_LEAST_SIZE, _INK / max(1, len(points))))
    colors = colormaps["tab20" if len(types) > 10 else "tab10"].colors  # type: ignore[attr-defined]
    # The fewest last, on top of those that are many.
    for place, kind in sorted(enumerate(types), key=lambda told: told[1].start - told[1].stop):
        own = points[kind.start : kind.stop][held[kind.start : kind.stop]]
        color = colors[place % len(colors)]
        label = f"{kind.name} {len(own):,}"
        plane.scatter(own[:, 0], own[:, 1], s=size, linewidths=0, color=color, label=label)
    plane.legend(loc="upper right", markerscale=(40 / size) ** 0.5, frameon=False)
    held_bytes = io.BytesIO()
    canvas.print_png(held_bytes, metadata={"Software": None})
    return held_bytes.getvalue()


def _framed(found: Float32[np.ndarray, "m 2"]) -> NDArray[np.float32]:
    """Points moved and made smaller, alike both ways, so that they just fit from -1 to 1."""
    if not len(found):
        return found
    low, high = found.min(axis=0), found.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    return np.asarray((found - (low + high) / 2) / half, np.float32).clip(-1, 1)
