"""Attention fine-tuning of the KGE inside the ranker: ID rows look at frozen KGE tokens.

Takes ID rows, frozen tokens and a dense context, gives refined rows and the attention weights,
which explain a score; never changes a KGE vector.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ranking.config import AttentionConfig

# Single-letter dimensions: B rows, T tokens, Z token width, N entities (head, tail), E row width,
# C context, H attention heads, A numbers per attention head.


class KgeAttention(nn.Module):
    """Each ID row attends to the KGE's tokens.

    K_j = W_K LN(z_j),  V_j = W_V LN(z_j)
    q_i = W_Q LN([row_i ; context])
    y_i = row_i + sigmoid(g_i) * MHA(q_i, K, V),  g_i = `gate` at start

    Implements the idea of the attention-based KGE fine-tuning of TransRA (arXiv 2508.02609).
    Differs from the paper: its details were not at hand; tokens, query, gate and the frozen sides
    are our design. LN has its own scale and shift per token (they tell tokens apart) and per
    entity. z is frozen: it gets no gradient, unless the arm trains what it is made of. A token that
    is not `visible` gets no weight; a row that sees no token keeps its ID row.
    """

    def __init__(
        self, tokens: int, token_width: int, row_width: int, context: int, config: AttentionConfig
    ) -> None:
        super().__init__()
        #: Whether tokens get a gradient: only where the arm trains what they are made of.
        self.trained = False
        self.heads = config.heads
        query_width = row_width + context
        self.token_scale = nn.Parameter(torch.ones(tokens, token_width))
        self.token_shift = nn.Parameter(torch.zeros(tokens, token_width))
        self.query_scale = nn.Parameter(torch.ones(2, query_width))
        self.query_shift = nn.Parameter(torch.zeros(2, query_width))
        self.key = nn.Linear(token_width, config.width, bias=False)
        self.value = nn.Linear(token_width, config.width, bias=False)
        self.query = nn.Linear(query_width, config.width, bias=False)
        self.out = nn.Linear(config.width, row_width, bias=False)
        self.gate = nn.Parameter(torch.full((2,), config.gate))

    def forward(
        self,
        rows_BNE: Float[Tensor, "B N E"],
        context_BC: Float[Tensor, "B C"],
        tokens_BTZ: Float[Tensor, "B T Z"],
        visible_BT: Bool[Tensor, "B T"],
    ) -> tuple[Float[Tensor, "B N E"], Float[Tensor, "B N T"]]:
        """Refined rows, and weights that sum to 1 over tokens (to 0 where none is visible)."""
        tokens_BTZ = tokens_BTZ if self.trained else tokens_BTZ.detach()
        z_BTZ = _normalized(tokens_BTZ) * self.token_scale + self.token_shift
        key_BTHA = self._split(self.key(z_BTZ))
        value_BTHA = self._split(self.value(z_BTZ))
        context_BNC = context_BC[:, None, :].expand(-1, rows_BNE.shape[1], -1)
        q_BNX = _normalized(torch.cat([rows_BNE, context_BNC], dim=2))
        query_BNHA = self._split(self.query(q_BNX * self.query_scale + self.query_shift))
        # Two rows and some tokens: products number by number are quicker than so small matrices.
        logits_BNTH = (query_BNHA[:, :, None] * key_BTHA[:, None]).sum(dim=4)
        logits_BNTH = logits_BNTH / math.sqrt(key_BTHA.shape[3])
        visible_B1T1 = visible_BT[:, None, :, None].to(logits_BNTH.dtype)
        # A finite floor: softmax over only -inf is NaN, and its gradient spoils every weight.
        floored_BNTH = logits_BNTH + (visible_B1T1 - 1.0) * 1e9
        weights_BNTH = torch.softmax(floored_BNTH, dim=2) * visible_B1T1
        mixed_BNHA = (weights_BNTH[..., None] * value_BTHA[:, None]).sum(dim=2)
        attended_BNE = self.out(mixed_BNHA.flatten(2))
        refined_BNE = rows_BNE + torch.sigmoid(self.gate)[:, None] * attended_BNE
        return refined_BNE, weights_BNTH.mean(dim=3)

    def _split(self, x_BTW: Float[Tensor, "B T W"]) -> Float[Tensor, "B T H A"]:
        return x_BTW.unflatten(2, (self.heads, -1))


def _normalized(x: Float[Tensor, "B T Z"]) -> Float[Tensor, "B T Z"]:
    return nn.functional.layer_norm(x, x.shape[-1:])
