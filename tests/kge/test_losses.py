import math

import pytest
import torch
from pykeen.losses import MarginRankingLoss

from kge.losses import Collisions, Scores, margin_ranking, sampled_softmax

NO_COLLISION = Collisions(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))


def scores_of(negative: torch.Tensor, positive: torch.Tensor) -> Scores:
    """Any table of scores as factors: the table itself times unit vectors, and a zero column."""
    size = negative.shape[1]
    query = torch.cat([negative, torch.ones(len(negative), 1)], dim=1)
    return Scores(positive, query, torch.cat([torch.eye(size), torch.zeros(size, 1)], dim=1))


def some_scores(seed: int = 0, rows: int = 5, size: int = 7):
    draw = torch.Generator().manual_seed(seed)
    negative = torch.randn(rows, size, generator=draw)
    positive = torch.randn(rows, generator=draw)
    return negative, positive, torch.rand(rows, generator=draw) + 0.5


def test_softmax_by_hand():
    """Positive 0 against one negative of log 3: -log(1 / (1 + 3)) = log 4."""
    scores = scores_of(torch.tensor([[math.log(3.0)]]), torch.tensor([0.0]))
    loss = sampled_softmax(scores, torch.zeros(1), NO_COLLISION, torch.ones(1))
    assert loss.item() == pytest.approx(math.log(4.0))


def test_all_candidates_once_is_the_full_softmax_and_so_are_its_gradients():
    table, _, weight = some_scores()
    tail = torch.tensor([3, 0, 6, 3, 1])
    rows = torch.arange(5)
    table.requires_grad_()
    found = sampled_softmax(
        scores_of(table, table[rows, tail]), torch.zeros(7), Collisions(rows, tail), weight
    )
    each = torch.nn.functional.cross_entropy(table, tail, reduction="none")
    expected = (weight * each).sum() / weight.sum()
    torch.testing.assert_close(found, expected)
    left, right = (torch.autograd.grad(loss, table)[0] for loss in (found, expected))
    torch.testing.assert_close(left, right)


def test_correction_and_collisions_equal_the_formula_written_out():
    negative, positive, weight = some_scores(1)
    log_expected = torch.linspace(-2.0, 1.0, 7)
    pairs = [(0, 2), (3, 2), (3, 6)]
    collisions = Collisions(*torch.tensor(pairs).T)
    found = sampled_softmax(scores_of(negative, positive), log_expected, collisions, weight)
    expected = 0.0
    for i in range(5):
        total = positive[i].exp()
        for j in range(7):
            if (i, j) not in pairs:
                total = total + (negative[i, j] - log_expected[j]).exp()
        expected += weight[i] * (total.log() - positive[i])
    torch.testing.assert_close(found, expected / weight.sum())


def test_with_the_correction_the_drawn_sum_estimates_the_full_one():
    """Mean over many draws of sum_j e^(s_j - log(m q_j)) is sum over all candidates of e^s."""
    draw = torch.Generator().manual_seed(2)
    every = torch.randn(30, generator=draw)
    chance = torch.rand(30, generator=draw) + 0.1
    chance /= chance.sum()
    m, times = 8, 40_000
    drawn = torch.multinomial(chance, m * times, replacement=True, generator=draw).view(times, m)
    sums = (every[drawn] - (m * chance[drawn]).log()).exp().sum(dim=1)
    error = sums.std() / math.sqrt(times)
    assert abs(sums.mean() - every.exp().sum()) < 4 * error


def test_margin_loss_equals_pykeen():
    negative, positive, _ = some_scores(3)
    found = margin_ranking(scores_of(negative, positive), NO_COLLISION, torch.ones(5), 1.5)
    expected = MarginRankingLoss(margin=1.5).process_slcwa_scores(positive[:, None], negative)
    torch.testing.assert_close(found, expected)


def test_margin_loss_leaves_collisions_out():
    """Margin 1: negatives 0 and 9 against 0.5 give 0.5 and 9.5; without the second, 0.5."""
    scores = scores_of(torch.tensor([[0.0, 9.0]]), torch.tensor([0.5]))
    hit = Collisions(torch.tensor([0]), torch.tensor([1]))
    assert margin_ranking(scores, hit, torch.ones(1), 1.0).item() == pytest.approx(0.5)
    assert margin_ranking(scores, NO_COLLISION, torch.ones(1), 1.0).item() == pytest.approx(5.0)
