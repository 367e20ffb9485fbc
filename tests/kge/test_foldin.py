from dataclasses import replace

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import FoldInConfig
from kge.errors import ConfigError, ShapeMismatch, UnknownType
from kge.foldin import FoldIn, FoldInEdges, History, Queries, _sums, foldin_as_of

FREE = FoldInConfig(prior_edges=2.0, max_norm_ratio=100.0)


def edges_of(*rows: tuple[int, int, int, bool, float]) -> FoldInEdges:
    owner, relation, other, inverse, weight = zip(*rows, strict=True) if rows else [()] * 5
    return FoldInEdges(
        np.array(owner, np.int32),
        np.array(relation, np.int16),
        np.array(other, np.int32),
        np.array(inverse, bool),
        np.array(weight, np.float32),
    )


def equations(bundle: Bundle, edges: FoldInEdges, owner: int):
    """Every edge as its two systems `matrix x = target`, with its weight."""
    count = len(bundle.relations)
    for who, relation, other, inverse, weight in zip(*edges, strict=True):
        if who != owner:
            continue
        for index, is_tail in ((relation, inverse), (relation + count, not inverse)):
            own, its = bundle.projections[index], bundle.tail_projections[index]
            if is_tail:
                own, its = its, own
            shift = bundle.translations[index]
            target = its @ bundle.vectors[other] + (shift if is_tail else -shift)
            yield own.astype(float), target.astype(float), float(weight)


def slow_twin(bundle: Bundle, kind: str, edges: FoldInEdges, owner: int, prior_edges: float):
    """The ridge problem stacked as one least-squares problem."""
    parts = list(equations(bundle, edges, owner))
    if not parts:
        return bundle.prior(kind)
    ridge = prior_edges * sum(w * np.trace(m.T @ m) / bundle.dim for m, _, w in parts)
    ridge /= len(parts) / 2
    left = [np.sqrt(w) * m for m, _, w in parts] + [np.sqrt(ridge) * np.eye(bundle.dim)]
    right = [np.sqrt(w) * t for _, t, w in parts] + [np.sqrt(ridge) * bundle.prior(kind)]
    return np.linalg.lstsq(np.vstack(left), np.concatenate(right), rcond=None)[0]


MIXED = edges_of(
    (0, 0, 3, False, 1.0),
    (0, 0, 5, False, 2.5),
    (2, 1, 1, True, 1.0),
    (2, 1, 4, False, 0.5),
    (2, 0, 9, True, 3.0),
)


@pytest.mark.parametrize("kind", ["user", "film"])
@pytest.mark.parametrize("matrices", ["bundle", "split_bundle"])
def test_vectors_equal_least_squares(request: pytest.FixtureRequest, matrices: str, kind: str):
    bundle: Bundle = request.getfixturevalue(matrices)
    found = FoldIn(bundle, FREE).solve(kind, 3, MIXED)
    for owner in range(3):
        expected = slow_twin(bundle, kind, MIXED, owner, 2.0)
        np.testing.assert_allclose(found[owner], expected, rtol=1e-4, atol=1e-5)


def test_one_relation_alone_takes_the_shared_eigenvectors_and_agrees(bundle: Bundle):
    edges = edges_of((0, 0, 3, False, 1.0), (1, 0, 5, False, 2.5), (1, 0, 2, False, 1.0))
    found = FoldIn(bundle, FREE).solve("user", 3, edges)
    for owner in range(3):
        expected = slow_twin(bundle, "user", edges, owner, 2.0)
        np.testing.assert_allclose(found[owner], expected, rtol=1e-4, atol=1e-5)


def test_many_entities_over_many_sides_equal_least_squares(split_bundle: Bundle):
    """More entities than one solve takes at a time, each with some edges of any side, or none."""
    draw = np.random.default_rng(5)
    size, count = 600, 150
    edges = FoldInEdges(
        draw.integers(0, count, size).astype(np.int32),
        draw.integers(0, 2, size).astype(np.int16),
        draw.integers(0, 12, size).astype(np.int32),
        draw.random(size) < 0.5,
        draw.random(size).astype(np.float32) + np.float32(0.1),
    )
    found = FoldIn(split_bundle, FREE).solve("film", count, edges)
    expected = [slow_twin(split_bundle, "film", edges, n, 2.0) for n in range(count)]
    apart = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert apart.max() < 1e-5


@pytest.mark.parametrize("numbers", [1, 40, 4 * 600])
def test_in_parts_it_is_the_same(
    split_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, numbers: int
):
    """One edge at a time, ten, or all; somebody has none, and somebody more than a part holds."""
    draw = np.random.default_rng(6)
    size, count = 600, 150
    owner = np.where(draw.random(size) < 0.2, 7, draw.integers(8, count, size)).astype(np.int32)
    edges = FoldInEdges(
        owner,
        draw.integers(0, 2, size).astype(np.int16),
        draw.integers(0, 12, size).astype(np.int32),
        draw.random(size) < 0.5,
        np.ones(size, np.float32),
    )
    whole = FoldIn(split_bundle, FREE).solve("film", count, edges)
    monkeypatch.setattr("kge.foldin.NUMBERS", numbers)
    parts = FoldIn(split_bundle, FREE).solve("film", count, edges)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dense", [0, 10**6])
def test_both_ways_to_sum_the_matrices_agree(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, dense: int
):
    monkeypatch.setattr("kge.foldin._DENSE", dense)
    found = FoldIn(bundle, FREE).solve("user", 3, MIXED)
    for owner in range(3):
        expected = slow_twin(bundle, "user", MIXED, owner, 2.0)
        np.testing.assert_allclose(found[owner], expected, rtol=1e-5, atol=1e-6)


def test_runs_are_summed_alike_whether_short_or_long():
    values = np.arange(120, dtype=np.float64).reshape(40, 3)
    for first in ([0, 2, 3, 9, 15, 16, 25, 39], [0, 20], [0]):
        ends = [*first[1:], 40]
        expected = [values[a:b].sum(axis=0) for a, b in zip(first, ends, strict=True)]
        np.testing.assert_allclose(_sums(values, np.array(first)), expected)


def test_edges_of_no_weight_say_nothing(bundle: Bundle):
    silent = edges_of((0, 0, 3, False, 0.0), (1, 1, 3, True, 1.0))
    found = FoldIn(bundle, FREE).solve("film", 2, silent)
    np.testing.assert_array_equal(found[0], bundle.prior("film"))
    assert not np.allclose(found[1], bundle.prior("film"))


def test_it_leans_on_what_those_with_such_edges_are_like(
    store: ArtifactStore, arrays: BundleArrays
):
    """Two edges of side 0 (clicks, w = 1 and 2) and one of side 3 (the tail of a sequel, w = 1)."""
    sides = np.arange(16, dtype=np.float32).reshape(4, 4) / 8
    told = replace(arrays, side_priors=sides)
    edges = edges_of((0, 0, 3, False, 1.0), (0, 0, 5, False, 2.0), (0, 1, 2, True, 1.0))
    held = FoldInConfig(prior_edges=1e6, max_norm_ratio=100.0)
    for bundle in (told, seal_bundle(store, "0" * 64, told, dials={}, metrics={})):
        found = FoldIn(bundle, held).solve("film", 2, edges)
        np.testing.assert_allclose(found[0], (3 * sides[0] + sides[3]) / 4, rtol=1e-4)
        np.testing.assert_array_equal(found[1], arrays.priors[0])


def test_the_energy_is_flat_at_the_solution(bundle: Bundle):
    edges = edges_of((0, 0, 3, False, 1.0), (0, 1, 2, True, 2.0))
    almost_no_prior = FoldInConfig(prior_edges=1e-9, max_norm_ratio=1e6)
    x = FoldIn(bundle, almost_no_prior).solve("film", 1, edges)[0].astype(float)
    slope = sum(2 * w * m.T @ (m @ x - t) for m, t, w in equations(bundle, edges, 0))
    np.testing.assert_allclose(slope, np.zeros(bundle.dim), atol=2e-4)


def test_without_edges_it_is_the_prior_of_the_type(bundle: Bundle):
    found = FoldIn(bundle, FREE).solve("user", 2, edges_of())
    np.testing.assert_allclose(found, np.tile(bundle.prior("user"), (2, 1)))


def test_vectors_stay_in_the_ball_of_the_trained_ones(bundle: Bundle):
    tight = FoldInConfig(prior_edges=1e-3, max_norm_ratio=0.01)
    found = FoldIn(bundle, tight).solve("user", 3, MIXED)
    start, stop = bundle.types["user"][1:]
    longest = np.linalg.norm(bundle.vectors[start:stop], axis=1).max()
    assert np.linalg.norm(found, axis=1).max() <= 0.01 * longest * 1.001


def test_as_of_sees_only_what_its_own_head_did_strictly_before(bundle: Bundle):
    draw = np.random.default_rng(3)
    size, asked = 60, 40
    history = History(
        draw.integers(100, 106, size),
        draw.integers(-1, 7, size).astype(np.int32),
        draw.integers(0, 12, size),
    )
    queries = Queries(draw.integers(100, 108, asked), draw.integers(-1, 14, asked))
    foldin = FoldIn(bundle, FREE)
    vectors, lengths = foldin_as_of(bundle, foldin, 0, history, queries)
    for n in range(asked):
        before = [
            tail
            for key, tail, time in zip(*history, strict=True)
            if key == queries.key[n] and time < queries.time[n]
        ]
        assert lengths[n] == len(before)
        edges = edges_of(*[(0, 0, tail, False, 1.0) for tail in before if tail >= 0])
        expected = foldin.solve("user", 1, edges)[0]
        np.testing.assert_allclose(vectors[n], expected, rtol=1e-4, atol=1e-5)
    assert (vectors.dtype, lengths.dtype) == (np.float32, np.int32)


def test_as_of_without_history_or_queries(bundle: Bundle):
    foldin = FoldIn(bundle, FREE)
    nothing = History(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64))
    vectors, lengths = foldin_as_of(
        bundle, foldin, 0, nothing, Queries(np.array([4]), np.array([9]))
    )
    np.testing.assert_allclose(vectors[0], bundle.prior("user"))
    assert lengths.tolist() == [0]
    none = Queries(np.empty(0, np.int64), np.empty(0, np.int64))
    assert foldin_as_of(bundle, foldin, 0, nothing, none)[0].shape == (0, bundle.dim)


def test_wrong_input_is_refused_in_a_sentence(bundle: Bundle):
    foldin = FoldIn(bundle, FREE)
    with pytest.raises(ShapeMismatch, match="owner should be from 0 to 0"):
        foldin.solve("user", 1, edges_of((1, 0, 3, False, 1.0)))
    with pytest.raises(ShapeMismatch, match="one length"):
        foldin.solve("user", 3, MIXED._replace(owner=MIXED.owner[:-1]))
    with pytest.raises(UnknownType):
        foldin.solve("ghost", 1, edges_of())
    with pytest.raises(ConfigError, match="prior_edges should be above 0"):
        FoldInConfig(prior_edges=0.0)
