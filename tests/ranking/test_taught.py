"""Which rows teach a ranker which of its heads, and what is made up for of those left out."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from loops import finish
from quick import QUICK

from graphsvc.snapshot import Span
from ranking.begun import learned_from
from ranking.config import HeadsConfig, TrainingConfig
from ranking.examples import build_examples, of_head
from ranking.metrics import auc
from ranking.model import head_scores
from ranking.train import task_of, train


def test_probabilities_are_those_of_what_was_not_logged_too(leaning):
    """Zeros that stand for four each: predictions are for all five, not for the two logged."""
    examples = build_examples(leaning.snapshot, leaning.bundle)
    rng = np.random.default_rng(1)
    rows = {}
    for span, part in examples.rows.items():
        # Labels that nothing explains, so that the base rate is all there is to learn.
        labels = (rng.random(len(part.labels)) < 0.5).astype(np.int8)
        weight = np.where(labels == 1, 1, 4).astype(np.float32)
        rows[span] = part._replace(labels=labels, weight=weight)
    config = dataclasses.replace(QUICK, arm="none", training=TrainingConfig(epochs=1, batch=64))
    _, trained = finish(train(examples._replace(rows=rows), config))
    test = rows[Span.TEST]
    batch = trained.encoder.encode(test.heads, test.tails)
    scores = head_scores(trained.model, batch)[:, 0]
    mean = trained.calibration.probabilities(scores).mean()
    assert mean == pytest.approx(1 / (1 + 4), abs=0.03)  # 0.5 / (0.5 + 0.5 * 4)
    # The model itself is on its way there before any calibration; without weights it stays at 1/2.
    assert (1 / (1 + np.exp(-scores))).mean() < 0.4


@pytest.fixture
def buying(world):
    """Clicks as in `leaning`; of those who click, whoever looks at an early film buys it.

    Films 0 to 9 are early. Places do not matter, and are drawn by chance.
    """
    rng = np.random.default_rng(2)
    events, time = [], 1_000
    for span in Span:
        for _ in range(600):
            user, film, place = (int(rng.integers(n)) for n in (40, 20, 5))
            label = int(user % 2 == film % 2)
            time += 1
            bought = int(film < 10) if label else -1
            events.append((user, film, 0, time, label, span, 1.0, place, bought))
            if label:
                events.append((user, film, 1, time, -1, span))
    attributes = [(20 + u, "lean", json.dumps("lr"[u % 2])) for u in range(40)]
    attributes += [(f, "lean", json.dumps("lr"[f % 2])) for f in range(20)]
    attributes += [(f, "tags", json.dumps(["early"] if f < 10 else [])) for f in range(20)]
    here = world(events, users=40, films=20, known_users=30, known_films=20, attributes=attributes)
    return build_examples(here.snapshot, here.bundle)


def aucs(trained, examples):
    found = {}
    for head in trained.config.heads.names:
        rows = of_head(examples, head).rows[Span.TEST]
        scored = trained.scored(rows.heads, rows.tails, rows.exposures)
        found[head] = auc(scored.probabilities[head], rows.labels)
    return found


@pytest.mark.parametrize("sharing", ["bottom", "mmoe"])
def test_each_head_learns_its_own_answer(buying, sharing):
    """Clicks follow from the pair of leans, conversions of clicks from the film's tag alone."""
    heads = HeadsConfig(kind="ctr_cvr", sharing=sharing, experts=2)
    seen, trained = finish(train(buying, dataclasses.replace(QUICK, arm="none", heads=heads)))
    found = aucs(trained, buying)
    assert set(found) == {"ctr", "cvr"}
    assert found["ctr"] > 0.9
    assert found["cvr"] > 0.95
    assert seen[-1].valid_loss == pytest.approx(sum(h["loss"] for h in seen[-1].by_head.values()))
    assert seen[-1].valid_auc == seen[-1].by_head["ctr"]["auc"]


def test_a_head_learns_from_the_rows_that_it_knows_and_from_no_others(buying):
    """Of two of four rows it is known what came of the click: each counts 4 / 2 times 3."""
    clicks, known = np.array([1, 1, 0, 1], np.int8), np.array([1, -1, -1, 0], np.int8)
    four = buying.rows[Span.TRAIN].take(np.arange(4))
    rows = four._replace(labels=clicks, conversions=known)
    heads = HeadsConfig(kind="ctr_cvr", cvr_weight=3.0)
    task = task_of(rows, dataclasses.replace(QUICK, heads=heads))
    assert task.targets.T.tolist() == [[1, 1, 0, 1], [1, 0, 0, 0]]
    assert task.counts.T.tolist() == [[1, 1, 1, 1], [6, 0, 0, 6]]


def test_a_ranker_of_conversions_learns_from_clicks_alone(buying):
    heads = HeadsConfig(kind="cvr")
    config = dataclasses.replace(QUICK, arm="none", heads=heads)
    used = learned_from(buying.rows[Span.TRAIN], config)
    assert (buying.rows[Span.TRAIN].labels[used] == 1).all()
    assert len(used) == int((buying.rows[Span.TRAIN].labels == 1).sum())
    _, trained = finish(train(buying, config))
    assert aucs(trained, buying)["cvr"] > 0.95


def test_what_is_younger_than_the_window_teaches_nothing(buying):
    """The same weights whatever a conversion that nobody knows yet would be."""
    rows = dict(buying.rows)
    part = rows[Span.TRAIN]
    young = np.arange(len(part.labels)) % 3 == 0
    rows[Span.TRAIN] = part._replace(
        conversions=np.where(young, -1, part.conversions).astype(np.int8)
    )
    dials = TrainingConfig(epochs=1, batch=64)
    config = dataclasses.replace(QUICK, arm="none", heads=HeadsConfig(kind="cvr"), training=dials)
    used = learned_from(rows[Span.TRAIN], config)
    assert not young[used].any()
    censored = buying._replace(rows=rows)
    left_out = {**rows, Span.TRAIN: part.take(np.flatnonzero(~young))}
    counted = [
        finish(train(examples, config))[0][0].train_loss
        for examples in (censored, buying._replace(rows=left_out))
    ]
    assert counted[0] == pytest.approx(counted[1], rel=0.1), "vocabularies may differ a little"


def test_the_budget_takes_the_newest_rows_and_all_clicks(buying):
    rows = buying.rows[Span.TRAIN]
    newest = dataclasses.replace(QUICK, training=TrainingConfig(most_rows=100))
    assert learned_from(rows, newest).tolist() == list(range(500, 600))
    few = dataclasses.replace(QUICK, training=TrainingConfig(negatives_kept=0.2))
    used = learned_from(rows, few)
    clicks = int((rows.labels == 1).sum())
    assert int((rows.labels[used] == 1).sum()) == clicks
    assert len(used) - clicks < 0.4 * (len(rows.labels) - clicks)


def test_logits_of_clicks_are_corrected_for_what_was_left_out_and_no_others(buying):
    """log .1 is added to those of ctr; the negatives of cvr are clicks, of which all were there."""
    dials = TrainingConfig(epochs=1, batch=64, negatives_kept=0.1)
    config = dataclasses.replace(
        QUICK, arm="none", heads=HeadsConfig(kind="ctr_cvr"), training=dials
    )
    _, trained = finish(train(buying, config))
    test = buying.rows[Span.TEST]
    encoder = trained.encoder
    raw = head_scores(trained.model, encoder.encode(test.heads, test.tails, test.exposures))
    found = trained.scored(test.heads, test.tails, test.exposures)
    np.testing.assert_allclose(found.logits - raw, np.log([[0.1, 1.0]]) + 0 * raw, atol=1e-9)
    own = trained.calibrations["ctr"].probabilities(found.logits[:, 0])
    np.testing.assert_array_equal(found.probabilities["ctr"], own)


def test_a_ranker_of_few_negatives_says_what_one_of_all_says(world):
    """Clicks are rare, film i of 10 is clicked with i / 50. Before any calibration, corrected."""
    rng = np.random.default_rng(8)
    events, time = [], 1_000
    for span in Span:
        for _ in range(4000):
            user, film = int(rng.integers(40)), int(rng.integers(10))
            time += 1
            label = int(rng.random() < film / 50)
            events.append((user, film, 0, time, label, span))
            if label:
                events.append((user, film, 1, time, -1, span))
    here = world(events, users=40, films=10, known_users=40, known_films=10)
    examples = build_examples(here.snapshot, here.bundle)
    test = examples.rows[Span.TEST]
    worth = np.array([int(film[1:]) / 50 for film in test.tails.ids])
    found = {}
    for kept in (1.0, 0.2):
        dials = TrainingConfig(epochs=12, batch=64, learning_rate=1e-2, negatives_kept=kept)
        config = dataclasses.replace(QUICK, arm="none", training=dials)
        _, trained = finish(train(examples, config))
        found[kept] = trained.scored(test.heads, test.tails).logits[:, 0]
    chance = {kept: 1 / (1 + np.exp(-logits)) for kept, logits in found.items()}
    taught = 1 / (1 + np.exp(-(found[0.2] - np.log(0.2))))
    assert abs(taught - worth).mean() > 0.1, "uncorrected it would be far off"
    for values in chance.values():
        assert values.mean() == pytest.approx(worth.mean(), abs=0.02)
        assert abs(values - worth).mean() < 0.03
    assert abs(chance[0.2] - chance[1.0]).mean() < 0.03


def test_calibration_rows_change_the_calibration_and_nothing_else(buying):
    config = dataclasses.replace(QUICK, arm="none", training=TrainingConfig(epochs=2, batch=64))
    rows = dict(buying.rows)
    last = rows[Span.CALIBRATE]
    rows[Span.CALIBRATE] = last._replace(labels=(1 - last.labels).astype(np.int8))
    (one, a), (two, b) = (finish(train(e, config)) for e in (buying, buying._replace(rows=rows)))
    assert one == two
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name
    assert a.calibration != b.calibration
