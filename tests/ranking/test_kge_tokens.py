import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ranking.config import ARMS
from ranking.examples import KgeMaps
from ranking.features import FeatureBatch
from ranking.kge_tokens import KgeTokens, begun_at, id_rows

BATCH, DIM, WIDTH, RELATIONS, AROUND = 3, 4, 2, 2, 1


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    projections = rng.normal(size=(RELATIONS, WIDTH, DIM)).astype(np.float32)
    translations = rng.normal(size=(RELATIONS, WIDTH)).astype(np.float32)
    return KgeMaps(("click", "buy"), projections, projections, translations)


@pytest.fixture
def batch():
    """Three pairs: all is known; the head is not; nothing is known around the third's tail."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    known = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    around_known = torch.tensor([[1.0], [1.0], [0.0]])
    return FeatureBatch(
        head_rows=torch.tensor([[0, 0], [1, 1], [0, 0]]),
        tail_rows=torch.tensor([[1, 1], [0, 0], [0, 0]]),
        categories=torch.zeros(BATCH, 0, dtype=torch.int64),
        lists=torch.zeros(BATCH, 0, 1, dtype=torch.int64),
        dense=torch.zeros(BATCH, 6),
        rates=torch.zeros(BATCH, 2),
        head_vector=draw(BATCH, DIM) * known[:, :1],
        tail_vector=draw(BATCH, DIM),
        known=known,
        named=torch.ones(BATCH, 2),
        around=draw(BATCH, AROUND, DIM) * around_known[:, :, None],
        around_known=around_known,
        exposures=torch.zeros(BATCH, 0, dtype=torch.int64),
        facets=torch.zeros(BATCH, 2, 0),
    )


def made(arm, maps):
    return KgeTokens(ARMS[arm], maps, (2, 2), AROUND)


def frozen_tokens(maps, batch):
    block = made("attention", maps)
    return block(batch, block.shifts(batch), batch.named)


def test_tokens_one_by_one(maps, batch):
    tokens, visible = frozen_tokens(maps, batch)
    assert tokens.shape == (BATCH, 2 + RELATIONS + AROUND, DIM)
    for b in range(BATCH):
        head = batch.head_vector[b].numpy()
        assert_close(tokens[b, 0], batch.head_vector[b])
        assert_close(tokens[b, 1], batch.tail_vector[b])
        for r in range(RELATIONS):
            sought = maps.projections[r] @ head + maps.translations[r]
            assert_close(tokens[b, 2 + r], torch.tensor([*sought, 0.0, 0.0]))
        assert_close(tokens[b, 4], batch.around[b, 0])
    # Head, tail, two relations that start at the head, and what the tail leads to.
    assert visible.tolist() == [
        [True, True, True, True, True],
        [False, True, False, False, True],
        [True, True, True, True, False],
    ]


@pytest.mark.parametrize(
    "arm", ["attention_vectors", "attention_maps", "attention_all", "attention_swapped"]
)
def test_what_is_trained_begins_at_the_bundle(maps, batch, arm):
    block = made(arm, maps)
    tokens, visible = block(batch, block.shifts(batch), batch.named)
    frozen = frozen_tokens(maps, batch)
    assert_close(tokens, frozen[0])
    assert_close(visible, frozen[1])
    tokens.square().sum().backward()
    trained = dict(block.named_parameters())
    vectors, shifts = {"head_shift.weight", "tail_shift.weight"}, {"map_shift", "translation_shift"}
    expected = (vectors if ARMS[arm].vectors else set()) | (shifts if ARMS[arm].maps else set())
    assert set(trained) == expected
    for name, parameter in trained.items():
        assert parameter.grad.abs().sum() > 0, name


def test_a_trained_vector_moves_its_own_token_and_what_is_sought(maps, batch):
    block = made("attention_vectors", maps)
    moved = torch.tensor([1.0, 0.0, 0.0, 0.0])
    with torch.no_grad():
        block.head_shift.weight[0] = moved
    frozen, _ = frozen_tokens(maps, batch)
    tokens, _ = block(batch, block.shifts(batch), batch.named)
    assert_close(tokens[0, 0] - frozen[0, 0], moved)
    across = torch.tensor(maps.projections[1] @ moved.numpy())
    assert_close((tokens - frozen)[0, 3, :WIDTH], across)
    assert_close(tokens[1], frozen[1])
    hidden = torch.tensor([[0.0, 1.0]] * BATCH)
    assert_close(block(batch, block.shifts(batch), hidden)[0], frozen)


def test_rows_that_begin_at_the_kge_by_hand():
    """Mean 2, deviation 1: LN gives -1 and 1, twice the scale."""
    begun = begun_at(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), 2.0)
    assert_close(begun, torch.tensor([[-2.0, 2.0], [0.0, 0.0]]), atol=1e-4, rtol=0)
    learned = torch.tensor([[[5.0, 5.0], [5.0, 5.0]]])
    begun = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    own = torch.tensor([[1.0, 0.0]])
    rows = id_rows(learned, begun, own, torch.ones(1, 2))
    # A row of its own is what was learned; a hashed one stands beside where it begins.
    assert rows.tolist() == [[[5.0, 5.0], [6.0, 6.0]]]
    assert id_rows(learned, begun, own, torch.zeros(1, 2)).tolist() == begun.tolist()
