import torch

from kge.interaction import BiasedTransRAInteraction, TransRAInteraction


def slow(head, shift, matrix, tail, bias=0.0):
    """One triple, number by number."""
    total = 0.0
    for row in range(len(shift)):
        left = sum(matrix[row][j] * head[j] for j in range(len(head)))
        right = sum(matrix[row][j] * tail[j] for j in range(len(tail)))
        total += (left + shift[row] - right) ** 2
    return -total + bias


def test_a_triple_by_hand():
    """M = [[1, 0], [0, 2]], h = (1, 1), r = (1, 0), t = (1, 2): (1+1-1)^2 + (2-4)^2 = 5."""
    score = TransRAInteraction()(
        torch.tensor([1.0, 1.0]),
        (torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])),
        torch.tensor([1.0, 2.0]),
    )
    assert score.item() == -5.0


def test_a_batch_equals_its_triples_one_by_one():
    draw = torch.Generator().manual_seed(4)
    head, tail = torch.randn(6, 3, generator=draw), torch.randn(6, 3, generator=draw)
    shift, bias = torch.randn(6, 2, generator=draw), torch.randn(6, generator=draw)
    matrix = torch.randn(6, 2, 3, generator=draw)
    plain = TransRAInteraction()(head, (shift, matrix), tail)
    biased = BiasedTransRAInteraction()(head, (shift, matrix), (tail, bias))
    for n in range(6):
        row = [x[n].tolist() for x in (head, shift, matrix, tail)]
        torch.testing.assert_close(plain[n].item(), slow(*row), rtol=1e-5, atol=1e-5)
        expected = slow(*row, bias[n].item())
        torch.testing.assert_close(biased[n].item(), expected, rtol=1e-5, atol=1e-5)


def test_all_tails_broadcast_against_a_batch_of_heads():
    draw = torch.Generator().manual_seed(5)
    head, tails = torch.randn(4, 3, generator=draw), torch.randn(7, 3, generator=draw)
    shift, matrix = torch.randn(4, 2, generator=draw), torch.randn(4, 2, 3, generator=draw)
    scores = TransRAInteraction().score_t(h=head, r=(shift, matrix), all_entities=tails)
    assert scores.shape == (4, 7)
    one = TransRAInteraction()(head[2], (shift[2], matrix[2]), tails[5])
    torch.testing.assert_close(scores[2, 5], one)
