import torch
from torch.testing import assert_close

from ranking.interactions.tokens import as_tokens, chunk_width


def test_numbers_are_cut_in_their_order_and_filled_up_behind():
    # 7 numbers as 3 tokens of ceil(7 / 3) = 3
    x = torch.arange(1.0, 8.0).repeat(2, 1)
    one = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 0, 0]])
    assert_close(as_tokens(x, 3), torch.stack([one, one]))
    assert [chunk_width(7, tokens) for tokens in (2, 3, 7, 8)] == [4, 3, 1, 1]


def test_a_field_is_a_token_where_widths_fit():
    fields = torch.arange(12.0).view(1, 3, 4)
    assert_close(as_tokens(fields.flatten(1), 3), fields)
    assert as_tokens(torch.zeros(0, 7), 3).shape == (0, 3, 3)
