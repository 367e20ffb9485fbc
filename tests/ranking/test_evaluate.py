import numpy as np
import pytest
from loops import finish

from graphsvc.snapshot import Span
from ranking.bundle import ExposureStates
from ranking.config import HeadsConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.errors import StatesMismatch
from ranking.evaluate import answers_of, evaluate_rankers, judge_heads
from ranking.metrics import auc
from ranking.train import train


def known_answer(examples):
    """What a ranker that knows the rule gives: .9 where both lean the same way, else .1."""
    rows = examples.rows[Span.TEST]
    same = [
        int(user[1:]) % 2 == int(film[1:]) % 2
        for user, film in zip(rows.heads.ids, rows.tails.ids, strict=True)
    ]
    return np.where(same, 0.9, 0.1)


def test_every_model_metric_and_difference_once(examples):
    truth = known_answer(examples)
    scores = {"ranker_none": np.full(len(truth), 0.5), "ranker_frozen": truth}
    rows = evaluate_rankers(examples, scores, resamples=200)
    found = {(row.model, row.metric): row for row in rows}
    assert len(found) == len(rows)
    assert {row.split for row in rows} == {"per_user_time/test"}
    perfect = found["ranker_frozen", "auc"]
    assert (perfect.value, perfect.lo, perfect.hi) == (1.0, 1.0, 1.0)
    assert found["ranker_frozen", "logloss"].value == pytest.approx(-np.log(0.9))
    assert found["ranker_frozen", "ece"].value == pytest.approx(0.1)
    assert found["constant", "auc"].value == 0.5
    gap = found["ranker_frozen - ranker_none", "auc"]
    assert (gap.value, gap.lo, gap.hi) == (0.5, 0.5, 0.5)
    for rival in ("item_ctr", "user_item_mean"):
        gap = found[f"ranker_frozen - {rival}", "auc"]
        assert gap.value == pytest.approx(1.0 - found[rival, "auc"].value)
        assert gap.lo > 0
    assert ("ranker_attention - ranker_none", "auc") not in found
    assert found["user_item_mean", "trials"].value == 36
    assert found["all", "rows"].value == len(truth)


def test_the_arms_that_ran_are_compared_by_their_names(examples):
    """Whatever their order was: the one that is further up the ladder less the other."""
    truth = known_answer(examples)
    arms = ("attention_maps", "initial", "none")
    scores = {f"ranker_{arm}": truth for arm in arms} | {"ranker_initial_served": truth}
    rows = evaluate_rankers(examples, scores, resamples=50)
    rivals = ("item_ctr", "user_item_mean")
    gaps = {row.model for row in rows if " - " in row.model and not row.model.endswith(rivals)}
    assert gaps == {
        "ranker_initial - ranker_none",
        "ranker_attention_maps - ranker_none",
        "ranker_attention_maps - ranker_initial",
    }


def test_as_served_is_also_told_by_history(examples):
    truth = known_answer(examples)
    rows = evaluate_rankers(
        examples._replace(protocol="global_time"), {"ranker_none": truth}, resamples=50
    )
    counts = {row.split: row.value for row in rows if row.metric == "rows"}
    known = examples.rows[Span.TEST].heads.outcomes
    expected = {
        "global_time/test": len(known),
        "global_time/test/history=0": int((known == 0).sum()),
        "global_time/test/history=1-4": int(((known >= 1) & (known <= 4)).sum()),
        "global_time/test/history=5+": int((known >= 5).sum()),
    }
    # A slice without both labels is left out.
    assert counts == {name: n for name, n in expected.items() if name in counts}
    assert "global_time/test/history=5+" in counts
    chosen = known >= 5
    rate = next(
        row
        for row in rows
        if (row.split, row.model, row.metric)
        == ("global_time/test/history=5+", "ranker_none", "auc")
    )
    assert rate.value == auc(truth[chosen], examples.rows[Span.TEST].labels[chosen])


def test_scores_of_another_length_are_refused(examples):
    with pytest.raises(StatesMismatch, match="ranker_none"):
        evaluate_rankers(examples, {"ranker_none": np.zeros(3)})


def test_every_head_is_judged_on_its_own_rows_and_as_it_is_served(examples, seal):
    """Of two heads, with places: four models in all, two of them on clicked rows alone."""
    rng = np.random.default_rng(0)
    rows = {
        span: part._replace(
            conversions=np.where(
                part.labels == 1, rng.integers(2, size=len(part.labels)), -1
            ).astype(np.int8),
            exposures=ExposureStates(rng.integers(3, size=len(part.labels)), part.exposures.time),
        )
        for span, part in examples.rows.items()
    }
    told = examples._replace(rows=rows)
    config = RankerConfig(
        arm="none",
        ids=IdTableConfig(dim=4, buckets=8),
        heads=HeadsConfig(kind="ctr_cvr"),
        training=TrainingConfig(epochs=1, batch=128),
    )
    _, trained = finish(train(told, config))
    sealed = seal(trained)
    answers = answers_of(told, sealed, "ranker_none")
    assert {head: set(models) for head, models in answers.items()} == {
        "ctr": {"ranker_none", "ranker_none_served"},
        "cvr": {"ranker_none", "ranker_none_served"},
    }
    found = judge_heads(told, answers, pairs=[("ranker_none", "ranker_none_served")])
    counts = {row.split: row.value for row in found if row.metric == "rows"}
    test = rows[Span.TEST]
    assert counts == {
        "per_user_time/test": len(test.labels),
        "per_user_time/test/head=cvr": int((test.labels == 1).sum()),
    }
    assert any(row.model == "ranker_none - ranker_none_served" for row in found)
    none = {
        span: part._replace(conversions=np.full(len(part.labels), -1, np.int8))
        for span, part in rows.items()
    }
    left = answers_of(told._replace(rows=none), sealed, "ranker_none")
    assert set(left) == {"ctr"}, "a head that nothing is known of is left out"
