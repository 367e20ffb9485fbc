"""Points on a plane: forces against their formulas, and that neighbors stay near."""

import numpy as np
import pytest

from kge import layout
from kge.layout import PERPLEXITY, Field, Pairs, drawn, lay_out, pairs_of, principal, shares
from kge.map import preserved
from kge.parts import directions


def groups(count: int, of: int, dim: int = 16, seed: int = 1) -> np.ndarray:
    """Unit vectors in `of` groups, the first `count // of` rows of the first group."""
    draw = np.random.default_rng(seed)
    middles = draw.normal(size=(of, dim))
    near = middles[np.arange(count) * of // count] + 0.25 * draw.normal(size=(count, dim))
    return directions(near.astype(np.float32))


def plane(count: int = 300, wide: float = 8.0) -> np.ndarray:
    return (wide * np.random.default_rng(2).normal(size=(2, count))).astype(np.float32)


def test_points_are_drawn_as_the_formula_says():
    places = plane(4)
    pairs = Pairs(
        np.array([0, 0, 1, 2], np.int32),
        np.array([1, 2, 0, 0], np.int32),
        np.array([0.1, 0.4, 0.1, 0.4], np.float32),
    )
    expected = np.zeros((2, 4))
    for one, other, weight in zip(*pairs, strict=True):
        apart = places[:, other] - places[:, one]
        expected[:, one] += weight * apart / (1 + (apart**2).sum())
    np.testing.assert_allclose(drawn(places, pairs), expected, rtol=1e-5)


@pytest.mark.parametrize(("wide", "share"), [(0.01, 1e-5), (1.0, 1e-3), (8.0, 0.05), (30.0, 0.25)])
def test_points_are_pushed_nearly_as_all_pairs_would(wide: float, share: float):
    places = plane(wide=wide)
    apart = places[:, :, None] - places[:, None, :]
    kernel = 1 / (1 + (apart**2).sum(axis=0))
    np.fill_diagonal(kernel, 0)
    expected = (apart * kernel**2).sum(axis=2) / kernel.sum()
    found = Field().pushed(places)
    off = np.linalg.norm(found - expected, axis=0)
    size = np.linalg.norm(expected, axis=0)
    assert np.median(off / size) < share
    assert off.max() < 2 * share * size.max()


def test_shares_have_the_perplexity_that_is_asked_for():
    apart = np.random.default_rng(3).random((5, 30)).astype(np.float32) ** 2
    apart[4, 2:] = np.inf
    found = shares(apart).astype(np.float64)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    perplexity = np.exp(-(found * np.log(np.maximum(found, 1e-30))).sum(axis=1))
    np.testing.assert_allclose(perplexity[:4], PERPLEXITY, rtol=1e-3)
    assert (found[4, 2:] == 0).all()
    assert (np.diff(found[0][np.argsort(apart[0])]) <= 0).all(), "who is nearer draws more"


def test_a_pair_draws_both_ways_alike():
    units = groups(40, 4)
    near = np.argsort(-(units @ units.T), axis=1)[:, :8]
    pairs = pairs_of(units, near)
    weights = np.zeros((40, 40))
    weights[pairs.one, pairs.other] = pairs.weight
    np.testing.assert_allclose(weights, weights.T)
    assert weights.sum() == pytest.approx(1, rel=1e-5)
    assert (weights.diagonal() == 0).all()


def test_principal_components_are_those_of_a_singular_value_decomposition():
    units = groups(200, 5)
    centered = units - units.mean(axis=0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    expected = left[:, :2] * values[:2]
    found = principal(units)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    assert ((found.astype(np.float64) ** 3).sum(axis=0) >= 0).all(), "and not mirrored by chance"


def test_groups_stay_together_where_principal_components_mix_them():
    units = groups(600, 12)
    found, flat = preserved(units, lay_out(units, 1000)), preserved(units, principal(units))
    assert found["neighbors_kept@10"] > 1.5 * flat["neighbors_kept@10"]
    assert found["trustworthiness@10"] > 0.97
    assert flat["trustworthiness@10"] < 0.95


def test_of_many_a_sample_is_laid_out_and_the_others_lie_beside_it():
    units = groups(3000, 12)
    found = lay_out(units, 1000)
    assert np.isfinite(found).all()
    kept = preserved(units, found)
    assert kept["trustworthiness@10"] > 0.94
    assert kept["neighbors_kept@10"] > 2 * preserved(units, principal(units))["neighbors_kept@10"]


def test_the_same_vectors_give_the_same_places():
    units = groups(500, 5)
    np.testing.assert_array_equal(lay_out(units, 1000), lay_out(units.copy(), 1000))
    assert not np.array_equal(lay_out(units, 1000), lay_out(units[::-1], 1000))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 40])
def test_few_points_and_equal_ones_have_places_too(count: int):
    assert np.isfinite(
        lay_out(groups(count, 2) if count else np.zeros((0, 8), np.float32), 10)
    ).all()
    same = np.repeat(groups(1, 1), count, axis=0)
    assert lay_out(same, 1000).shape == (count, 2)
    assert np.isfinite(lay_out(same, 1000)).all()


def test_somebody_who_is_near_to_all_does_not_fly_away():
    draw = np.random.default_rng(5)
    around = draw.normal(size=(800, 64)).astype(np.float32)
    units = directions(np.concatenate([around + 1.5, np.ones((1, 64), np.float32)]))
    places = lay_out(units, 1000)
    far = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    assert far.max() < 5 * np.median(far)


def test_it_tells_how_far_it_is():
    told = []
    lay_out(groups(60, 3), 1000, lambda done, of: told.append((done, of)))
    rounds = layout._EARLY_ROUNDS + layout._LATE_ROUNDS
    assert told == [(done, rounds) for done in range(1, rounds + 1)]
