"""FairSmoothClassifier: scikit-learn's own checks, fairlearn's frame, and what it promises."""

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ranking.errors import ConfigError, GroupTooSmall
from ranking.fairsmooth.certificates import rates, within
from ranking.fairsmooth.estimator import FairSmoothClassifier
from ranking.fairsmooth.smoothing import tau


@parametrize_with_checks([FairSmoothClassifier()])
def test_it_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def people(count=1200, seed=0):
    """Two groups with different rates; what counts for a is the first number, for b the second."""
    draw = np.random.default_rng(seed)
    group = np.where(draw.random(count) < 0.4, "a", "b")
    x = draw.normal(size=(count, 3))
    logit = np.where(group == "a", 2 * x[:, 0] - 1, 2 * x[:, 1] + x[:, 0])
    return x, (draw.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64), group


@pytest.fixture(scope="module", params=["sigmoid", "step"])
def fitted(request):
    x, y, group = people()
    return FairSmoothClassifier(proximity=0.05, link=request.param).fit(
        x, y, sensitive_features=group
    )


def test_little_noise_and_one_group_is_a_logistic_regression():
    """Both are all but free of a penalty."""
    x, y, _ = people()
    ours = FairSmoothClassifier(scale=1e-4, ridge=1e-6).fit(x, y)
    theirs = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=0.01)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=0.01)


def test_every_score_is_as_near_to_each_groups_own_as_is_promised(fitted):
    x, y, _ = people(seed=1)
    shifted = x * 3 + np.array([1.0, -2.0, 0.5])
    served = fitted.predict_proba(shifted)[:, 1]
    for name, distance in fitted.fitted_.distances.items():
        assert distance > 0.01
        own = fitted.own_proba(shifted, name)[:, 1]
        assert np.abs(served - own).max() <= float(tau(distance, fitted.scale)) + 1e-12
        labels = y.astype(np.int64)
        theirs, mine = rates(served, labels), rates(own, labels)
        for metric, value in theirs.items():
            lo, hi = within(mine[metric], distance, fitted.scale, error=1e-12)
            assert lo <= value <= hi


def test_a_certificate_holds_on_rows_like_those_it_was_measured_on(fitted):
    x, y, group = people(seed=2)
    told = fitted.certify(x, y, sensitive_features=group)
    assert set(told["groups"]) == {"a", "b"}
    assert told["draws"] == 0
    assert told["smoothed_weights"] == 4
    x, y, group = people(count=20_000, seed=3)
    served = fitted.predict_proba(x)[:, 1]
    for name, one in told["groups"].items():
        own = group == name
        for metric, value in rates(served[own], y[own]).items():
            lo, hi = one["rates"][metric]["all"]
            assert lo <= value <= hi


def test_decisions_are_drawn_by_their_chance(fitted):
    x, _, _ = people(seed=4)
    many = np.repeat(x[:1], 4000, axis=0)
    chance = fitted.predict_proba(x[:1])[0, 1]
    share = (fitted.decide(many, seed=7) == 1).mean()
    assert abs(share - chance) < 4.5 * (chance * (1 - chance) / 4000) ** 0.5
    assert (fitted.decide(x, seed=7) == fitted.decide(x, seed=7)).all()
    assert len(np.unique(fitted.predict(many))) == 1


def test_beside_others_in_fairlearns_frame(fitted):
    x, y, group = people(seed=5)
    frame = MetricFrame(
        metrics={"accuracy": accuracy_score, "selected": selection_rate},
        y_true=y,
        y_pred=fitted.decide(x),
        sensitive_features=group,
    )
    assert set(frame.by_group.index) == {"a", "b"}
    assert frame.overall["accuracy"] > 0.6
    decided = fitted.decide(x)
    assert frame.by_group.loc["a", "selected"] == pytest.approx(decided[group == "a"].mean())


def test_in_a_pipeline_behind_a_scaler():
    x, y, group = people()
    pipeline = make_pipeline(StandardScaler(), FairSmoothClassifier())
    pipeline.fit(x * 1000, y, fairsmoothclassifier__sensitive_features=group)
    assert pipeline.score(x * 1000, y) > 0.7


def test_classes_of_any_name():
    x, y, group = people()
    words = np.where(y == 1, "yes", "no")
    found = FairSmoothClassifier().fit(x, words, sensitive_features=group.tolist())
    assert found.classes_.tolist() == ["no", "yes"]
    assert set(found.predict(x)) == {"no", "yes"}
    same = FairSmoothClassifier().fit(x, y, sensitive_features=group)
    np.testing.assert_allclose(found.predict_proba(x), same.predict_proba(x))


def test_who_is_missing_or_too_few_is_said_with_numbers(fitted):
    x, y, group = people()
    with pytest.raises(GroupTooSmall, match="at least 2, received 1: b"):
        FairSmoothClassifier().fit(
            x[group == "b"], y[group == "b"], sensitive_features=group[group == "b"]
        )
    few = np.where(np.arange(1200) < 20, "c", group)
    with pytest.raises(GroupTooSmall, match=r"'c' should have at least 50 rows.* received 20 rows"):
        FairSmoothClassifier().fit(x, y, sensitive_features=few)
    with pytest.raises(GroupTooSmall, match=r"groups should be a, b, .* received a"):
        fitted.certify(x[group == "a"], y[group == "a"], sensitive_features=group[group == "a"])
    with pytest.raises(GroupTooSmall, match="group should be one of a, b, received 'c'"):
        fitted.own_proba(x, "c")


def test_what_does_not_fit_is_refused():
    x, y, group = people()
    with pytest.raises(ValueError, match="one column of 1200 rows, received 3 values"):
        FairSmoothClassifier().fit(x, y, sensitive_features=group[:3])
    with pytest.raises(ConfigError, match="scale should be above 0"):
        FairSmoothClassifier(scale=0.0).fit(x, y)
    with pytest.raises(ValueError, match="one class"):
        FairSmoothClassifier().fit(x, np.ones(1200))
