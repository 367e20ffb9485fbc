"""Pretrained tables as a ranker reads them: side by side, each after LayerNorm of its own.

Takes row numbers, gives vectors; never trains. Rows are those of an id list that all tables share;
a stranger has row -1, and is zero.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from ranking.errors import ConfigError
from ranking.idtables.table import RowTable

# Dimensions: N ids, F facets, D numbers of all facets together, B rows of a batch.

#: frozen: as pretrained. tuned: they begin there and are trained, slowly. fresh: as many rows, as
#: long, of the same spread, that know nothing: what of a gain is size alone.
MODES = ("frozen", "tuned", "fresh")


class FacetFields(nn.Module):
    """y = [LN(W_1[i]) ; ... ; LN(W_F[i])], zero for a stranger.

    Our design. LayerNorm has no weights, so that a vector of zeros stays one, and facets of any
    scale are equals at the start.
    """

    def __init__(
        self, vectors: Sequence[Float32[Tensor, "N _"]], mode: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ConfigError(f"mode should be one of {', '.join(MODES)}, received {mode!r}")
        self.width = sum(one.shape[1] for one in vectors)
        tables = [_table(_drawn(one, generator) if mode == "fresh" else one) for one in vectors]
        for table in tables:
            table.weight.requires_grad_(mode != "frozen")
        self.tables = nn.ModuleList(tables)

    def forward(self, rows: Int64[Tensor, "B"]) -> Float[Tensor, "B D"]:
        known = (rows >= 0)[:, None]
        place = rows.clamp(min=0)
        found = [table(place) for table in self.tables]
        normed = [nn.functional.layer_norm(one, one.shape[-1:]) for one in found]
        return torch.cat(normed, dim=1) * known


def _table(vectors: Float32[Tensor, "N d"]) -> RowTable:
    return RowTable(*vectors.shape, _weight=vectors.clone())


def _drawn(vectors: Float32[Tensor, "N d"], generator: torch.Generator) -> Float32[Tensor, "N d"]:
    """Normal numbers of the same spread, those of nobody known left zero."""
    known = vectors.abs().sum(dim=1, keepdim=True) > 0
    own = vectors[known.squeeze(1)]
    spread = float(own.square().mean().sqrt()) if len(own) else 0.0
    return torch.randn(vectors.shape, generator=generator) * spread * known
