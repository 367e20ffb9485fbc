"""WuKong: tokens that become products of one another and compressions of all, layer by layer.

Takes x_0, gives the tokens of the last layer in a row; never looks at a feature's name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise
from ranking.interactions.norms import norm_of
from ranking.interactions.tokens import as_tokens, chunk_width

# Single-letter dimensions: B rows, D width, T tokens, C numbers of a token, K columns that products
# are compressed to, H hidden width, F tokens of products, L compressed tokens, F + L = T.


def hidden_width(width: int, config: CrossingConfig) -> int:
    """H of the MLP over the products."""
    return max(1, round(config.hidden_share * width))


class WuKongLayer(nn.Module):
    """One layer over T tokens X.

    P  = X (X^T Y)                               products of tokens, compressed to k columns
    F  = W_2 relu(W_1 LN(flatten(P)) + b_1) + b_2    as T / 2 tokens
    L  = C X                                     T - T / 2 tokens, each a sum of all
    X' = LN([F ; L] + X)

    Implements the idea of Wukong (arXiv 2403.02545, section 3). Differs from the paper: as many
    tokens leave as come, so the residual needs no matrix; `norm` before is [F ; L](LN(X)) + X, and
    none leaves out both LN. LN is over a token's numbers, with the same scale for all tokens.

    FLOPs of matrix products per row: 4 T c k of P, 2 T k h + 2 h F c, 2 L T c; other ones: 2 h for
    b_1 and relu, F c for b_2, T c of the sum; 7 T k and 7 T c of LN. Parameters:
    T k + T k h + h + h F c + F c + L T, and 2 T k + 2 c of LN.
    """

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        tokens, chunk = config.tokens, chunk_width(width, config.tokens)
        hidden, products = hidden_width(width, config), config.tokens // 2
        self.place = config.norm
        self.columns = nn.Linear(tokens, config.fm_rank, bias=False)
        self.inner_norm = norm_of(tokens * config.fm_rank, config.norm)
        self.first = nn.Linear(tokens * config.fm_rank, hidden)
        self.second = nn.Linear(hidden, products * chunk)
        self.compress = nn.Linear(tokens, tokens - products, bias=False)
        self.norm = norm_of(chunk, config.norm)

    def forward(self, x_BTC: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        read_BTC = self.norm(x_BTC) if self.place == "before" else x_BTC
        turned_BCT = read_BTC.transpose(1, 2)
        p_BTK = torch.bmm(read_BTC, self.columns(turned_BCT))
        hidden_BH = torch.relu(self.first(self.inner_norm(p_BTK.flatten(1))))
        rows, tokens, chunk = x_BTC.shape
        f_BFC = self.second(hidden_BH).view(rows, tokens // 2, chunk)
        l_BLC = self.compress(turned_BCT).transpose(1, 2)
        made_BTC = torch.cat([f_BFC, l_BLC], dim=1) + x_BTC
        return self.norm(made_BTC) if self.place == "after" else made_BTC


class WuKong(nn.Module):
    """Tokens, layers, and all tokens of the last one in a row."""

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.layers = nn.ModuleList(WuKongLayer(width, config) for _ in range(config.layers))

    def forward(self, first_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B TC"]:
        x_BTC = as_tokens(first_BD, self.tokens)
        for layer in self.layers:
            x_BTC = layer(x_BTC)
        return x_BTC.flatten(1)


def out_width(width: int, config: CrossingConfig) -> int:
    """T c, D or a little more."""
    return config.tokens * chunk_width(width, config.tokens)


def cost(width: int, config: CrossingConfig) -> Cost:
    """Of all layers."""
    tokens, chunk = config.tokens, chunk_width(width, config.tokens)
    hidden, products = hidden_width(width, config), config.tokens // 2
    flat = tokens * config.fm_rank
    # A matrix over tokens is the same for each of the c numbers.
    columns = _over_tokens(tokens, config.fm_rank, chunk)
    pairs = Cost(matrix=2 * tokens * chunk * config.fm_rank)
    mlp = layer_norm(flat, config.norm) + linear(flat, hidden) + pointwise(hidden)
    mlp += linear(hidden, products * chunk)
    compress = _over_tokens(tokens, tokens - products, chunk)
    around = pointwise(tokens * chunk) + layer_norm(chunk, config.norm, times=tokens)
    return (columns + pairs + mlp + compress + around) * config.layers


def _over_tokens(tokens: int, out: int, chunk: int) -> Cost:
    return Cost(matrix=2 * tokens * out * chunk, parameters=tokens * out)
