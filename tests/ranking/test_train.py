import dataclasses

import numpy as np
import pytest
import torch
from loops import finish

from graphsvc.snapshot import Span
from ranking.config import (
    CrossingConfig,
    FeatureConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.examples import build_examples
from ranking.features import Encoder
from ranking.metrics import auc
from ranking.model import raw_scores
from ranking.rivals import fit_rivals
from ranking.train import make_optimizer, train

# A small world is learned quickly: larger steps, no dropout, tiny tables.
QUICK = RankerConfig(
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=12, batch=64, learning_rate=1e-2),
)


def test_auc_of(trained, rows):
    batch = Encoder(trained.spec, trained.head_ids, trained.tail_ids).encode(rows.heads, rows.tails)
    return auc(raw_scores(trained.model, batch), rows.labels)


test_auc_of.__test__ = False


@pytest.fixture
def examples(leaning):
    return build_examples(leaning.snapshot, leaning.bundle)


def without_attributes(examples):
    rows = {}
    for span, part in examples.rows.items():
        sides = {
            name: dataclasses.replace(getattr(part, name), attributes={})
            for name in ("heads", "tails")
        }
        rows[span] = part._replace(**sides)
    return examples._replace(rows=rows, head_kinds={}, tail_kinds={})


def test_finds_the_interaction_that_means_cannot_see(examples):
    """An outcome needs equal leans: every mean is one half, only the pair of attributes tells."""
    test = examples.rows[Span.TEST]
    _, trained = finish(train(examples, dataclasses.replace(QUICK, arm="none")))
    means = fit_rivals(examples)[2]
    assert means.name == "user_item_mean"
    assert auc(means.probabilities, test.labels) < 0.65
    assert test_auc_of(trained, test) > 0.95


@pytest.mark.parametrize("arm", ["frozen", "attention"])
@pytest.mark.parametrize("match", [True, False])
def test_finds_it_in_the_vectors_where_there_are_no_attributes(examples, arm, match):
    bare = without_attributes(examples)
    config = dataclasses.replace(QUICK, arm=arm, match=match)
    _, trained = finish(train(bare, config))
    assert test_auc_of(trained, examples.rows[Span.TEST]) > 0.85


def test_plain_dcn_v2_trains_too(examples):
    crossing = CrossingConfig(kind="dcn_v2")
    _, trained = finish(train(examples, dataclasses.replace(QUICK, arm="none", crossing=crossing)))
    assert test_auc_of(trained, examples.rows[Span.TEST]) > 0.95


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(examples):
    config = dataclasses.replace(QUICK, training=TrainingConfig(epochs=2), dropout=0.2)
    (first, a), (second, b) = finish(train(examples, config)), finish(train(examples, config))
    assert first == second
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name
    other, _ = finish(train(examples, dataclasses.replace(config, seed=1)))
    assert other != first


def test_id_rows_are_hidden_while_training_only(examples):
    """With all ID rows hidden in training, tables never learn: they stay at zero."""
    config = dataclasses.replace(QUICK, arm="none", training=TrainingConfig(epochs=1))
    _, shown = finish(train(examples, dataclasses.replace(config, id_dropout=0.0)))
    _, hidden = finish(train(examples, dataclasses.replace(config, id_dropout=1 - 1e-9)))
    assert shown.model.head_table.weight.abs().sum() > 0
    assert hidden.model.head_table.weight.abs().sum() == 0


def test_leaves_the_callers_random_numbers_alone(examples):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for _ in train(examples, dataclasses.replace(QUICK, training=TrainingConfig(epochs=1))):
        pass
    assert torch.equal(torch.rand(1), expected)


def test_stops_early_and_keeps_the_best_epoch(examples):
    training = TrainingConfig(epochs=40, batch=64, learning_rate=3e-2, patience=2)
    seen, trained = finish(train(examples, dataclasses.replace(QUICK, training=training)))
    last = seen[-1]
    assert last.epoch < 40
    assert last.epoch - last.best_epoch == 2
    assert last.best_epoch == 1 + int(np.argmin([p.valid_loss for p in seen]))
    valid = examples.rows[Span.VALID]
    assert test_auc_of(trained, valid) == pytest.approx(seen[last.best_epoch - 1].valid_auc)


def test_test_rows_do_not_reach_training(examples):
    config = dataclasses.replace(QUICK, training=TrainingConfig(epochs=1))
    rows = dict(examples.rows)
    test = rows[Span.TEST]
    rows[Span.TEST] = test._replace(labels=(1 - test.labels).astype(np.int8))
    flipped = examples._replace(rows=rows)
    assert finish(train(examples, config))[0] == finish(train(flipped, config))[0]


def test_id_tables_learn_at_their_share_and_without_decay(examples):
    _, trained = finish(
        train(examples, dataclasses.replace(QUICK, training=TrainingConfig(epochs=1)))
    )
    groups = make_optimizer(trained.model, RankerConfig()).param_groups
    training = TrainingConfig()
    assert groups[0]["lr"] == pytest.approx(training.learning_rate * training.table_share)
    assert groups[0]["weight_decay"] == groups[2]["weight_decay"] == 0
    assert groups[1]["lr"] == training.learning_rate
    assert groups[1]["weight_decay"] == training.weight_decay
    count = sum(len(group["params"]) for group in groups)
    assert count == len(list(trained.model.parameters()))


def test_training_starts_where_counting_is():
    """Before any step the logit is the sum of the two centered rates: the MLP's last layer is 0."""
    from ranking.examples import KgeMaps
    from ranking.features import FeatureBatch
    from ranking.model import ModelShape, RankerModel

    shape = ModelShape(
        head_rows=2, tail_rows=2, codes=3, categories=1, lists=1, dense=6,
        vector=4, projected=3, relations=1,
    )  # fmt: skip
    ones = np.ones((1, 3, 4), np.float32)
    maps = KgeMaps(("click",), ones, ones, np.zeros((1, 3), np.float32))
    rates = torch.tensor([[0.5, -1.0], [2.0, 0.25]])
    batch = FeatureBatch(
        head_rows=torch.zeros(2, 2, dtype=torch.int64),
        tail_rows=torch.zeros(2, 2, dtype=torch.int64),
        categories=torch.ones(2, 1, dtype=torch.int64),
        lists=torch.zeros(2, 1, 2, dtype=torch.int64),
        dense=torch.randn(2, 6),
        rates=rates,
        head_vector=torch.randn(2, 4),
        tail_vector=torch.randn(2, 4),
        known=torch.ones(2, 2),
    )
    for arm in ("none", "frozen", "attention"):
        model = RankerModel(shape, RankerConfig(arm=arm), maps).eval()
        bias = float(model.last.bias.detach())
        found = model(batch).detach() - bias
        torch.testing.assert_close(found, torch.tensor([-0.5, 2.25]))


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
    batch = Encoder(trained.spec, trained.head_ids, trained.tail_ids).encode(test.heads, test.tails)
    scores = raw_scores(trained.model, batch)
    mean = trained.calibration.probabilities(scores).mean()
    assert mean == pytest.approx(1 / (1 + 4), abs=0.03)  # 0.5 / (0.5 + 0.5 * 4)
    # The model itself is on its way there before any calibration; without weights it stays at 1/2.
    assert (1 / (1 + np.exp(-scores))).mean() < 0.4
