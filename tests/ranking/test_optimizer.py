"""Which weights move at which rate, and that the size of a table changes nothing but the way."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ranking import optimizer
from ranking import train as training
from ranking.config import HeadsConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.examples import KgeMaps
from ranking.features import FeatureBatch
from ranking.model import ModelShape, RankerModel
from ranking.optimizer import make_optimizer
from ranking.train import train_step

DIALS = TrainingConfig(batch=2, learning_rate=1e-2, table_share=0.25, weight_decay=0.5)
CONFIG = RankerConfig(
    arm="none",
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4),
    training=DIALS,
)


def model_of(*, heads, tails=8, codes=12, config=CONFIG):
    shape = ModelShape(
        head_rows=heads, tail_rows=tails, codes=codes, categories=2, lists=1, dense=6,
        vector=2, projected=2, relations=1,
    )  # fmt: skip
    square = np.ones((1, 2, 2), np.float32)
    torch.manual_seed(0)
    maps = KgeMaps(("r",), square, square, np.zeros((1, 2), np.float32))
    return RankerModel(shape, config, maps)


def batches(count, *, heads, seed=0):
    """Of two rows each; lists may hold a category's code, so both look up the same rows."""
    draw = np.random.default_rng(seed)

    def whole(most, *shape):
        return torch.from_numpy(draw.integers(0, most, size=shape))

    def real(*shape):
        return torch.from_numpy(draw.normal(size=shape).astype(np.float32))

    for _ in range(count):
        yield (
            FeatureBatch(
                head_rows=whole(heads, 2, 2),
                tail_rows=whole(8, 2, 2),
                categories=whole(12, 2, 2),
                lists=whole(12, 2, 1, 3),
                dense=real(2, 6),
                rates=real(2, 2),
                head_vector=real(2, 2),
                tail_vector=real(2, 2),
                known=torch.ones(2, 2),
                named=torch.ones(2, 2),
                around=torch.zeros(2, 0, 2),
                around_known=torch.zeros(2, 0),
                exposures=torch.zeros(2, 0, dtype=torch.int64),
                facets=torch.zeros(2, 2, 0),
            ),
            whole(2, 2, 1).to(torch.float32),
            torch.ones(2, 1),
        )


def test_large_tables_are_moved_by_row_at_their_own_rates_and_all_others_as_a_whole():
    # Two rows a batch: from 33 rows on a table is large.
    model = model_of(heads=33, tails=32, codes=40)
    made = make_optimizer(model, CONFIG)
    assert made.tables == [model.head_table, model.codes]
    heads, codes = model.head_table.mover, model.codes.mover
    assert (heads.rate, heads.decay) == (pytest.approx(2.5e-3), 0.0)
    assert (codes.rate, codes.decay) == (pytest.approx(1e-2), pytest.approx(5e-3))
    assert model.tail_table.mover is None
    ids, matrices, rest = made.whole.param_groups
    assert [id(weight) for weight in ids["params"]] == [id(model.tail_table.weight)]
    assert (ids["lr"], ids["weight_decay"]) == (pytest.approx(2.5e-3), 0.0)
    assert (matrices["lr"], matrices["weight_decay"]) == (1e-2, 0.5)
    assert (rest["lr"], rest["weight_decay"]) == (1e-2, 0.0)
    moved = [id(p) for group in made.whole.param_groups for p in group["params"]]
    left = {id(p) for p in model.parameters()} - set(moved)
    assert left == {id(model.head_table.weight), id(model.codes.weight)}
    assert len(moved) == len(set(moved))


def test_what_moves_vectors_of_the_embedding_is_an_id_table_too():
    config = dataclasses.replace(CONFIG, arm="attention_vectors")
    model = model_of(heads=33, config=config)
    made = make_optimizer(model, config)
    moved = model.tokens.head_shift
    assert set(made.tables) == {model.head_table, moved}
    assert (moved.mover.rate, moved.mover.decay) == (pytest.approx(2.5e-3), 0.0)
    slow = {id(weight) for weight in made.whole.param_groups[0]["params"]}
    assert slow == {id(model.tail_table.weight), id(model.tokens.tail_shift.weight)}
    [given] = batches(1, heads=33)
    train_step(model, made, *given)
    made.release()
    assert moved.mover is None


def test_a_frozen_table_is_moved_by_nobody():
    model = model_of(heads=100)
    model.head_table.weight.requires_grad_(False)
    assert make_optimizer(model, CONFIG).tables == []
    assert model.head_table.mover is None


def test_a_model_learns_the_same_whichever_way_its_tables_are_moved(monkeypatch):
    """40 steps, tables moved row by row in one model and as a whole in the other."""
    models = {}
    for large in (0, 1_000):
        monkeypatch.setattr(optimizer, "LARGE", large)
        model = model_of(heads=100)
        made = make_optimizer(model, CONFIG)
        assert len(made.tables) == (3 if large == 0 else 0)
        model.train()
        losses = [train_step(model, made, *given) for given in batches(40, heads=100)]
        made.settle()
        models[large] = (model.state_dict(), losses)
    by_row, whole = models[0], models[1_000]
    assert by_row[1] == pytest.approx(whole[1], rel=1e-3)
    for name, value in whole[0].items():
        torch.testing.assert_close(by_row[0][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_what_is_forgotten_moves_nothing():
    """A forward pass without a step behind it, as where a loss is not finite, is no part of it."""
    [given, (other, *_)] = batches(2, heads=100)
    models = [model_of(heads=100) for _ in range(2)]
    for model, disturbed in zip(models, (False, True), strict=True):
        made = make_optimizer(model, CONFIG)
        if disturbed:
            model(other).sum().backward()
        train_step(model, made, *given)
        made.settle()
    for name, value in models[0].state_dict().items():
        assert torch.equal(models[1].state_dict()[name], value), name


def test_released_a_model_is_like_any_other():
    model = model_of(heads=100)
    made = make_optimizer(model, CONFIG)
    given = list(batches(3, heads=100))
    for one in given:
        train_step(model, made, *one)
    made.release()
    assert model.head_table.mover is None
    with torch.no_grad():
        expected = model.eval()(given[0][0])
    found = model(given[0][0])
    assert torch.equal(found.detach(), expected)
    found.sum().backward()
    assert model.head_table.weight.grad is not None


def test_a_smaller_batch_makes_tables_large():
    model = model_of(heads=100)
    wide = dataclasses.replace(CONFIG, training=dataclasses.replace(DIALS, batch=7))
    assert make_optimizer(model, wide).tables == []
    assert make_optimizer(model, CONFIG).tables == [model.head_table]


@pytest.mark.parametrize("large", [0, 1_000])
def test_a_batch_in_pieces_is_a_batch(large, monkeypatch):
    """Row by row or both rows of a batch at once, where heads know unlike shares: the same steps.

    Nobody knows yet whether the first row converts, and the second one stands for more.
    """
    monkeypatch.setattr(optimizer, "LARGE", large)
    two = dataclasses.replace(CONFIG, heads=HeadsConfig(kind="ctr_cvr"))
    counts = torch.tensor([[0.5, 0.0], [1.5, 2.0]])
    found = []
    for piece in (1, 2):
        monkeypatch.setattr(training, "PIECE", piece)
        model = model_of(heads=100, config=two)
        made, losses = make_optimizer(model, two), []
        for batch, labels, _ in batches(20, heads=100):
            targets = torch.cat([labels, 1 - labels], dim=1)
            made.settle()
            with torch.no_grad():
                logits = model(batch)
            each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            losses.append(train_step(model, made, batch, targets, counts))
            assert losses[-1] == pytest.approx(float((counts * each).sum()) / 2, rel=1e-3)
        made.settle()
        found.append((losses, model.state_dict()))
    (apart, left), (together, right) = found
    assert apart == pytest.approx(together, rel=1e-3)
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, rtol=1e-3, atol=1e-4, msg=name)
