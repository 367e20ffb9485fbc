"""Where the row of an id begins that no table knows yet: among those that the KGE puts near it.

Takes vectors of new ids, and vectors and rows of known ones, gives rows; never draws a number. A
table whose rows lie in the KGE's space begins at the fold-in itself
(`ranking/model.py::RankerModel.begin_rows`); this is for rows of any other width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Single-letter dimensions: m new ids, n anchors, k nearest of them, d vector, E numbers of a row.

#: New ids that are compared at once: bounds memory, changes no number.
_CHUNK = 4096


@torch.no_grad()
def anchor_mixture(
    vectors: Float[Tensor, "m d"],
    anchors: Float[Tensor, "n d"],
    rows: Float[Tensor, "n E"],
    *,
    nearest: int = 8,
    sharpness: float = 10.0,
) -> Float[Tensor, "m E"]:
    """`x = sum_a p_a W_a` over the k anchors a whose vectors point most nearly the same way.

    p_a = exp(s cos(e, e_a)) / sum_b exp(s cos(e, e_b))

    Our design, after the anchors of NodePiece (arXiv 2106.12144), where an entity nobody knows is
    what those are that stand near it. Anchors are ids with a row of their own, which training has
    moved. An id without a vector (all zeros) begins at zero, and so do all where there is no
    anchor: then its row adds nothing.
    """
    found = rows.new_zeros((len(vectors), rows.shape[1]))
    if not len(anchors):
        return found
    kept = min(nearest, len(anchors))
    ways_nd = nn.functional.normalize(anchors, dim=1)
    for first in range(0, len(vectors), _CHUNK):
        part_md = vectors[first : first + _CHUNK]
        cosine_mn = nn.functional.normalize(part_md, dim=1) @ ways_nd.T
        top = cosine_mn.topk(kept, dim=1)
        share_mk = torch.softmax(sharpness * top.values, dim=1)
        mixed_mE = torch.einsum("mk,mke->me", share_mk, rows[top.indices])
        known_m1 = (part_md.abs().sum(dim=1, keepdim=True) > 0).to(rows.dtype)
        found[first : first + _CHUNK] = known_m1 * mixed_mE
    return found
