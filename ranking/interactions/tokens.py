"""D numbers as tokens of equal width, for the families that read rows of tokens.

Takes x_0, the LayerNorm'd concatenation of all fields, gives it in T equal parts; never looks at
where a field begins.

x_0 is filled up with zeros to T c numbers, c = ceil(D / T), and cut: token t is the numbers t c to
(t + 1) c - 1. Fewer than T zeros are added, behind everything else. A token is a field where all
fields have c numbers; elsewhere it holds parts of neighboring ones, and what is learned in front of
x_0 can move to where tokens need it. Our design; RankMixer's paper cuts a concatenation alike.
"""

from jaxtyping import Float
from torch import Tensor, nn

# Single-letter dimensions: B rows, D width, T tokens, C numbers of a token.


def chunk_width(width: int, tokens: int) -> int:
    """C of each of T tokens."""
    return -(-width // tokens)


def as_tokens(x_BD: Float[Tensor, "B D"], tokens: int) -> Float[Tensor, "B T C"]:
    """X_0 in T parts."""
    rows, width = x_BD.shape
    chunk = chunk_width(width, tokens)
    filled = nn.functional.pad(x_BD, (0, tokens * chunk - width))
    return filled.reshape(rows, tokens, chunk)
