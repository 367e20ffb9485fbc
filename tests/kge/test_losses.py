import math

import pytest
import torch
from pykeen.losses import MarginRankingLoss

from kge.factors import Table, Whole
from kge.losses import Pairs, Slopes, margin_ranking, sampled_softmax

NONE = (torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))


def table_of(negative: torch.Tensor, positive: torch.Tensor) -> Table:
    """Any table of scores as factors: the table itself times unit vectors."""
    size = negative.shape[1]
    return Table(negative, torch.eye(size), torch.zeros(size), positive)


def one_each(weight: torch.Tensor, known=NONE) -> Pairs:
    return Pairs(torch.arange(len(weight)), weight / weight.sum(), known)


def some_table(
    seed: int = 0, rows: int = 5, size: int = 7, pairs: int = 8, *, further: bool = False
):
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    table = Table(normal(rows, 3), normal(size, 3), normal(size), normal(pairs))
    row = torch.randint(rows, (pairs,), generator=draw).sort().values
    weight = torch.rand(pairs, generator=draw) + 0.5
    if further:  # of all queries but one
        table = table._replace(further=normal(rows).index_fill(0, torch.tensor([1]), -torch.inf))
    known = (torch.tensor([0, 3, 3, 4]), torch.tensor([2, 2, 6, 0]))
    return table, Pairs(row, weight / weight.sum(), known)


def twin(table: Table, pairs: Pairs, each) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The formula pair by pair, and its gradients by autograd."""
    some = table._replace(further=_further(table))
    leaves = [part.clone().requires_grad_() for part in some]
    query, points, base, positive, further = leaves
    out = set(zip(*(part.tolist() for part in pairs.known), strict=True))
    total = torch.zeros(())
    for n, row in enumerate(pairs.row.tolist()):
        rest = [j for j in range(len(points)) if (row, j) not in out]
        negatives = torch.stack([query[row] @ points[j] + base[j] for j in rest])
        certain = further[row : row + 1] if further[row].isfinite() else further[:0]
        total = total + pairs.weight[n] * each(positive[n], negatives, rest, certain)
    slopes = torch.autograd.grad(total, leaves, materialize_grads=True)
    return total, list(slopes)


def _further(table: Table) -> torch.Tensor:
    none = torch.full((len(table.query),), -torch.inf)
    return none if table.further is None else table.further


def compare(found: Slopes, expected: tuple[torch.Tensor, list[torch.Tensor]], **tolerance):
    torch.testing.assert_close(torch.tensor(found.loss), expected[0].detach(), **tolerance)
    for left, right in zip(found[1:], expected[1], strict=True):
        torch.testing.assert_close(left, right, **tolerance)


def test_softmax_by_hand():
    """Positive 0 against one negative of log 3: -log(1 / (1 + 3)) = log 4, slope 1/4 - 1."""
    table = table_of(torch.tensor([[math.log(3.0)]]), torch.tensor([0.0]))
    found = sampled_softmax(table, one_each(torch.ones(1)), torch.zeros(1))
    assert found.loss == pytest.approx(math.log(4.0))
    assert found.positive.item() == pytest.approx(-3 / 4)
    assert found.base.item() == pytest.approx(3 / 4)


def test_it_is_the_same_loss_a_few_queries_at_a_time(monkeypatch):
    table, pairs = some_table(rows=7, pairs=12, further=True)
    log_expected = torch.linspace(-1.0, 0.0, 7)
    whole = sampled_softmax(table, pairs, log_expected)
    for rows in (1, 2, 3, 7):
        monkeypatch.setattr(Whole, "rows", rows)
        found = sampled_softmax(table, pairs, log_expected)
        torch.testing.assert_close(found, whole, rtol=1e-6, atol=1e-6)


def test_all_candidates_once_is_the_full_softmax():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 7, generator=draw)
    tail, rows = torch.tensor([3, 0, 6, 3, 1]), torch.arange(5)
    pairs = one_each(torch.ones(5), (rows, tail))
    found = sampled_softmax(table_of(scores, scores[rows, tail]), pairs, torch.zeros(7))
    expected = torch.nn.functional.cross_entropy(scores, tail)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("further", [False, True])
def test_softmax_and_its_gradients_equal_the_formula_written_out(further: bool):
    table, pairs = some_table(1, further=further)
    log_expected = torch.linspace(-2.0, 1.0, 7)

    def each(positive, negatives, rest, certain):
        corrected = torch.cat([positive[None], negatives - log_expected[rest], certain])
        return corrected.logsumexp(0) - positive

    compare(sampled_softmax(table, pairs, log_expected), twin(table, pairs, each))


def test_half_the_precision_is_near():
    table, pairs = some_table(2, rows=20, size=50, pairs=60, further=True)
    whole = sampled_softmax(table, pairs, torch.zeros(50))
    half = sampled_softmax(table, pairs, torch.zeros(50), torch.bfloat16)
    assert half.loss == pytest.approx(whole.loss, rel=0.01)
    for left, right in zip(half[1:], whole[1:], strict=True):
        assert left.dtype == torch.float32
        assert (left - right).norm() < 0.02 * right.norm()


def test_large_scores_and_rows_without_negatives_stay_finite():
    table = table_of(torch.tensor([[900.0, -900.0], [3.0, 4.0]]), torch.tensor([-800.0, 1.0]))
    every = (torch.tensor([1, 1]), torch.tensor([0, 1]))
    found = sampled_softmax(table, one_each(torch.ones(2), every), torch.zeros(2))
    assert found.loss == pytest.approx(1700.0 / 2)
    assert all(torch.isfinite(part).all() for part in found[1:])


def test_half_the_precision_stays_finite_where_its_steps_are_wide():
    """Near 65,536 it knows every 512th number alone, so a top may lie far below its score."""
    table = Table(
        torch.full((1, 1), 6e4), torch.ones(1, 1), torch.zeros(1), torch.tensor([65786.0])
    )
    found = sampled_softmax(table, one_each(torch.ones(1)), torch.zeros(1), torch.bfloat16)
    assert all(torch.isfinite(part).all() for part in found[1:])
    assert math.isfinite(found.loss)


@pytest.mark.parametrize("further", [False, True])
def test_margin_and_its_gradients_equal_the_formula_written_out(further: bool):
    table, pairs = some_table(3, further=further)

    def each(positive, negatives, _, certain):
        return (1.5 + torch.cat([negatives, certain]) - positive).relu().mean()

    compare(margin_ranking(table, pairs, 1.5), twin(table, pairs, each))


def test_margin_loss_equals_pykeen():
    draw = torch.Generator().manual_seed(4)
    negative, positive = torch.randn(5, 7, generator=draw), torch.randn(5, generator=draw)
    found = margin_ranking(table_of(negative, positive), one_each(torch.ones(5)), 1.5)
    expected = MarginRankingLoss(margin=1.5).process_slcwa_scores(positive[:, None], negative)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)


def test_margin_loss_leaves_known_tails_out():
    """Margin 1: negatives 0 and 9 against 0.5 give 0.5 and 9.5; without the second, 0.5."""
    table = table_of(torch.tensor([[0.0, 9.0]]), torch.tensor([0.5]))
    hit = one_each(torch.ones(1), (torch.tensor([0]), torch.tensor([1])))
    assert margin_ranking(table, hit, 1.0).loss == pytest.approx(0.5)
    assert margin_ranking(table, one_each(torch.ones(1)), 1.0).loss == pytest.approx(5.0)
