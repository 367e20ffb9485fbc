"""The sampled loss is the full softmax's: exactly where draws are as expected, else on the mean."""

import math

import numpy as np
import pytest
import torch
from faceted import camps
from torch import nn

from ranking.pretraining.batches import Batches, Positives
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.softmax import Temperature, contrast, sampled_softmax

#: Queries and tails of the gradient test; two tails of query 0 are known beside its own.
QUERIES, TAILS, DIM = 3, 12, 4
OWN = torch.tensor([0, 5, 7])
KNOWN = {0: {0, 1, 2}, 1: {5}, 2: {7, 0}}


def cosines(query, tails):
    return 4.0 * nn.functional.normalize(query, dim=1) @ nn.functional.normalize(tails, dim=1).T


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(QUERIES, DIM, generator=generator, requires_grad=True),
        torch.randn(TAILS, DIM, generator=generator, requires_grad=True),
    )


def taken_among(candidates):
    return torch.tensor([[c in KNOWN[q] for c in candidates.tolist()] for q in range(QUERIES)])


def full_gradients(query, tails):
    """The slow twin: over the own tail and all that are not known, one query at a time."""
    scores = cosines(query, tails)
    loss = torch.zeros(())
    for q in range(QUERIES):
        rest = [t for t in range(TAILS) if t not in KNOWN[q]]
        inside = torch.stack([scores[q, OWN[q]], *(scores[q, t] for t in rest)])
        loss = loss + torch.logsumexp(inside, dim=0) - scores[q, OWN[q]]
    return torch.autograd.grad(loss, (query, tails))


def sampled_gradients(query, tails, candidates, log_expected):
    scores = cosines(query, tails)
    positive = scores[torch.arange(QUERIES), OWN]
    others = cosines(query, tails[candidates])
    loss = sampled_softmax(positive, others, log_expected, taken_among(candidates)).sum()
    return torch.autograd.grad(loss, (query, tails))


def test_one_pair_by_hand():
    """Scores 1 and 2, the other expected twice: log(e + e^2 / 2) - 1."""
    loss = sampled_softmax(
        torch.tensor([1.0]),
        torch.tensor([[2.0, 50.0]]),
        torch.tensor([math.log(2.0), 0.0]),
        torch.tensor([[False, True]]),
    )
    assert float(loss) == pytest.approx(math.log(math.e + math.e**2 / 2) - 1, rel=1e-6)


def test_draws_that_come_as_expected_give_the_full_gradient(vectors):
    """Tail t stands there 1 + t mod 3 times and is expected as often: no draw, no error."""
    times = torch.tensor([1 + t % 3 for t in range(TAILS)])
    candidates = torch.repeat_interleave(torch.arange(TAILS), times)
    found = sampled_gradients(*vectors, candidates, times[candidates].float().log())
    for own, full in zip(found, full_gradients(*vectors), strict=True):
        torch.testing.assert_close(own, full, rtol=1e-5, atol=1e-6)


def test_the_mean_of_sampled_gradients_is_the_full_one(vectors):
    """300 draws of 600 popular and unpopular tails: within 5 standard errors of the mean and .01.

    A ratio of means is biased by 1 / draws, which the .01 allows for. Without the correction, or
    with known tails among the negatives, it is an order of magnitude away.
    """
    popular = torch.arange(1.0, TAILS + 1)
    popular = popular / popular.sum()
    generator = torch.Generator().manual_seed(1)
    right, wrong = [], []
    for _ in range(300):
        candidates = torch.multinomial(popular, 600, replacement=True, generator=generator)
        log_expected = (600 * popular[candidates]).log()
        right.append(sampled_gradients(*vectors, candidates, log_expected)[1])
        if len(wrong) < 30:
            alike = torch.full((600,), math.log(600 / TAILS))
            wrong.append(sampled_gradients(*vectors, candidates, alike)[1])
    full = full_gradients(*vectors)[1]
    draws = torch.stack(right)
    error = (draws.mean(dim=0) - full).abs()
    assert (error <= 5 * draws.std(dim=0) / math.sqrt(300) + 0.01).all()
    assert (torch.stack(wrong).mean(dim=0) - full).abs().max() > 0.05


def test_a_batchs_loss_is_a_slow_loop_over_pairs_and_candidates():
    graph = camps()
    config = PretrainingConfig(batch=16, random_negatives=8)
    batch = next(iter(Batches(graph, config)))
    table = nn.Embedding(graph.entity_count, 5)
    found = float(contrast(table, batch, Temperature(0.5)).detach())
    vectors = nn.functional.normalize(table.weight.detach(), dim=1).double().numpy()
    positives = Positives(graph)
    slow = 0.0
    for n, (head, tail) in enumerate(zip(batch.heads.tolist(), batch.tails.tolist(), strict=True)):
        own = 2.0 * vectors[head] @ vectors[tail]
        for drawn in batch.candidates:
            inside = math.exp(own)
            for row, expected in zip(drawn.rows.tolist(), drawn.log_expected.tolist(), strict=True):
                if not positives.among(np.array([head]), np.array([row]))[0, 0]:
                    inside += math.exp(2.0 * vectors[head] @ vectors[row] - expected)
            slow += float(batch.weights[n]) * (math.log(inside) - own)
    assert found == pytest.approx(slow, rel=1e-5)


def test_the_temperature_begins_where_it_is_told_and_is_bounded():
    temperature = Temperature(0.07)
    assert float(temperature().detach()) == pytest.approx(1 / 0.07)
    with torch.no_grad():
        temperature.tau.fill_(9.0)
    assert float(temperature().detach()) == pytest.approx(100.0)
    temperature.keep()
    assert float(temperature.tau.detach()) == pytest.approx(math.log(100.0))
