import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from planted_graph import CITIES, graph_of, planted, ranked_first

from kge.rivals.config import TwhinConfig
from kge.rivals.edges import passes
from kge.rivals.twhin import Twhin, train_twhin, twhin_loss

SMALL = TwhinConfig(dim=16, batch=32, negatives=64, learning_rate=0.2)


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
def test_the_withheld_edges_come_first(loss):
    graph, withheld = planted()
    config = dataclasses.replace(SMALL, loss=loss)
    _, scorer = finish(train_twhin(graph, config, seed=0, share=lambda s: s / 400))
    assert ranked_first(scorer, graph, withheld) > 0.8


def test_the_loss_is_that_of_a_slow_loop_over_edges_and_candidates():
    graph = graph_of([(0, 0, 1), (0, 1, 2), (2, 0, 1), (3, 1, 0)], entities=5, relations=2)
    model = Twhin(graph, SMALL, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.translations.weight.normal_()
    random = np.random.default_rng(0)
    batch = next(passes(graph, 32, random))
    found = twhin_loss(model, graph, batch, SMALL, random).item()
    e, theta = (part.weight.detach().numpy() for part in (model.entities, model.translations))

    def score(h, r, t):
        return (e[h] + theta[r]) @ e[t]

    # Five entities are fewer than 64 negatives, so every entity is a candidate once.
    losses = []
    for h, r, t in zip(graph.head, graph.relation, graph.tail, strict=True):
        tails = np.log(sum(np.exp(score(h, r, c)) for c in range(5))) - score(h, r, t)
        heads = np.log(sum(np.exp(score(c, r, t)) for c in range(5))) - score(h, r, t)
        losses.append(tails + heads)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_relations_get_gradients():
    graph, _ = planted()
    model = Twhin(graph, SMALL, torch.Generator().manual_seed(0))
    random = np.random.default_rng(0)
    twhin_loss(model, graph, next(passes(graph, 32, random)), SMALL, random).backward()
    assert model.translations.weight.grad.to_dense().abs().sum() > 0


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    graph, _ = planted()
    runs = [finish(train_twhin(graph, SMALL, seed=s, share=lambda n: n / 5))[0] for s in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(CITIES) == 6
