"""The ranker's network: tables, attention, crossing layers, logit.

Takes a `FeatureBatch`, gives one logit per row; never trains and never touches a file.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ranking.config import ARMS, CrossingConfig, RankerConfig
from ranking.errors import RankerFormat
from ranking.examples import KgeMaps
from ranking.features import PADDING, FeatureBatch
from ranking.heads import Experts, Stack, Tower
from ranking.idtables.table import IdTable
from ranking.interactions.dcn_v2 import LowRankCrossing
from ranking.interactions.ml_dcn import MaskedCrossing
from ranking.kge_attention import KgeAttention
from ranking.sampling import corrected

# Single-letter dimensions: B rows, D width of x_0, F dense numbers, d vector, k projected vector,
# R relations, T tokens, E ID row, C embedded attributes, H heads.


#: Rows of one forward pass outside of training: bounds memory, changes no number.
SCORE_BATCH = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Sizes that follow from the data, not from dials."""

    #: Rows of the heads' and tails' ID tables.
    head_rows: int
    tail_rows: int
    #: Rows of the shared table of categories and list elements.
    codes: int
    categories: int
    lists: int
    dense: int
    #: Numbers of a KGE vector, of a projected one, and relations from head to tail type.
    vector: int
    projected: int
    relations: int
    #: Facts of an exposure that are read, and the codes of all of them.
    exposure_fields: int = 0
    exposure_codes: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Parts(NamedTuple):
    """What a forward pass computes on its way to the logit."""

    logits: Float[Tensor, "B H"]
    #: Attention of the head's and the tail's row over tokens; None in the other arms.
    weights: Float[Tensor, "B 2 T"] | None


class RankerModel(nn.Module):
    """One network for all arms and heads.

    x_0      = LN([ID rows or y ; embedded attributes ; dense numbers ; KGE ; place and hour])
    x_h      = crossing layers over x_0, shared or mixed for the head (`heads.py`)
    logit_h  = tower_h(x_h, rates) + sum of one number per head for the place, and for the hour

    Our design. The numbers of places start at 0 and bypass what is dropped out: how much is seen
    of what stands there is the same whatever it is. KGE fields of the arm: none; frozen:
    LN(e_head), LN(e_tail); attention: rows refined by `KgeAttention` over e_head, e_tail and
    M_r e_head + r. With `match`, both KGE arms also read the bundle's score of each relation,
    -||M_r e_head + r - M_r e_tail||^2 (without b_t: the counters say how popular a tail is).
    """

    def __init__(self, shape: ModelShape, config: RankerConfig, maps: KgeMaps) -> None:
        super().__init__()
        if config.arm not in ARMS:
            raise RankerFormat(f"arm should be one of {', '.join(ARMS)}, received {config.arm!r}")
        self.id_dropout = config.id_dropout
        self.arm, self.match = config.arm, config.match and config.arm != "none"
        self.head_table = IdTable(shape.head_rows, config.ids.dim)
        self.tail_table = IdTable(shape.tail_rows, config.ids.dim)
        self.codes = _table(shape.codes, config.attribute_dim, std=0.1)
        self.projections: Tensor
        self.translations: Tensor
        self.register_buffer("projections", torch.from_numpy(maps.projections), persistent=False)
        self.tail_projections: Tensor
        self.register_buffer(
            "tail_projections", torch.from_numpy(maps.tail_projections), persistent=False
        )
        self.register_buffer("translations", torch.from_numpy(maps.translations), persistent=False)
        width = 2 * config.ids.dim + shape.dense
        width += (shape.categories + shape.lists) * config.attribute_dim
        if self.match:
            width += shape.relations
            self.match_mean: Tensor
            self.match_deviation: Tensor
            self.register_buffer("match_mean", torch.zeros(shape.relations))
            self.register_buffer("match_deviation", torch.ones(shape.relations))
        if config.arm == "frozen":
            width += 2 * shape.vector
        if config.arm == "attention":
            self.context = nn.Linear(shape.dense, config.attention.context)
            self.attention = KgeAttention(
                2 + shape.relations,
                max(shape.vector, shape.projected),
                config.ids.dim,
                config.attention.context,
                config.attention,
            )
        heads = config.heads.names
        self.exposure_codes: nn.Embedding | None = None
        self.exposure_bias: nn.Embedding | None = None
        if shape.exposure_fields:
            width += shape.exposure_fields * config.attribute_dim
            self.exposure_codes = _table(shape.exposure_codes, config.attribute_dim, std=0.1)
            self.exposure_bias = _table(shape.exposure_codes, len(heads), std=0.0)
        self.norm = nn.LayerNorm(width)
        self.experts = Experts(
            lambda: crossing_stack(width, config.crossing),
            width=width,
            stacks=config.heads.stacks,
            heads=len(heads),
        )
        self.dropout = nn.Dropout(config.dropout)
        self.towers = nn.ModuleList(
            Tower(width, config.hidden, config.dropout, starts_at=float(head == "ctr"))
            for head in heads
        )

    def forward(self, batch: FeatureBatch) -> Float[Tensor, "B H"]:
        return self.parts(batch).logits

    def parts(self, batch: FeatureBatch) -> Parts:
        """Logits, and the attention's weights as their explanation."""
        rows_B2E = torch.stack(
            [self.head_table(batch.head_rows), self.tail_table(batch.tail_rows)], dim=1
        )
        if self.training:
            # Not rescaled: a row that is there should mean the same in training and in serving.
            shown = torch.rand(*rows_B2E.shape[:2], 1) >= self.id_dropout
            rows_B2E = rows_B2E * shown
        weights = None
        fields = [
            self.codes(batch.categories).flatten(1),
            self._pooled(batch.lists).flatten(1),
            batch.dense,
        ]
        sought_BRk = self._project(batch.head_vector) + self.translations
        if self.arm == "frozen":
            fields += [_normalized(batch.head_vector), _normalized(batch.tail_vector)]
        if self.arm == "attention":
            rows_B2E, weights = self._attend(rows_B2E, batch, sought_BRk)
        if self.match:
            fields.append(self._match(batch, sought_BRk))
        if self.exposure_codes is not None:
            fields.append(self.exposure_codes(batch.exposures).flatten(1))
        x_BD = self.dropout(self.norm(torch.cat([rows_B2E.flatten(1), *fields], dim=1)))
        return Parts(logits=self._answer(x_BD, batch), weights=weights)

    def _answer(self, x_BD: Float[Tensor, "B D"], batch: FeatureBatch) -> Float[Tensor, "B H"]:
        mixed_BHD = self.experts(x_BD)
        logits_BH = torch.stack(
            [tower(mixed_BHD[:, n], batch.rates) for n, tower in enumerate(self.towers)], dim=1
        )
        if self.exposure_bias is not None:
            logits_BH = logits_BH + self.exposure_bias(batch.exposures).sum(dim=1)
        return logits_BH

    @torch.no_grad()
    def learn_match_scale(self, batch: FeatureBatch) -> None:
        """Mean and deviation of the bundle's scores over TRAIN rows with both vectors known."""
        both = batch.known.prod(dim=1) > 0
        if self.match and int(both.sum()) > 1:
            raw_BR = self._raw_match(batch, self._project(batch.head_vector) + self.translations)
            self.match_mean.copy_(raw_BR[both].mean(dim=0))
            self.match_deviation.copy_(raw_BR[both].std(dim=0).clamp(min=1e-6))

    def _pooled(self, lists: Int64[Tensor, "B L W"]) -> Float[Tensor, "B L C"]:
        """The mean of each list's elements, zero for an empty one."""
        filled = (lists != PADDING).to(torch.float32)
        count = filled.sum(dim=2, keepdim=True).clamp(min=1.0)
        return torch.einsum("blwc,blw->blc", self.codes(lists), filled / count)

    def _project(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B R k"]:
        """M_r e of every relation: one matrix product each, never a matrix per row."""
        return torch.einsum("bd,rkd->brk", vectors, self.projections)

    def _project_tails(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B R k"]:
        return torch.einsum("bd,rkd->brk", vectors, self.tail_projections)

    def _match(
        self, batch: FeatureBatch, sought_BRk: Float[Tensor, "B R k"]
    ) -> Float[Tensor, "B R"]:
        """Scores of the bundle, scaled; 0 where a vector is unknown."""
        raw_BR = self._raw_match(batch, sought_BRk)
        score_BR = (raw_BR - self.match_mean) / self.match_deviation
        return score_BR * batch.known.prod(dim=1, keepdim=True)

    def _raw_match(
        self, batch: FeatureBatch, sought_BRk: Float[Tensor, "B R k"]
    ) -> Float[Tensor, "B R"]:
        """-||M_r e_head + r - M_r e_tail||^2 of each relation."""
        return -(sought_BRk - self._project_tails(batch.tail_vector)).square().sum(dim=2)

    def _attend(
        self,
        rows_B2E: Float[Tensor, "B 2 E"],
        batch: FeatureBatch,
        sought_BRk: Float[Tensor, "B R k"],
    ) -> tuple[Float[Tensor, "B 2 E"], Float[Tensor, "B 2 T"]]:
        width = self.attention.token_scale.shape[1]
        tokens_BTZ = torch.cat(
            [
                _padded(batch.head_vector[:, None], width),
                _padded(batch.tail_vector[:, None], width),
                _padded(sought_BRk, width),
            ],
            dim=1,
        )
        head_known, tail_known = batch.known.bool().unbind(dim=1)
        projected = head_known[:, None].expand(-1, sought_BRk.shape[1])
        visible_BT = torch.cat([head_known[:, None], tail_known[:, None], projected], dim=1)
        context = torch.relu(self.context(batch.dense))
        return self.attention(rows_B2E, context, tokens_BTZ, visible_BT)


def _table(codes: int, dim: int, *, std: float) -> nn.Embedding:
    table = nn.Embedding(codes, dim)
    nn.init.normal_(table.weight, std=std)
    return table


def crossing_stack(width: int, config: CrossingConfig) -> nn.Module:
    """All crossing layers of one expert: x_0 in, x_L of the same width out."""
    return Stack([crossing_layer(width, config) for _ in range(config.layers)])


def crossing_layer(width: int, config: CrossingConfig) -> nn.Module:
    """One layer of the kind that the dials name, at rank r = share * D, q = rho * r."""
    rank = max(1, round(config.rank_share * width))
    if config.kind == "dcn_v2":
        return LowRankCrossing(width, rank, layer_norm=config.layer_norm)
    hidden = max(1, round(config.mask_share * rank))
    return MaskedCrossing(width, rank, hidden, mask=config.mask, layer_norm=config.layer_norm)


def _padded(x_BTZ: Float[Tensor, "B T Z"], width: int) -> Float[Tensor, "B T Y"]:
    return nn.functional.pad(x_BTZ, (0, width - x_BTZ.shape[2]))


def _normalized(x_Bd: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
    return nn.functional.layer_norm(x_Bd, x_Bd.shape[-1:])


def raw_scores(model: RankerModel, batch: FeatureBatch) -> Float64[np.ndarray, "n"]:
    """Logits of a batch by the first head, before any correction and calibration."""
    return head_scores(model, batch)[:, 0]


def head_scores(model: RankerModel, batch: FeatureBatch) -> Float64[np.ndarray, "n h"]:
    """Logits of a batch by every head, before any correction and calibration; dropout is off."""
    model.eval()
    count = len(batch.dense)
    with torch.inference_mode():
        parts = [
            model(FeatureBatch(*(column[start : start + SCORE_BATCH] for column in batch)))
            for start in range(0, count, SCORE_BATCH)
        ]
    if not parts:
        return np.zeros((0, len(model.towers)))
    return torch.cat(parts).double().numpy()


def corrected_scores(
    model: RankerModel, batch: FeatureBatch, config: RankerConfig
) -> Float64[np.ndarray, "n h"]:
    """Logits by every head as if no negative had been left out of training, before calibration."""
    logits_BH = head_scores(model, batch)
    for number, head in enumerate(config.heads.names):
        if head == "ctr":  # negatives of cvr are clicks, of which none is left out
            logits_BH[:, number] = corrected(logits_BH[:, number], config.training.negatives_kept)
    return logits_BH
