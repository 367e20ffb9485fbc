"""RankMixer: tokens that trade parts with one another, and an MLP of its own for each of them.

Takes x_0, gives the mean of the last tokens; never looks at a feature's name.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.cost import Cost, layer_norm, linear, pointwise
from ranking.interactions.norms import norm_of
from ranking.interactions.tokens import as_tokens, chunk_width

# Single-letter dimensions: B rows, D width, T tokens, C numbers that are cut for a token, E numbers
# of a token, a multiple of T, H hidden width of its MLP, I and O what a map reads and gives.


def token_width(width: int, config: CrossingConfig) -> int:
    """E: `token_share` times c, up to the next multiple of T."""
    chunk = chunk_width(width, config.tokens)
    parts = math.ceil(config.token_share * chunk / config.tokens)
    return config.tokens * parts


def hidden_width(width: int, config: CrossingConfig) -> int:
    """H of each token's MLP."""
    return max(1, round(config.hidden_share * width))


class TokenMaps(nn.Module):
    """A linear map of its own for each token: y_t = W_t x_t + b_t.

    FLOPs of matrix products per row: 2 T i o; other ones: T o. Parameters: T (i o + o).
    """

    def __init__(self, tokens: int, width: int, out: int) -> None:
        super().__init__()
        bound = width**-0.5  # as torch draws a Linear
        self.weight = nn.Parameter(torch.empty(tokens, width, out).uniform_(-bound, bound))
        # In one row: optimizers tell biases from matrices by their shape.
        self.bias = nn.Parameter(torch.empty(tokens * out).uniform_(-bound, bound))

    def forward(self, x_BTI: Float[Tensor, "B T I"]) -> Float[Tensor, "B T O"]:
        tokens, _, out = self.weight.shape
        bias_T1O = self.bias.view(tokens, 1, out)
        return torch.baddbmm(bias_T1O, x_BTI.transpose(0, 1), self.weight).transpose(0, 1)


def mixed(x_BTE: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
    """Token h of what comes out is the h-th T-th part of every token, in the tokens' order.

    As many heads as tokens, so as many tokens leave as come; without parameters. Twice gives what
    there was.
    """
    rows, tokens, width = x_BTE.shape
    parts = x_BTE.reshape(rows, tokens, tokens, width // tokens)
    return parts.transpose(1, 2).reshape(rows, tokens, width)


class RankMixerBlock(nn.Module):
    """One block over T tokens X.

    S  = LN(mixed(X) + X)
    X' = LN(MLP_t(S_t) + S),   MLP_t(s) = W'_t gelu(W_t s + b_t) + b'_t

    Implements the idea of RankMixer (arXiv 2507.15551, section 3), without its mixture of
    experts. Differs from the paper: `norm` before is S = mixed(LN(X)) + X, X' = MLP(LN(S)) + S, and
    none leaves LN out.

    FLOPs of matrix products per row: 4 T e h; other ones: 2 T h for b and gelu, T e for b', 2 T e
    of the sums; 14 T e of LN. Parameters: T (2 e h + h + e), and 4 e of LN.
    """

    def __init__(self, tokens: int, width: int, hidden: int, place: str) -> None:
        super().__init__()
        self.place = place
        self.into, self.out = TokenMaps(tokens, width, hidden), TokenMaps(tokens, hidden, width)
        self.mix_norm, self.mlp_norm = norm_of(width, place), norm_of(width, place)

    def forward(self, x_BTE: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        before, after = self.place == "before", self.place == "after"
        s_BTE = mixed(self.mix_norm(x_BTE) if before else x_BTE) + x_BTE
        s_BTE = self.mix_norm(s_BTE) if after else s_BTE
        hidden_BTH = nn.functional.gelu(self.into(self.mlp_norm(s_BTE) if before else s_BTE))
        y_BTE = self.out(hidden_BTH) + s_BTE
        return self.mlp_norm(y_BTE) if after else y_BTE


class RankMixer(nn.Module):
    """Tokens, each through a map of its own to e numbers, blocks, and the mean of all tokens."""

    def __init__(self, width: int, config: CrossingConfig) -> None:
        super().__init__()
        self.tokens = config.tokens
        wide, hidden = token_width(width, config), hidden_width(width, config)
        self.into = TokenMaps(config.tokens, chunk_width(width, config.tokens), wide)
        self.blocks = nn.ModuleList(
            RankMixerBlock(config.tokens, wide, hidden, config.norm) for _ in range(config.layers)
        )

    def forward(self, first_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
        x_BTE = self.into(as_tokens(first_BD, self.tokens))
        for block in self.blocks:
            x_BTE = block(x_BTE)
        return x_BTE.mean(dim=1)


def cost(width: int, config: CrossingConfig) -> Cost:
    """Of the tokens' maps, 2 T c e, all blocks, and the mean, T e."""
    tokens, wide = config.tokens, token_width(width, config)
    hidden = hidden_width(width, config)
    mlp = (linear(wide, hidden) + pointwise(hidden) + linear(hidden, wide)) * tokens
    norms = layer_norm(wide, config.norm, times=tokens)
    block = mlp + norms + norms + pointwise(2 * tokens * wide)
    into = linear(chunk_width(width, tokens), wide) * tokens
    return into + block * config.layers + pointwise(tokens * wide)
