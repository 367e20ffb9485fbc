"""The tokens of the KGE that ID rows attend to, and the rows that begin at it.

Takes a batch and the bundle's maps, gives tokens and which of them are visible; never changes a
bundle: what is trained is kept as a difference from it, and zero before the first step.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ranking.config import Arm
from ranking.examples import KgeMaps
from ranking.features import FeatureBatch
from ranking.idtables.table import IdTable, each_once

# Single-letter dimensions: B rows, T tokens, Z token width, R relations, d vector, k projected
# vector, N entities (head, tail), E row width.


class KgeTokens(nn.Module):
    """What there is to attend to.

    z = e_head, e_tail, M_r e_head + r of each relation from the head type,
        mean e_a over what the tail leads to by structure, of each type a

    Implements the idea of the attention-based KGE fine-tuning of TransRA (arXiv 2508.02609).
    Differs from the paper: its tokens were not at hand; these are our design. With `vectors` an
    entity's own e + d_v is read, with `maps` M_r + D_r and r + d_r: d and D are trained and begin
    at zero, so that every arm begins where the frozen one does, and weight decay pulls D towards
    the bundle's. What an item leads to is never trained.
    """

    def __init__(self, arm: Arm, maps: KgeMaps, rows: tuple[int, int], around: int) -> None:
        super().__init__()
        projections, translations = maps.from_head
        relations, projected, vector = projections.shape
        self.width = max(vector, projected)
        self.count = 2 + relations + around
        self.projections: Tensor
        self.translations: Tensor
        self.register_buffer("projections", torch.from_numpy(projections), persistent=False)
        self.register_buffer("translations", torch.from_numpy(translations), persistent=False)
        self.head_shift = IdTable(rows[0], vector) if arm.vectors else None
        self.tail_shift = IdTable(rows[1], vector) if arm.vectors else None
        shapes = [(relations, projected, vector), (relations, projected)]
        shifts = [nn.Parameter(torch.zeros(shape)) if arm.maps else None for shape in shapes]
        self.map_shift: nn.Parameter | None
        self.translation_shift: nn.Parameter | None
        self.register_parameter("map_shift", shifts[0])
        self.register_parameter("translation_shift", shifts[1])

    def shifts(self, batch: FeatureBatch) -> Float[Tensor, "B 2 d"]:
        """d_v of head and tail; without numbers where none is trained."""
        if self.head_shift is None or self.tail_shift is None:
            return batch.dense.new_zeros(len(batch.dense), 2, 0)
        found = [
            each_once(self.head_shift, batch.head_rows),
            each_once(self.tail_shift, batch.tail_rows),
        ]
        return torch.stack(found, dim=1)

    def forward(
        self,
        batch: FeatureBatch,
        shifts_B2d: Float[Tensor, "B 2 d"],
        shown_BN: Float[Tensor, "B N"],
    ) -> tuple[Float[Tensor, "B T Z"], Bool[Tensor, "B T"]]:
        """Tokens, padded to one width, and which are visible.

        `shifts`: what `shifts` gave. `shown`: 0 where nothing may be used that was learned about
        the id.
        """
        head_Bd, tail_Bd = batch.head_vector, batch.tail_vector
        if self.head_shift is not None:
            own_BN = shown_BN * batch.known
            head_Bd = head_Bd + own_BN[:, :1] * shifts_B2d[:, 0]
            tail_Bd = tail_Bd + own_BN[:, 1:] * shifts_B2d[:, 1]
        sought_BRk = self._sought(head_Bd)
        parts = (head_Bd[:, None], tail_Bd[:, None], sought_BRk, batch.around)
        tokens_BTZ = torch.cat([_padded(part, self.width) for part in parts], dim=1)
        head_B1, tail_B1 = batch.known.bool().split(1, dim=1)
        projected_BR = head_B1.expand(-1, sought_BRk.shape[1])
        around_BA = batch.around_known.bool()
        return tokens_BTZ, torch.cat([head_B1, tail_B1, projected_BR, around_BA], dim=1)

    def _sought(self, head_Bd: Float[Tensor, "B d"]) -> Float[Tensor, "B R k"]:
        """M_r e + r of every relation."""
        maps_Rkd, shift_Rk = self.projections, self.translations
        if self.map_shift is not None and self.translation_shift is not None:
            maps_Rkd, shift_Rk = maps_Rkd + self.map_shift, shift_Rk + self.translation_shift
        return mapped_by(maps_Rkd, head_Bd) + shift_Rk


def mapped_by(
    maps_Rkd: Float[Tensor, "R k d"], vectors_Bd: Float[Tensor, "B d"]
) -> Float[Tensor, "B R k"]:
    """M_r e of every relation: one matrix product for all of them, never a matrix per row."""
    relations, projected, _ = maps_Rkd.shape
    found = nn.functional.linear(vectors_Bd, maps_Rkd.flatten(0, 1))
    return found.unflatten(1, (relations, projected))


def begun_at(vectors: Float[Tensor, "*rows d"], scale: float) -> Float[Tensor, "*rows d"]:
    """Where an ID row begins: `scale * LN(e)`; zero for what has no vector."""
    return scale * nn.functional.layer_norm(vectors, vectors.shape[-1:])


def id_rows(
    learned_BNE: Float[Tensor, "B N E"],
    begun_BNE: Float[Tensor, "B N E"],
    own_BN: Float[Tensor, "B N"],
    shown_BN: Float[Tensor, "B N"],
) -> Float[Tensor, "B N E"]:
    """The rows of a table that begins at the KGE.

    shown, own row        learned, which began at scale * LN(e) as e was then
    shown, hashed rows    scale * LN(e) + learned
    not shown             scale * LN(e): what a stranger has whose e was folded in

    Our design.
    """
    begins_BNE = own_BN[:, :, None] * begun_BNE
    return begun_BNE + shown_BN[:, :, None] * (learned_BNE - begins_BNE)


def _padded(x_BTZ: Float[Tensor, "B T Z"], width: int) -> Float[Tensor, "B T Y"]:
    missing = width - x_BTZ.shape[2]
    return nn.functional.pad(x_BTZ, (0, missing)) if missing else x_BTZ
