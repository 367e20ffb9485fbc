"""A new id begins among those whose vectors point its way."""

import math

import pytest
import torch

from ranking.idtables.beginning import anchor_mixture

ANCHORS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
ROWS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_the_mixture_by_hand():
    """(1, 1) has a cosine of sqrt(1/2) to the first two and its negative to the third.

    With s = 2 the shares are 1 : 1 : exp(-2 sqrt 2) of the whole; with two neighbors a half each.
    """
    found = anchor_mixture(torch.tensor([[3.0, 3.0]]), ANCHORS, ROWS, nearest=2)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5, 0.0]]))
    third = math.exp(-2 * math.sqrt(2))
    expected = torch.tensor([[1.0, 1.0, third]]) / (2 + third)
    found = anchor_mixture(torch.tensor([[3.0, 3.0]]), ANCHORS, ROWS, nearest=5, sharpness=2.0)
    torch.testing.assert_close(found, expected)


def test_who_has_no_vector_and_who_has_no_anchor_begin_at_zero():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    found = anchor_mixture(vectors, ANCHORS, ROWS, nearest=1)
    assert found.tolist() == [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert anchor_mixture(vectors, ANCHORS[:0], ROWS[:0]).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("chunk", [1, 3])
def test_many_are_as_one_by_one(chunk, monkeypatch):
    monkeypatch.setattr("ranking.idtables.beginning._CHUNK", chunk)
    vectors = torch.tensor([[1.0, 0.5], [-1.0, 0.2], [0.0, 1.0], [3.0, -1.0]])
    whole = anchor_mixture(vectors, ANCHORS, ROWS)
    alone = [anchor_mixture(one[None], ANCHORS, ROWS) for one in vectors]
    torch.testing.assert_close(whole, torch.cat(alone))
