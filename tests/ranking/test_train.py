"""Training a ranker: what it finds, when it ends, and what has no part in it."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from quick import QUICK

from graphsvc.snapshot import Span
from ranking import optimizer
from ranking.config import ARMS, CrossingConfig, FeatureConfig, RankerConfig, TrainingConfig
from ranking.errors import TrainingDiverged
from ranking.examples import build_examples
from ranking.metrics import auc
from ranking.model import head_scores
from ranking.optimizer import make_optimizer
from ranking.rivals import fit_rivals
from ranking.train import train


def test_auc_of(trained, rows):
    batch = trained.encoder.encode(rows.heads, rows.tails)
    return auc(head_scores(trained.model, batch)[:, 0], rows.labels)


test_auc_of.__test__ = False


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


@pytest.mark.parametrize("arm", ["frozen", "initial", "attention", "attention_swapped"])
@pytest.mark.parametrize("match", [True, False])
def test_finds_it_in_the_vectors_where_there_are_no_attributes(examples, arm, match):
    bare = without_attributes(examples)
    config = dataclasses.replace(QUICK, arm=arm, match=match)
    _, trained = finish(train(bare, config))
    assert test_auc_of(trained, examples.rows[Span.TEST]) > 0.85


@pytest.mark.parametrize("arm", ["frozen", "attention"])
def test_a_bundle_without_a_relation_between_both_types_is_read_by_its_vectors(examples, arm):
    """As where the graph holds purchases of products alone, and the rows are ads."""
    maps, nothing = examples.maps, slice(0)
    none = maps._replace(
        names=(),
        projections=maps.projections[nothing],
        tail_projections=maps.tail_projections[nothing],
        translations=maps.translations[nothing],
    )
    bare = without_attributes(examples)._replace(maps=none)
    _, trained = finish(train(bare, dataclasses.replace(QUICK, arm=arm)))
    assert test_auc_of(trained, bare.rows[Span.TEST]) > 0.95


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


def test_a_table_moved_by_row_makes_the_same_ranker(examples, monkeypatch):
    """Both ways of moving tables give the same loss in each epoch, and the same scores."""
    config = dataclasses.replace(QUICK, training=TrainingConfig(epochs=3, batch=64))
    test = examples.rows[Span.TEST]
    made = []
    for large in (0, 1_000):
        monkeypatch.setattr(optimizer, "LARGE", large)
        seen, trained = finish(train(examples, config))
        made.append(([p.train_loss for p in seen], test_auc_of(trained, test)))
        assert trained.model.head_table.mover is None
    (by_row, first), (whole, second) = made
    assert by_row == pytest.approx(whole, rel=1e-3)
    assert first == pytest.approx(second, abs=5e-3)


def test_leaves_the_callers_random_numbers_alone(examples):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for _ in train(examples, dataclasses.replace(QUICK, training=TrainingConfig(epochs=1))):
        pass
    assert torch.equal(torch.rand(1), expected)


def test_products_of_half_precision_make_a_ranker_as_good_in_float32(examples):
    """Half keeps 8 bits of a factor: weights are others in the third digit, the order is not."""
    plain = dataclasses.replace(QUICK, arm="none")
    halved = dataclasses.replace(
        plain, training=dataclasses.replace(plain.training, precision="bfloat16")
    )
    _, whole = finish(train(examples, plain))
    _, half = finish(train(examples, halved))
    assert {weight.dtype for weight in half.model.state_dict().values()} == {torch.float32}
    assert any(
        not torch.equal(left, right)
        for left, right in zip(whole.model.parameters(), half.model.parameters(), strict=True)
    )
    assert test_auc_of(half, examples.rows[Span.TEST]) > 0.95


def test_stops_early_and_keeps_the_best_epoch(examples):
    training = TrainingConfig(epochs=40, batch=64, learning_rate=3e-2, patience=2)
    seen, trained = finish(train(examples, dataclasses.replace(QUICK, training=training)))
    last = seen[-1]
    assert last.epoch < 40
    assert last.epoch - last.best_epoch == 2
    assert last.best_epoch == 1 + int(np.argmin([p.valid_loss for p in seen]))
    valid = examples.rows[Span.VALID]
    assert test_auc_of(trained, valid) == pytest.approx(seen[last.best_epoch - 1].valid_auc)


def test_steps_that_are_far_too_large_are_a_sentence(examples):
    dials = TrainingConfig(epochs=2, batch=64, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(TrainingDiverged, match=r"ctr on VALID.*lower training\.learning_rate"):
        finish(train(examples, dataclasses.replace(QUICK, arm="none", training=dials)))


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
    groups = make_optimizer(trained.model, RankerConfig()).whole.param_groups
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
        named=torch.ones(2, 2),
        around=torch.zeros(2, 0, 4),
        around_known=torch.zeros(2, 0),
        exposures=torch.zeros(2, 0, dtype=torch.int64),
        facets=torch.zeros(2, 2, 0),
    )
    for arm in ARMS:
        model = RankerModel(shape, RankerConfig(arm=arm), maps).eval()
        bias = float(model.towers[0].last.bias.detach())
        found = model(batch).detach()[:, 0] - bias
        torch.testing.assert_close(found, torch.tensor([-0.5, 2.25]))


def test_a_place_that_is_seen_more_is_not_taken_for_a_better_film(world):
    """Everybody likes every film alike; place 0 is looked at four times as often as place 1.

    Films of an even number are always on top. Knowing the place, all films are equal.
    """
    rng = np.random.default_rng(6)
    events, time = [], 1_000
    for span in Span:
        for _ in range(800):
            user, film = int(rng.integers(30)), int(rng.integers(10))
            place = film % 2 if rng.random() < 0.8 else 1 - film % 2
            time += 1
            label = int(rng.random() < (0.6, 0.15)[place])
            events.append((user, film, 0, time, label, span, 1.0, place))
            if label:
                events.append((user, film, 1, time, -1, span))
    here = world(events, users=30, films=10, known_users=30, known_films=10)
    examples = build_examples(here.snapshot, here.bundle)
    test = examples.rows[Span.TEST]
    on_top = np.array([int(film[1:]) % 2 == 0 for film in test.tails.ids])
    dials, gaps = TrainingConfig(epochs=10, batch=32, learning_rate=3e-2, table_share=0.1), {}
    for position in (False, True):
        features = FeatureConfig(min_rows=2, position=position)
        config = dataclasses.replace(QUICK, arm="none", features=features, training=dials)
        _, trained = finish(train(examples, config))
        served = trained.scored(test.heads, test.tails).logits[:, 0]
        gaps[position] = served[on_top].mean() - served[~on_top].mean()
    assert gaps[False] > 0.4, "what was shown on top seems better"
    assert abs(gaps[True]) < 0.6 * gaps[False]
