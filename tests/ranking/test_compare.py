"""The gate's verdict, against figures that a human can redo and against slow twins."""

import json
import math

import numpy as np
import pytest

from ranking.compare import Judged, compare, together
from ranking.errors import StatesMismatch
from ranking.gating import GateConfig
from ranking.intervals import user_weights

LN = math.log


def pairs(users, *kinds):
    """Each user has a row with the outcome and one without; kinds are (users, p of the one, p)."""
    judged = Judged(
        np.tile(np.array([1, 0], dtype=np.int8), users),
        np.repeat(np.arange(users, dtype=np.int32), 2),
    )
    scores = np.concatenate([np.tile([one, zero], count) for count, one, zero in kinds])
    return judged, scores.astype(np.float64)


def judge(judged, candidate, champion, slices=None, **dials):
    return compare(judged, candidate, champion, slices=slices or {}, dials=GateConfig(**dials))


def by_metric(verdict):
    return {gain.metric: gain for gain in verdict.metrics}


def test_a_planted_loss_is_refused_with_figures_by_hand():
    """60 users alike: the champion knows, the candidate says .5 of everything."""
    judged, champion = pairs(60, (60, 0.9, 0.1))
    verdict = judge(judged, np.full(120, 0.5), champion)
    assert (verdict.decision, verdict.rows, verdict.users, verdict.outcomes) == (
        "refused",
        120,
        60,
        60,
    )
    auc, loss = by_metric(verdict)["auc"], by_metric(verdict)["logloss"]
    assert (auc.candidate, auc.champion, auc.gain, auc.lo, auc.hi) == (0.5, 1.0, -0.5, -0.5, -0.5)
    assert (auc.margin, auc.finding) == (0.005, "loss")
    assert loss.gain == pytest.approx(LN(0.5) - LN(0.9))
    assert loss.margin == pytest.approx(-0.01 * LN(0.9)), "one percent of the champion's"
    assert loss.finding == "loss"
    assert "auc gains -0.5000 [-0.5000, -0.5000], where 0.0050 may be lost" in verdict.reason


def test_every_head_has_to_pass():
    judged, knows = pairs(60, (60, 0.9, 0.1))
    half = np.full(120, 0.5)
    better, worse = judge(judged, knows, half), judge(judged, half, knows)
    few = judge(judged, knows, half, least_users=61)
    assert together({"ctr": better}) == ("passed", better.reason)
    assert together({"ctr": better, "cvr": better})[0] == "passed"
    assert together({"ctr": better, "cvr": worse})[0] == "refused"
    assert together({"ctr": few, "cvr": worse})[0] == "refused", "a loss is a loss"
    decision, reason = together({"ctr": better, "cvr": few})
    assert decision == "not decided"
    assert reason.startswith("ctr: no loss beyond the margins: ")
    assert reason.endswith("cvr: there is too little: 60 users, and at least 61 are needed")


def test_the_other_way_round_it_passes():
    judged, knows = pairs(60, (60, 0.9, 0.1))
    verdict = judge(judged, knows, np.full(120, 0.5))
    assert verdict.decision == "passed"
    assert by_metric(verdict)["auc"].gain == 0.5
    assert by_metric(verdict)["ece"].gain == pytest.approx(-0.1), "told, and without a say"
    assert by_metric(verdict)["ece"].finding is None


def test_an_equal_passes_within_a_margin_and_not_without_one():
    judged, scores = pairs(60, (60, 0.7, 0.4))
    assert judge(judged, scores, scores.copy()).decision == "passed"
    for dial in ("auc_margin", "logloss_margin"):
        assert judge(judged, scores, scores.copy(), **{dial: 0.0}).decision == "not decided"


def test_what_may_be_a_loss_or_none_is_not_decided():
    """Half of the users gain ln(.8/.6) = .288 nats, half lose as much: 0 give or take .07."""
    judged, candidate = pairs(60, (30, 0.8, 0.2), (30, 0.6, 0.4))
    _, champion = pairs(60, (30, 0.6, 0.4), (30, 0.8, 0.2))
    verdict = judge(judged, candidate, champion)
    assert verdict.decision == "not decided"
    auc, loss = by_metric(verdict)["auc"], by_metric(verdict)["logloss"]
    assert (auc.gain, auc.finding) == (0.0, "no loss"), "every one is above every zero"
    assert loss.gain == pytest.approx(0.0, abs=1e-12)
    # The deviation of a mean of 60 users who say +-.288 is .288 / sqrt(60) = .037.
    assert loss.lo == pytest.approx(-1.96 * 0.0371, abs=0.012)
    assert loss.hi == pytest.approx(1.96 * 0.0371, abs=0.012)
    assert loss.finding == "open"
    assert "more rows would tell" in verdict.reason


def test_it_says_how_many_users_would_do_and_so_many_do():
    """0 give or take .073 nats of 60 users, where .037 may be lost: 60 (.073 / .037)^2 users."""

    def of(users):
        judged, candidate = pairs(users, (users // 2, 0.8, 0.2), (users // 2, 0.6, 0.4))
        _, champion = pairs(users, (users // 2, 0.6, 0.4), (users // 2, 0.8, 0.2))
        return judge(judged, candidate, champion, logloss_margin=0.1)

    few = of(60)
    loss = by_metric(few)["logloss"]
    assert loss.finding == "open"
    assert loss.users_needed == pytest.approx(60 * (loss.lo / loss.margin) ** 2, abs=2)
    assert by_metric(few)["auc"].users_needed is None, "it is decided"
    assert few.reason.endswith(f" of some {loss.users_needed:,} users like the 60 there are")
    assert 120 < loss.users_needed < 360
    assert of(120).decision == "not decided"
    assert of(360).decision == "passed"


def test_no_number_of_users_excludes_what_is_lost_on_the_mean():
    """30 users gain .3 nats and 30 lose .4: -.05 give or take .09, where .007 may be lost."""
    better, worse = 0.5 * math.exp(0.3), 0.5 * math.exp(-0.4)
    judged, candidate = pairs(60, (30, better, 1 - better), (30, worse, 1 - worse))
    verdict = judge(judged, candidate, np.full(120, 0.5))
    loss = by_metric(verdict)["logloss"]
    assert loss.gain == pytest.approx(-0.05)
    assert (loss.finding, loss.users_needed) == ("open", None)
    assert verdict.reason.endswith("more rows would tell")


@pytest.mark.parametrize(
    ("users", "dials", "says"),
    [
        (49, {}, "49 users, and at least 50 are needed"),
        (0, {}, "0 users, and at least 50 are needed"),
        (
            60,
            {"least_outcomes": 61},
            "60 rows with the outcome and 60 without it, and at least 61 of each are needed",
        ),
    ],
)
def test_too_little_is_not_decided_however_clear_it_looks(users, dials, says):
    judged, knows = pairs(users, (users, 0.9, 0.1))
    verdict = judge(judged, knows, np.full(2 * users, 0.5), **dials)
    assert (verdict.decision, verdict.metrics, verdict.slices) == ("not decided", (), ())
    assert verdict.reason == f"there is too little: {says}"


def slow_auc(scores, labels):
    ones, zeros = scores[labels == 1], scores[labels == 0]
    return np.mean([(a > b) + (a == b) / 2 for a in ones for b in zeros])


def slow_loss(scores, labels):
    return np.mean([-LN(p if y else 1 - p) for p, y in zip(scores, labels, strict=True)])


def test_every_figure_equals_repeating_the_rows_of_the_users_drawn():
    rng = np.random.default_rng(3)
    users, each = 9, 4
    judged = Judged(
        np.tile(np.array([1, 0, 0, 1], dtype=np.int8), users),
        np.repeat(np.arange(users, dtype=np.int32) * 5, each),
    )
    candidate, champion = (np.round(rng.uniform(0.05, 0.95, users * each), 2) for _ in range(2))
    verdict = judge(
        judged, candidate, champion, least_users=2, least_outcomes=1, resamples=100, seed=8
    )
    draws = {"auc": [], "logloss": []}
    for drawn in user_weights(users, 100, np.random.default_rng(8)):
        rows = np.concatenate(
            [
                np.arange(user * each, (user + 1) * each)
                for user in range(users)
                for _ in range(int(drawn[user]))
            ]
        )
        a, b, y = candidate[rows], champion[rows], judged.labels[rows]
        draws["auc"].append(slow_auc(a, y) - slow_auc(b, y))
        draws["logloss"].append(slow_loss(b, y) - slow_loss(a, y))
    for metric, gains in draws.items():
        found = by_metric(verdict)[metric]
        assert found.gain == pytest.approx(gains[0], abs=1e-12)
        assert (found.lo, found.hi) == pytest.approx(
            tuple(np.quantile(gains[1:], [0.025, 0.975])), abs=1e-12
        )


def test_more_rows_of_the_same_users_are_no_more_evidence():
    judged, candidate = pairs(60, (30, 0.8, 0.2), (30, 0.6, 0.4))
    _, champion = pairs(60, (30, 0.6, 0.4), (30, 0.8, 0.2))
    tripled = Judged(np.tile(judged.labels, 3), np.tile(judged.cluster, 3))
    once = by_metric(judge(judged, candidate, champion))["logloss"]
    thrice = by_metric(judge(tripled, np.tile(candidate, 3), np.tile(champion, 3)))["logloss"]
    assert (thrice.lo, thrice.hi) == pytest.approx((once.lo, once.hi), abs=1e-12)


@pytest.fixture
def mixed():
    """240 users gain ln(.9/.6), 60 lose ln(.8/.6): .267 nats are gained in all."""
    judged, candidate = pairs(300, (240, 0.9, 0.1), (60, 0.6, 0.4))
    _, champion = pairs(300, (240, 0.6, 0.4), (60, 0.8, 0.2))
    return judged, candidate, champion, {"losers": judged.cluster >= 240}


def test_a_slice_that_loses_vetoes(mixed):
    judged, candidate, champion, slices = mixed
    assert judge(judged, candidate, champion).decision == "passed"
    verdict = judge(judged, candidate, champion, slices)
    assert verdict.decision == "refused"
    says = "a loss is detected in slices: losers, logloss gains -0.2877 [-0.2877, -0.2877]"
    assert verdict.reason == says
    auc, loss = verdict.slices
    assert (auc.slice, auc.metric, auc.rows, auc.users, auc.outcomes) == (
        "losers",
        "auc",
        120,
        60,
        60,
    )
    assert (auc.gain, auc.p, auc.finding) == (0.0, 1.0, "no loss")
    assert loss.finding == "loss"
    assert loss.adjusted == pytest.approx(0.0, abs=1e-12), "all 60 lose the same"


def test_what_a_slice_may_lose_is_a_dial(mixed):
    # Its margin is one percent of -ln .8 = .223 nats; it loses .288 nats, 129 margins.
    assert judge(*mixed, slice_margin_share=128.0).decision == "refused"
    assert judge(*mixed, slice_margin_share=130.0).decision == "passed"
    assert judge(*mixed, slice_level=0.0).decision == "passed"


def test_a_slice_with_too_little_has_no_say(mixed):
    judged, candidate, champion, _ = mixed
    few = {"few": judged.cluster >= 251}
    verdict = judge(judged, candidate, champion, few)
    assert verdict.decision == "passed"
    assert [(gain.finding, gain.users, gain.p) for gain in verdict.slices] == [
        ("too little", 49, None)
    ] * 2


def noisy(rng, users=60, each=4):
    """Two models that are equally good: neither noise says anything."""
    labels = np.tile(np.array([1, 0], dtype=np.int8), users * each // 2)
    judged = Judged(labels, np.repeat(np.arange(users, dtype=np.int32), each))
    truth = np.where(labels == 1, 0.6, -0.6)
    scores = [
        1 / (1 + np.exp(-(truth + rng.normal(scale=0.8, size=len(labels))))) for _ in range(2)
    ]
    return judged, *scores


def quarters(judged):
    users = judged.cluster
    return {f"quarter={n}": users % 4 == n for n in range(4)}


def test_slices_are_one_family_of_tests():
    judged, candidate, champion = noisy(np.random.default_rng(0))
    few = {"few": judged.cluster < 3}
    verdict = judge(
        *(judged, candidate, champion, quarters(judged) | few),
        least_users=10,
        least_outcomes=5,
        resamples=200,
    )
    tested = [gain for gain in verdict.slices if gain.finding != "too little"]
    assert len(tested) == 8, "four slices by two metrics; the small one is no test"
    ordered = sorted(tested, key=lambda gain: gain.p)
    least = 0.0
    for place, gain in enumerate(ordered):
        least = max(least, min(1.0, (8 - place) * gain.p))
        assert gain.adjusted == pytest.approx(least)


@pytest.mark.slow
def test_where_nothing_is_lost_a_veto_is_as_rare_as_it_should_be():
    """Of 200 worlds without a loss some 10 may be vetoed; without Holm it would be some 50."""
    rng = np.random.default_rng(1)
    worlds, vetoed, alone = 200, 0, 0
    for _ in range(worlds):
        judged, candidate, champion = noisy(rng)
        dials = {"least_users": 10, "least_outcomes": 5, "resamples": 200}
        verdict = judge(judged, candidate, champion, quarters(judged), **dials)
        vetoed += any(gain.finding == "loss" for gain in verdict.slices)
        alone += any(gain.p < 0.05 for gain in verdict.slices)
    assert vetoed <= 24
    assert alone > vetoed


def losing(rng, lost, users=60):
    """Candidates whose users lose `lost` nats on average, give or take .02; the order is right."""
    judged, champion = pairs(users, (users, 0.7, 0.3))
    nats = -LN(0.7) + np.repeat(lost + rng.normal(scale=0.02, size=users), 2)
    right = np.exp(-nats)
    return judged, np.where(judged.labels == 1, right, 1 - right), champion


@pytest.mark.slow
def test_what_loses_the_margin_seldom_passes():
    """One in forty may: 10 of 400. What loses nothing passes where the interval is narrower."""
    rng = np.random.default_rng(2)
    margin = 0.05 * -LN(0.7)  # .0178 nats, and the deviation of a mean is .02 / sqrt 60 = .0026
    passed = [
        sum(
            judge(*losing(rng, lost), logloss_margin=0.05, resamples=200).decision == "passed"
            for _ in range(400)
        )
        for lost in (margin, 0.0)
    ]
    assert passed[0] <= 24
    assert passed[1] >= 396


def test_a_verdict_is_json_also_where_a_metric_is_not_defined():
    """Users with one label each: there is no AUC within a user."""
    labels = np.repeat(np.array([1, 0], dtype=np.int8), 60)
    judged = Judged(labels, np.arange(120, dtype=np.int32))
    scores = np.where(labels == 1, 0.7, 0.3)
    told = judge(judged, scores, scores.copy(), {"half": judged.cluster % 2 == 0}).as_json()
    assert json.loads(json.dumps(told, allow_nan=False))["decision"] == "passed"
    gauc = next(gain for gain in told["metrics"] if gain["metric"] == "gauc")
    assert (gauc["gain"], gauc["finding"]) == (None, None)


def test_columns_of_another_length_are_refused():
    judged, _ = pairs(60, (60, 0.9, 0.1))
    with pytest.raises(StatesMismatch, match=r"candidate should have shape \(120,\), received"):
        judge(judged, np.full(7, 0.5), np.full(7, 0.5))
