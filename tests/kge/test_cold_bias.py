import numpy as np
import pytest

from kge.cold_bias import _ALIKE, cold_bias


def slow_twin(bias: np.ndarray, degree: np.ndarray, asked: int) -> float:
    """Every row that is as near as the 100th nearest, counted in doublings."""
    if asked < degree.min():
        return float(bias[degree == degree.min()].mean())
    apart = [abs(np.log2((1 + own) / (1 + asked))) for own in degree.tolist()]
    farthest = sorted(apart)[min(_ALIKE, len(apart)) - 1]
    return float(np.mean([b for b, a in zip(bias, apart, strict=True) if a <= farthest]))


def test_it_is_the_mean_of_the_rows_whose_degree_is_next():
    draw = np.random.default_rng(2)
    degree = (draw.pareto(1.0, 3000) * 3).astype(np.int32)
    bias = np.log1p(degree).astype(np.float32) + draw.normal(size=3000).astype(np.float32)
    asked = np.array([7, 0, 1, 50, 7, 10_000, 2])
    told = cold_bias(bias, degree)
    found = told.of(asked)
    expected = [slow_twin(bias, degree, n) for n in asked.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(told.of(asked), found)
    assert found[3] > found[2] + 1.0, "fifty edges are not one"


def test_of_few_rows_it_is_the_mean_of_all():
    few = cold_bias(np.array([1.0, 2.0, 6.0], np.float32), np.array([1, 9, 90], np.int32))
    assert few.of(np.array([1, 9, 500])).tolist() == pytest.approx([3.0, 3.0, 3.0])


def test_who_has_fewer_edges_than_any_is_like_those_with_the_fewest():
    """Of 200 rows 5 have one edge; a mean over the 100 nearest would be far above them."""
    degree = np.array([1] * 5 + [20] * 195, np.int32)
    bias = np.array([-4.0, -2.0, -3.0, -3.0, -3.0] + [5.0] * 195, np.float32)
    told = cold_bias(bias, degree)
    assert told.of(np.array([0, 1])).tolist() == pytest.approx([-3.0, (5 * -3 + 195 * 5) / 200])


def test_without_rows_it_is_nothing_and_nobody_gets_nothing():
    nobody = cold_bias(np.empty(0, np.float32), np.empty(0, np.int32))
    assert nobody.of(np.array([3, 0])).tolist() == [0.0, 0.0]
    assert nobody.of(np.empty(0, np.int64)).shape == (0,)
