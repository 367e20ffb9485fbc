import numpy as np
import pytest
import torch
from pykeen.datasets import Nations
from pykeen_ranks import pykeen_ranks

from kge.evaluate import link_prediction
from kge.rivals.pykeen_loop import Stream, start
from kge.rivals.pykeen_models import RECIPES
from kge.rivals.pykeen_scorer import PykeenScorer, pykeen_scorer

DATA = Nations()


def untrained(name: str, *, reciprocal: bool, dtype: torch.dtype):
    """A model with random weights: as good as any to compare two ways of ranking."""
    recipe = RECIPES[name]
    factory = Nations(create_inverse_triples=reciprocal).training
    with Stream(3):
        model = start(factory, recipe)[0].model
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    return model


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("way", [pykeen_scorer, PykeenScorer])
def test_every_rank_is_pykeens(name, way):
    # In 64 bits no two candidates are near enough for another order of sums to swap them.
    model = untrained(name, reciprocal=RECIPES[name].reciprocal, dtype=torch.double)
    train, valid, test = (
        part.mapped_triples.numpy() for part in (DATA.training, DATA.validation, DATA.testing)
    )
    found = link_prediction(way(model), test, [train, valid])
    head, tail = pykeen_ranks(model, test, [train, valid])
    np.testing.assert_array_equal(found.head_rank, head)
    np.testing.assert_array_equal(found.tail_rank, tail)


@pytest.mark.parametrize("name", list(RECIPES))
def test_ranges_of_candidates_are_columns_of_the_whole(name):
    model = untrained(name, reciprocal=RECIPES[name].reciprocal, dtype=torch.float)
    scorer, heads = pykeen_scorer(model), np.array([0, 5, 13, 2])
    count = scorer.entity_count
    for side in (1, scorer.relation_count + 1):
        whole = scorer.scores(side, heads, 0, count)
        parts = [scorer.scores(side, heads, first, first + 2) for first in range(0, count, 2)]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-4)


def test_a_small_budget_changes_nothing():
    model = untrained("complex", reciprocal=True, dtype=torch.float)
    heads = np.arange(14)
    tight, wide = PykeenScorer(model, memory=1), PykeenScorer(model)
    for side in (0, 60):
        np.testing.assert_allclose(
            tight.scores(side, heads, 0, 14), wide.scores(side, heads, 0, 14), rtol=1e-4, atol=1e-6
        )
