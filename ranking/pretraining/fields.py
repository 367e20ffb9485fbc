"""Pretrained tables as a ranker reads them: side by side, each after LayerNorm of its own.

Takes row numbers, gives vectors; never trains. Rows are those of an id list that all tables share;
a stranger has row -1, and is zero.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from ranking.errors import ConfigError
from ranking.idtables.table import RowTable

# Dimensions: N ids, F facets, D numbers of all facets together, B rows of a batch.

#: frozen: as pretrained. tuned: they begin there and are trained, slowly. fresh: as many rows, as
#: long, of the same spread, that know nothing: what of a gain is size alone.
MODES = ("frozen", "tuned", "fresh")


class FacetFields(nn.Module):
    """y = [k_1 LN(W_1[i]) ; ... ; k_F LN(W_F[i])], k_f 0 for whom facet f does not know, else 1.

    Our design. LayerNorm has no weights, so that facets of any scale are equals at the start. Who
    is unknown stays so: one step on a row of zeros, and LayerNorm would see a direction in it.
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
        self.known: Tensor
        self.register_buffer("known", torch.stack([_known(one) for one in vectors], dim=1))

    def forward(self, rows: Int64[Tensor, "B"]) -> Float[Tensor, "B D"]:
        place = rows.clamp(min=0)
        known_BF = self.known[place] & (rows >= 0)[:, None]
        found = [table(place) for table in self.tables]
        normed = [
            nn.functional.layer_norm(one, one.shape[-1:]) * known_BF[:, number, None]
            for number, one in enumerate(found)
        ]
        return torch.cat(normed, dim=1)


def _table(vectors: Float32[Tensor, "N d"]) -> RowTable:
    return RowTable(len(vectors), vectors.shape[1], _weight=vectors.clone())


def _known(vectors: Float32[Tensor, "N d"]) -> Bool[Tensor, "N"]:
    return (vectors != 0).any(dim=1)


def _drawn(vectors: Float32[Tensor, "N d"], generator: torch.Generator) -> Float32[Tensor, "N d"]:
    """Normal numbers of the same spread, those of nobody known left zero."""
    known = _known(vectors)
    spread = float(vectors[known].square().mean().sqrt()) if bool(known.any()) else 0.0
    return torch.randn(vectors.shape, generator=generator) * spread * known[:, None]
