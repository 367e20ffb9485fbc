"""A map of a bundle: what is sealed, what is measured, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from graphsvc.artifact import ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import MapConfig
from kge.errors import ConfigError, ShapeMismatch
from kge.map import build_map, open_map, picture, placed, preserved


def test_every_row_has_a_point_between_the_bounds(store: ArtifactStore, bundle: Bundle):
    made = build_map(store, bundle)
    opened = open_map(store, made.digest, bundle)
    assert opened.points.shape == (len(bundle.ids), 2)
    assert opened.points.dtype == np.float32
    low, high = opened.points.min(axis=0), opened.points.max(axis=0)
    assert (high - low).max() == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    assert opened.artifact.parents == {"bundle": bundle.digest}
    assert opened.artifact.file("map.png").read_bytes().startswith(b"\x89PNG")
    assert build_map(store, bundle).digest == made.digest, "the same bundle, the same map"


def test_what_is_of_one_entity_lies_in_rows_alone(store: ArtifactStore, bundle: Bundle):
    made = build_map(store, bundle)
    tensors = load_file(made.artifact.file("points.safetensors"))
    assert {name: len(array) for name, array in tensors.items()} == {"points": len(bundle.ids)}
    said = str(made.artifact.manifest)
    assert not any(f"'{id_}'" in said for id_ in bundle.ids)
    assert set(made.artifact.manifest["files"]) == {"points.safetensors", "map.png"}


def test_who_was_erased_has_no_point(store: ArtifactStore, arrays: BundleArrays):
    ids, vectors = arrays.ids.copy(), arrays.vectors.copy()
    ids[3], vectors[3] = "", 0
    gone = seal_bundle(
        store, "5" * 64, replace(arrays, ids=ids, vectors=vectors), dials={}, metrics={}
    )
    points = build_map(store, gone).points
    assert (points[3] == 0).all()
    assert placed(gone).tolist() == [n != 3 for n in range(len(ids))]
    held = placed(gone)
    types = list(gone.types.values())
    moved = points.copy()
    moved[3] = 0.7
    assert picture(moved, held, types) == picture(points, held, types), "nor is one drawn"
    moved[4] = -points[4]
    assert picture(moved, held, types) != picture(points, held, types)


def test_all_near_is_all_kept_and_a_line_of_chance_keeps_little():
    draw = np.random.default_rng(4)
    around = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1).astype(np.float32)
    kept = preserved(circle, circle)
    assert kept == {"neighbors_kept@10": 1.0, "trustworthiness@10": 1.0}
    chance = preserved(circle, draw.normal(size=(400, 2)).astype(np.float32))
    assert chance["neighbors_kept@10"] < 0.06
    assert chance["trustworthiness@10"] == pytest.approx(0.5, abs=0.05)
    assert preserved(circle[:20], circle[:20]) == {}


def test_trustworthiness_is_that_of_scikit_learn():
    from sklearn.manifold import trustworthiness

    draw = np.random.default_rng(6)
    vectors = draw.normal(size=(200, 6)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    points = np.ascontiguousarray(units[:, :2])
    expected = trustworthiness(units, points, n_neighbors=10)
    assert preserved(units, points)["trustworthiness@10"] == pytest.approx(expected, abs=1e-4)


def test_what_is_not_its_map_is_refused(store: ArtifactStore, bundle: Bundle, arrays: BundleArrays):
    made = build_map(store, bundle)
    other = seal_bundle(store, "6" * 64, arrays, dials={}, metrics={})
    with pytest.raises(ShapeMismatch, match=f"bundle should be {bundle.digest}"):
        open_map(store, made.digest, other)
    with store.draft() as folder:
        payload = made.artifact.payload | {"map_format": 99}
        recipe = Recipe(kind="map", parents={"bundle": bundle.digest}, payload=payload)
        newer = store.seal(folder, recipe)
    with pytest.raises(ArtifactFormat, match="map_format 99"):
        open_map(store, newer.digest, bundle)
    file = made.artifact.file("points.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactDamaged):
        open_map(store, made.digest, bundle)


@pytest.mark.parametrize("landmarks", [999, 1_000_001])
def test_dials_have_bounds(landmarks: int):
    with pytest.raises(ConfigError, match="landmarks should be 1000 to 1000000"):
        MapConfig(landmarks=landmarks)
