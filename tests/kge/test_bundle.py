import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat
from kge.arrays import BundleArrays, FacetArrays
from kge.bundle import Bundle, open_bundle, seal_bundle
from kge.errors import ShapeMismatch, UnknownFacet, UnknownRelation, UnknownType


def test_what_was_sealed_opens_again(store: ArtifactStore, bundle: Bundle, arrays: BundleArrays):
    again = open_bundle(store, bundle.digest)
    for name in ("vectors", "bias", "degree", "translations", "projections", "frame_rows", "ids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(arrays, name))
    assert list(again.types.values()) == arrays.types
    assert list(again.relations) == arrays.relations
    assert (again.dim, again.scale, again.snapshot_digest) == (4, 1.0, "0" * 64)
    assert again.artifact.dials == {"dim": 4}
    assert again.artifact.metrics == {"loss": 1.5}
    np.testing.assert_array_equal(again.prior("user"), arrays.priors[1])


@pytest.mark.parametrize("size", [1, 16, 40])
def test_it_is_read_piece_by_piece(
    store: ArtifactStore,
    bundle: Bundle,
    arrays: BundleArrays,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
):
    monkeypatch.setattr("kge.pieces._PIECE_BYTES", size)
    monkeypatch.setattr("kge.bundle._PIECE_IDS", size)
    again = open_bundle(store, bundle.digest)
    for name in ("vectors", "bias", "degree", "translations", "projections", "frame_rows", "ids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(arrays, name))
        assert getattr(again, name).dtype == np.asarray(getattr(arrays, name)).dtype


def test_a_facet_opens_again_beside_the_whole(store: ArtifactStore, split_bundle: Bundle):
    again = open_bundle(store, split_bundle.digest)
    assert list(again.facets) == ["all", "clicks"]
    clicks = again.facet("clicks")
    assert [relation.name for relation in clicks.relations] == ["click"]
    np.testing.assert_array_equal(clicks.vectors, again.vectors[:, :2])
    np.testing.assert_array_equal(clicks.degree, again.degree - 1)
    assert clicks.tail_projections is clicks.projections
    assert not np.array_equal(again.tail_projections, again.projections)
    with pytest.raises(UnknownFacet, match="one of all, clicks, received 'taste'"):
        again.facet("taste")


def test_tails_go_through_matrices_of_their_own(split_bundle: Bundle):
    head, tail = split_bundle.vectors[8], split_bundle.vectors[2]
    own, its = split_bundle.projections[0], split_bundle.tail_projections[0]
    apart = own @ head + split_bundle.translations[0] - its @ tail
    found = split_bundle.score_tails(0, head[None], np.array([2]))
    assert found.item() == pytest.approx(-(apart @ apart) + split_bundle.bias[2], rel=1e-4)


def test_sealing_the_same_twice_gives_the_same_digest(
    store: ArtifactStore, bundle: Bundle, arrays: BundleArrays
):
    again = seal_bundle(store, "0" * 64, arrays, dials={"dim": 4}, metrics={"loss": 1.5})
    assert again.digest == bundle.digest


@pytest.mark.parametrize("name", ["arrays.safetensors", "entities.parquet"])
def test_a_damaged_file_is_refused(store: ArtifactStore, bundle: Bundle, name: str):
    file = bundle.artifact.file(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactDamaged, match=name):
        open_bundle(store, bundle.digest)


def test_another_format_is_refused_by_name(store: ArtifactStore):
    with store.draft() as folder:
        artifact = store.seal(folder, Recipe(kind="bundle", payload={"bundle_format": 99}))
    with pytest.raises(ArtifactFormat, match="bundle_format 99"):
        open_bundle(store, artifact.digest)


def test_rows_are_found_by_type_and_id(bundle: Bundle):
    np.testing.assert_array_equal(bundle.rows("film", ["f6", "u0", "f0", "f6"]), [6, -1, 0, 6])
    np.testing.assert_array_equal(bundle.rows("user", ["u0", "u4"]), [7, 11])
    np.testing.assert_array_equal(bundle.rows("nothing", ["u0"]), [-1])
    assert bundle.rows("user", []).shape == (0,)
    with pytest.raises(UnknownType, match="nothing"):
        bundle.prior("nothing")
    with pytest.raises(UnknownRelation, match="buy"):
        bundle.relation_index("buy")


def test_scores_equal_the_formula_written_out(bundle: Bundle, arrays: BundleArrays):
    heads, tails = arrays.vectors[7:10], np.array([4, 0, 6])
    for relation in range(4):
        matrix, shift = arrays.projections[relation], arrays.translations[relation]
        expected = np.empty((3, 3))
        for i, head in enumerate(heads):
            for j, tail in enumerate(tails):
                apart = matrix @ head + shift - matrix @ arrays.vectors[tail]
                expected[i, j] = -(apart @ apart) + arrays.bias[tail]
        found = bundle.score_tails(relation, heads, tails)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_two_trainings_do_not_share_a_frame(
    store: ArtifactStore, bundle: Bundle, arrays: BundleArrays
):
    moved = dataclasses.replace(arrays, vectors=arrays.vectors + np.float32(1e-3))
    other = seal_bundle(store, "0" * 64, moved, dials={"dim": 4}, metrics={})
    same = seal_bundle(store, "1" * 64, arrays, dials={"dim": 4}, metrics={})
    assert other.frame != bundle.frame
    assert same.frame == bundle.frame


@pytest.mark.parametrize("frame", [None, "7" * 64])
def test_a_facet_that_comes_or_goes_leaves_the_frame_as_it_is(
    store: ArtifactStore, arrays: BundleArrays, frame: str | None
):
    """Rankers read the vectors of all relations, which are the same in both."""
    facet = FacetArrays(
        **{field.name: getattr(arrays, field.name) for field in dataclasses.fields(FacetArrays)}
    )
    held = dataclasses.replace(arrays, frame=frame)
    alone = seal_bundle(store, "0" * 64, held, dials={}, metrics={})
    both = dataclasses.replace(held, facets={"clicks": facet})
    beside = seal_bundle(store, "0" * 64, both, dials={}, metrics={})
    assert list(beside.facets) == ["all", "clicks"]
    assert beside.frame == alone.frame
    assert frame in (None, alone.frame)


def test_the_bias_of_a_cold_tail_is_that_of_its_type_and_degree(
    split_bundle: Bundle, arrays: BundleArrays, monkeypatch: pytest.MonkeyPatch
):
    """Degrees of the seven films are 1, 1, 4, 3, 3, 2, 2; ties of the farthest one all count."""
    monkeypatch.setattr("kge.cold_bias._ALIKE", 2)
    bias = arrays.bias
    found = split_bundle.cold_bias("film", np.array([2, 50, 0]))
    expected = [bias[5:7].mean(), bias[[2, 3, 4]].mean(), bias[:2].mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Those of the facet are one less, and its biases the negative ones.
    found = split_bundle.cold_bias("film", np.array([2]), facet="clicks")
    np.testing.assert_allclose(found, [-bias[3:5].mean()], rtol=1e-5)
    with pytest.raises(UnknownType):
        split_bundle.cold_bias("ghost", np.array([2]))
    with pytest.raises(UnknownFacet):
        split_bundle.cold_bias("film", np.array([2]), facet="ghost")


def test_side_priors_are_held_where_training_gave_them(
    store: ArtifactStore, bundle: Bundle, arrays: BundleArrays
):
    assert bundle.side_priors is None
    sides = np.arange(16, dtype=np.float32).reshape(4, 4)
    told = dataclasses.replace(arrays, side_priors=sides)
    sealed = seal_bundle(store, "0" * 64, told, dials={}, metrics={})
    np.testing.assert_array_equal(open_bundle(store, sealed.digest).side_priors, sides)
    short = dataclasses.replace(arrays, side_priors=sides[:3])
    with pytest.raises(ShapeMismatch, match="side_priors should have shape"):
        seal_bundle(store, "0" * 64, short, dials={}, metrics={})


def test_arrays_that_do_not_fit_are_refused(store: ArtifactStore, arrays: BundleArrays):
    short = dataclasses.replace(arrays, bias=arrays.bias[:-1])
    with pytest.raises(ShapeMismatch, match="bias"):
        seal_bundle(store, "0" * 64, short, dials={}, metrics={})
    inside = dataclasses.replace(arrays, facets={"clicks": short})
    with pytest.raises(ShapeMismatch, match=r"clicks\.bias"):
        seal_bundle(store, "0" * 64, inside, dials={}, metrics={})


def test_serving_doors_leave_torch_and_pykeen_out():
    code = (
        "import sys, kge.bundle, kge.foldin, kge.index; print({'torch', 'pykeen'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "set()", "")
