import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from loops import finish
from pykeen.datasets import Nations

from kge.errors import BrokenScores
from kge.evaluate import link_prediction
from kge.rivals.pykeen_loop import Stream, batch_size, one_batch, start, train_pykeen
from kge.rivals.pykeen_models import RECIPES
from kge.triples import graph_of_factory

DATA = Nations()
GRAPH = graph_of_factory(DATA.training)
#: The same recipes for 14 countries.
SMALL = {name: replace(recipe, dim=16, batch=128, negatives=8) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", ["transe", "transr", "distmult", "complex", "rotate"])
def test_an_epoch_is_pykeens_own_to_the_last_bit(name):
    recipe = SMALL[name]
    factory = Nations(create_inverse_triples=recipe.reciprocal).training
    with Stream(5):
        ours, around, batches = start(factory, recipe)
    theirs, theirs_around, theirs_batches = start(factory, recipe)
    theirs.model.load_state_dict(copy.deepcopy(ours.model.state_dict()))
    losses = []
    with Stream(6):
        losses = [one_batch(ours, around, batch) for batch in batches]
    with Stream(6):
        theirs.model.train()
        loss = theirs._train_epoch(
            batches=theirs_batches,
            callbacks=theirs_around,
            sub_batch_size=None,
            label_smoothing=0.0,
            slice_size=None,
            epoch=1,
            only_size_probing=False,
        )
    assert np.mean(losses) == loss
    for own, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", ["transe", "distmult", "complex"])
def test_it_learns_nations_and_leaves_the_process_its_random_numbers(name):
    before = torch.get_rng_state()
    trace, scorer = finish(train_pykeen(GRAPH, SMALL[name], seed=1, share=lambda s: s / 250))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(trace) == 250
    triples = [part.mapped_triples.numpy() for part in (DATA.training, DATA.testing)]
    # The middle of 14 candidates is a reciprocal rank of .23 on average.
    assert link_prediction(scorer, triples[1], triples).mrr > 0.35


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    recipe = SMALL["transr"]
    runs = [
        finish(train_pykeen(GRAPH, recipe, seed=seed, share=lambda s: s / 4))[0]
        for seed in (2, 2, 3)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_measuring_on_the_way_changes_nothing():
    recipe = SMALL["distmult"]
    quiet = finish(train_pykeen(GRAPH, recipe, share=lambda s: s / 6))[0]
    loop, asked = train_pykeen(GRAPH, recipe, share=lambda s: s / 6), []
    for told in loop:
        told.so_far().scores(0, np.arange(3), 0, 14)
        asked.append(told)
    assert asked == quiet


def test_the_rate_falls_with_the_share_that_is_done():
    recipe = SMALL["complex"]
    still, scorer = finish(train_pykeen(GRAPH, recipe, share=lambda s: [0.0, 1 - 1e-12, 1][s]))
    alone = finish(train_pykeen(GRAPH, recipe, share=float))[1]
    # The second step has a rate of nearly 0, so it moves nothing.
    args = (0, np.arange(14), 0, 14)
    np.testing.assert_allclose(scorer.scores(*args), alone.scores(*args), rtol=1e-5, atol=1e-6)
    assert [told.step for told in still] == [1, 2]


def test_a_loss_that_is_no_number_is_a_sentence():
    recipe = replace(RECIPES["complex"], learning_rate=1e30)
    with pytest.raises(BrokenScores):
        finish(train_pykeen(GRAPH, recipe, share=lambda s: s / 50))


def test_batches_that_score_every_entity_stay_in_memory():
    assert batch_size(RECIPES["complex"], 14_541) == 512
    assert batch_size(RECIPES["complex"], 1 << 21) == 32
    assert batch_size(RECIPES["transe"], 1 << 21) == 512
