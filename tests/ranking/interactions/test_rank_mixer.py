import math

import numpy as np
import pytest
import torch
from crossing_twins import array, normalized, randomized, rows
from torch.testing import assert_close

from ranking.config import CrossingConfig
from ranking.interactions.rank_mixer import RankMixer, mixed, token_width

#: D = 10 as 3 tokens of 4 numbers, the last two of which are filled up; e = 6, h = 5.
SMALL = {"tokens": 3, "hidden_share": 0.5, "layers": 2}


def gelu(x):
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def mapped(maps, number, x):
    weight = array(maps.weight)
    return x @ weight[number] + array(maps.bias).reshape(len(weight), -1)[number]


def mixed_twin(X):
    tokens, width = X.shape
    part = width // tokens
    return np.array(
        [
            np.concatenate([X[t, h * part : (h + 1) * part] for t in range(tokens)])
            for h in range(tokens)
        ]
    )


def each(X, norm):
    return np.array([normalized(token, norm) for token in X])


def block_twin(block, X):
    S = mixed_twin(each(X, block.mix_norm) if block.place == "before" else X) + X
    S = each(S, block.mix_norm) if block.place == "after" else S
    read = each(S, block.mlp_norm) if block.place == "before" else S
    made = S + np.array(
        [mapped(block.out, t, gelu(mapped(block.into, t, s))) for t, s in enumerate(read)]
    )
    return each(made, block.mlp_norm) if block.place == "after" else made


@pytest.mark.parametrize("norm", ["after", "before", "none"])
def test_blocks_equal_a_slow_twin_row_by_row(norm):
    net = randomized(RankMixer(10, CrossingConfig(norm=norm, **SMALL)))
    slow = []
    for x0 in array(rows(5, 10)):
        cut = np.concatenate([x0, [0.0, 0.0]]).reshape(3, 4)
        X = np.array([mapped(net.into, t, token) for t, token in enumerate(cut)])
        for block in net.blocks:
            X = block_twin(block, X)
        slow.append(X.mean(axis=0))
    assert_close(net(rows(5, 10)), torch.tensor(np.array(slow)))


def test_tokens_trade_parts_and_twice_is_what_there_was():
    tokens = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]])
    assert_close(mixed(tokens), torch.tensor([[[1.0, 2, 5, 6], [3, 4, 7, 8]]]))
    assert_close(mixed(mixed(tokens)), tokens)


def test_without_mlps_and_norm_a_block_adds_what_was_traded():
    net = randomized(RankMixer(10, CrossingConfig(norm="none", **SMALL | {"layers": 1})))
    [block] = net.blocks
    with torch.no_grad():
        block.out.weight.zero_()
        block.out.bias.zero_()
    tokens = rows(5, 18).view(5, 3, 6)
    assert_close(block(tokens), tokens + mixed(tokens))


@pytest.mark.parametrize(
    ("width", "tokens", "share", "expected"),
    [
        (128, 8, 1.0, 16),  # 16 numbers each, already a multiple of 8
        (100, 8, 1.0, 16),  # ceil(100 / 8) = 13, up to a multiple of 8
        (128, 8, 2.0, 32),
        (10, 3, 1.0, 6),
    ],
)
def test_a_token_is_a_multiple_of_their_number(width, tokens, share, expected):
    assert token_width(width, CrossingConfig(tokens=tokens, token_share=share)) == expected
