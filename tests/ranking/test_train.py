import dataclasses
import json

import numpy as np
import pytest
import torch
from loops import finish

from graphsvc.snapshot import Span
from ranking import optimizer
from ranking.begun import learned_from
from ranking.config import (
    ARMS,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import TrainingDiverged
from ranking.examples import build_examples, of_head
from ranking.metrics import auc
from ranking.model import head_scores
from ranking.optimizer import make_optimizer
from ranking.rivals import fit_rivals
from ranking.train import task_of, train

# A small world is learned quickly: larger steps, no dropout, tiny tables.
QUICK = RankerConfig(
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=12, batch=64, learning_rate=1e-2),
)


def test_auc_of(trained, rows):
    batch = trained.encoder.encode(rows.heads, rows.tails)
    return auc(head_scores(trained.model, batch)[:, 0], rows.labels)


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
